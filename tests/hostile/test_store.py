"""The store under attack and in trouble: races, kill -9, changed bytes, a curious reader of its files."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from config import settings
from policy.call import AgentWords, Input
from policy.hold import Hold, Lease, State, approve, expire, lease, withdraw
from policy.principal import Identity
from policy.verdict import Refused
from proxy.errors import OperatorFault, Outage
from proxy.holds.connection import StoreConnection, connect
from proxy.holds.release import fence
from proxy.holds.sealing import Sealer
from proxy.holds.store import HoldStore, KeptResponse
from tests.fakes.valkey import PrivateValkey
from tests.fakes.values import a_ballot
from tests.holds.held import approved, concluded, executed, fresh, kept, leased, opened

ANN, BEN = Identity("corp:ann"), Identity("corp:ben")
ROUNDS = 200
CANARY = "canary-7f3a91"


@asynccontextmanager
async def replica(server: PrivateValkey, *, timeout_s: float = 5) -> AsyncIterator[tuple[HoldStore, StoreConnection]]:
    connection = connect(settings.Store(timeout_s=timeout_s), url=server.url)
    caps = settings.Holds(open_per_agent=100_000, open_total=100_000)
    try:
        store = HoldStore(connection, sealer=Sealer(b"k" * 32), holds=caps)
        yield store, connection
        await store.close()
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def server():
    # What is raced for is decided in memory; syncing every round to the disk would only make it slow.
    with PrivateValkey(appendfsync="no") as started:
        yield started


async def back(connection: StoreConnection) -> None:
    """Returns when the store answers again; connections that a killed server left in the pool go one by one."""
    async with asyncio.timeout(5):
        while True:
            try:
                await asyncio.gather(*(connection.ping() for _ in range(64)))
            except Outage:
                continue
            return


def moved(after: Hold | Refused) -> Hold:
    assert not isinstance(after, Refused)
    return after


async def race(server: PrivateValkey, one, other) -> Counter[str]:
    """How often which side won, over many rounds on two replicas."""
    wins: Counter[str] = Counter()
    async with replica(server) as (left, _), replica(server) as (right, _):
        now = await left.now()
        for number in range(ROUNDS):
            hold = await opened(left, body_digest=f"{number:064d}", agent=f"corp:{one.__name__}-{other.__name__}")
            sides = [left.keep(hold, one(hold, now)), right.keep(hold, other(hold, now))]
            if number % 2:
                sides.reverse()
            got = await asyncio.gather(*sides)
            won = [after for after in got if after is not None]
            assert len(won) == 1
            assert await right.read(hold.call.id) == won[0]
            wins[f"{won[0].state}:{won[0].settled_by}"] += 1
            await left.discard(won[0])
    assert len(wins) == 2, "one side always won: that was no race"
    return wins


def ann_approves(hold: Hold, now: float) -> Hold:
    return moved(approve(hold, a_ballot(hold, ANN), now))


def ben_approves(hold: Hold, now: float) -> Hold:
    return moved(approve(hold, a_ballot(hold, BEN), now))


def runs_out(hold: Hold, now: float) -> Hold:
    return moved(expire(hold, hold.decide_by))


def is_withdrawn(hold: Hold, now: float) -> Hold:
    return moved(withdraw(hold, hold.call.principal.agent, "robot", "", now))


async def test_of_two_approvals_at_once_one_wins(server: PrivateValkey):
    wins = await race(server, ann_approves, ben_approves)
    assert sum(wins.values()) == ROUNDS


async def test_of_approval_and_expiry_at_once_one_wins(server: PrivateValkey):
    wins = await race(server, ann_approves, runs_out)
    assert sum(wins.values()) == ROUNDS


async def test_of_approval_and_withdrawal_at_once_one_wins(server: PrivateValkey):
    wins = await race(server, ann_approves, is_withdrawn)
    assert sum(wins.values()) == ROUNDS


async def test_of_many_replicas_that_would_send_one_may(server: PrivateValkey):
    async with replica(server) as (left, _), replica(server) as (right, _):
        now = await left.now()
        for number in range(30):
            hold = await opened(left, body_digest=f"{number:064d}", agent="corp:leased")
            ready = await kept(left, hold, approved(hold, now))
            taken = [
                moved(lease(ready, Lease(replica=f"r{n}", fence=fence(now), until=now + 60), now)) for n in range(8)
            ]
            got = await asyncio.gather(*((left, right)[n % 2].keep(ready, each) for n, each in enumerate(taken)))
            assert sum(after is not None for after in got) == 1


async def test_an_approval_kept_too_late_by_the_stores_clock_is_lost_whatever_the_replica_thinks(server: PrivateValkey):
    async with replica(server) as (store, _):
        hold = await opened(store, decide_s=-0.001, agent="corp:late")
        an_hour_behind = hold.decide_by - 3600
        late = ann_approves(hold, an_hour_behind)
        assert await store.keep(hold, late, not_after=hold.decide_by) is None
        assert await store.read(hold.call.id) == hold


async def test_what_was_acknowledged_is_found_after_kill_9():
    with PrivateValkey() as victim:
        async with replica(victim) as (store, connection):
            acknowledged: list[Hold] = []
            for number in range(20):
                hold = await opened(store, f"body {number}".encode(), body_digest=f"{number:064d}")
                if number % 2:
                    hold = await kept(store, hold, ann_approves(hold, await store.now()))
                acknowledged.append(hold)
                if number % 5 == 4:
                    victim.kill()
                    victim.start()
                    await back(connection)
            for number, hold in enumerate(acknowledged):
                assert await store.read(hold.call.id) == hold
                assert await store.body(hold.call.id) == f"body {number}".encode()
            assert await store.held_now() == 20
            again = await store.open(await fresh(store, body_digest=f"{7:064d}"), b"")
            assert not isinstance(again, Refused)
            assert again.hold.call.id == acknowledged[7].call.id


async def test_while_the_store_is_down_nothing_is_decided():
    with PrivateValkey() as victim:
        async with replica(victim) as (store, connection):
            hold = await opened(store)
            after = ann_approves(hold, await store.now())
            victim.kill()
            with pytest.raises(Outage):
                await store.keep(hold, after, durable=True)
            with pytest.raises(Outage):
                await store.read(hold.call.id)
            with pytest.raises(Outage):
                await store.open(replace(hold, call=replace(hold.call)), b"")
            with pytest.raises(Outage):
                await store.due(0)
            victim.start()
            assert await store.read(hold.call.id) == hold
            assert await store.keep(hold, after) == after
            await connection.ping()


async def test_a_store_killed_in_the_middle_of_many_moves_never_has_two_winners():
    with PrivateValkey() as victim:
        async with replica(victim) as (left, one), replica(victim) as (right, other):
            connections = (one, other)
            now = await left.now()
            holds = [await opened(left, body_digest=f"{n:064d}") for n in range(40)]
            tries = [
                asyncio.gather(
                    left.keep(hold, ann_approves(hold, now)),
                    right.keep(hold, is_withdrawn(hold, now)),
                    return_exceptions=True,
                )
                for hold in holds
            ]
            first = await asyncio.gather(*tries[:20])
            victim.kill()
            second = await asyncio.gather(*tries[20:])
            victim.start()
            await asyncio.gather(*(back(connection) for connection in connections))
            for hold, got in zip(holds, [*first, *second], strict=True):
                won = [after for after in got if isinstance(after, Hold)]
                assert len(won) <= 1
                now_kept = await left.read(hold.call.id)
                assert now_kept is not None
                assert not won or now_kept == won[0]  # what was acknowledged stands
                assert now_kept.revision <= 1
            # The indexes of moves that broke off are healed by the next look.
            await left.due(0)
            await right.due(0)
            assert {hold.call.id for hold in await left.open_holds()} == {
                hold.call.id for hold in holds if (await left.read(hold.call.id)) == hold
            }


async def test_a_move_whose_index_could_not_follow_stands_and_is_found_by_the_next_look(server: PrivateValkey):
    async with replica(server) as (store, connection):
        hold = await opened(store, agent="corp:unindexed")
        now = await store.now()
        await connection.command("DEL", connection.key("index", "approved"))
        await connection.command("SET", connection.key("index", "approved"), "in the way")
        ready = await kept(store, hold, approved(hold, now))
        assert await store.held_now()  # the indexes were told, in vain
        await connection.command("DEL", connection.key("index", "approved"))
        assert await store.approved(before=now + 1) == ()
        await store.due(0)
        assert await store.approved(before=now + 1) == (ready.call.id,)


async def test_an_opening_that_was_cut_off_leaves_no_place_taken(server: PrivateValkey):
    async with replica(server) as (store, _):
        before = await store.held_now()
        for turns in range(25):
            hold = await fresh(store, agent="corp:hasty", body_digest=f"{turns:064d}")
            opening = asyncio.ensure_future(store.open(hold, b"body"))  # noqa: TID251 - to be cut off
            for _ in range(turns * 2):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        await store.due(0)
        opened_whole = [hold for hold in await store.open_holds() if hold.call.principal.agent == "corp:hasty"]
        assert await store.held_now() == before + len(opened_whole)


async def test_a_reader_of_the_stores_files_learns_nothing_of_a_call():
    with PrivateValkey() as server:
        async with replica(server) as (store, _):
            words = AgentWords(reason=f"{CANARY}-words")
            values = Input(values={"note": f"{CANARY}-input"})
            hold = await opened(
                store, f"{CANARY}-body".encode(), words=words, input=values, headers=(("x", f"{CANARY}-header"),)
            )
            now = await store.now()
            ballot = a_ballot(hold, ANN, reason=f"{CANARY}-ballot")
            ready = await kept(store, hold, approve(hold, ballot, now))
            going = await kept(store, ready, leased(ready, now))
            answer = KeptResponse(status=200, headers=(("x", f"{CANARY}-h"),), body=f"{CANARY}-response".encode())
            await store.keep_response(going.call.id, answer)
            await kept(store, going, concluded(going, now))
        written = server.files()
        assert hold.call.id.encode() in written  # the scan would find what is there
        assert CANARY.encode() not in written
        assert b"/v1/refunds" not in written


async def test_a_hold_whose_state_was_changed_in_the_store_is_not_believed(server: PrivateValkey):
    async with replica(server) as (store, connection):
        hold = await opened(store, agent="corp:forged")
        await connection.command("HSET", connection.key(hold.call.id, "hold"), "state", "approved")
        with pytest.raises(OperatorFault):
            await store.read(hold.call.id)


async def test_the_approval_of_one_hold_cannot_be_copied_onto_another(server: PrivateValkey):
    async with replica(server) as (store, connection):
        good = await opened(store, agent="corp:good")
        good = await kept(store, good, ann_approves(good, await store.now()))
        wanted = await opened(store, agent="corp:wanted")
        fields = await connection.command("HGETALL", connection.key(good.call.id, "hold"))
        assert isinstance(fields, list)
        await connection.command("HSET", connection.key(wanted.call.id, "hold"), *fields)  # type: ignore[arg-type]
        with pytest.raises(OperatorFault):
            await store.read(wanted.call.id)


async def test_the_body_of_one_hold_cannot_be_put_under_another(server: PrivateValkey):
    async with replica(server) as (store, connection):
        small = await opened(store, b"refund 1", agent="corp:small")
        large = await opened(store, b"refund 1000", agent="corp:large")
        sealed = await connection.command("GET", connection.key(large.call.id, "body"))
        assert isinstance(sealed, bytes)
        await connection.command("SET", connection.key(small.call.id, "body"), sealed)
        with pytest.raises(OperatorFault):
            await store.body(small.call.id)


async def test_one_hold_that_cannot_be_read_does_not_hide_the_others(server: PrivateValkey):
    async with replica(server) as (store, connection):
        broken = await opened(store, agent="corp:broken", decide_s=1)
        sound = await opened(store, agent="corp:sound", decide_s=2)
        await connection.command("HSET", connection.key(broken.call.id, "hold"), "document", "junk")
        ids = {hold.call.id for hold in await store.open_holds()}
        assert sound.call.id in ids
        assert broken.call.id not in ids
        assert sound.call.id in await store.due(await store.now() + 3)
        await store.rebuild_indexes()


async def test_a_concluded_call_cannot_be_moved_again(server: PrivateValkey):
    async with replica(server) as (store, _):
        hold = await opened(store, agent="corp:done")
        done = await executed(store, hold)
        assert await store.keep(hold, ann_approves(hold, await store.now())) is None
        assert (await store.read(hold.call.id)) == done
        assert done.state is State.EXECUTED
