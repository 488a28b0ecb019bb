from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from config import settings
from policy.hold import Hold, State, count, withdraw
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.errors import BrokenPromise, CallerFault
from proxy.holds.connection import StoreConnection
from proxy.holds.release import fence
from proxy.holds.sealing import Sealer
from proxy.holds.store import HoldStore, KeptResponse, Opened
from tests.fakes.values import a_ballot
from tests.holds.conftest import KEY
from tests.holds.held import approved, call_id, concluded, executed, expired, fresh, kept, leased, opened


async def again(store: HoldStore, hold: Hold, **facts: object) -> Opened | Refused:
    """The same call, sent once more."""
    return await store.open(await fresh(store, **facts), b"body")


async def test_an_opened_hold_is_found_with_its_body(store: HoldStore, other_store: HoldStore):
    hold = await opened(store, b"\x00\xff body")
    assert await other_store.read(hold.call.id) == hold
    assert await other_store.body(hold.call.id) == b"\x00\xff body"
    assert await other_store.open_holds() == (hold,)
    assert await other_store.recent(limit=5) == (hold,)
    assert await other_store.held_now() == 1


async def test_a_call_that_was_never_held_is_not_found(store: HoldStore):
    for call in (call_id(), "}:x", "call_\n", "call_\ud800", "ä"):
        assert await store.read(call) is None
    assert await store.body(call_id()) is None
    assert await store.response(call_id()) is None


async def test_a_repeat_attaches_to_the_hold_it_repeats(store: HoldStore, other_store: HoldStore):
    hold = await opened(store)
    assert await again(other_store, hold) == Opened(hold=hold, attached=True)
    assert await store.held_now() == 1


async def test_a_call_of_another_agent_does_not_attach(store: HoldStore):
    await opened(store)
    await opened(store, agent="corp:other")
    assert await store.held_now() == 2


async def test_two_replicas_that_open_the_same_call_at_once_end_with_one_hold(store: HoldStore, other_store: HoldStore):
    for number in range(50):
        facts = {"agent": f"corp:a{number}"}
        tries = [await fresh(store, **facts) for _ in range(4)]
        got = await asyncio.gather(*((store, other_store)[n % 2].open(hold, b"body") for n, hold in enumerate(tries)))
        assert all(isinstance(each, Opened) for each in got)
        assert len({each.hold.call.id for each in got}) == 1
        assert [each.attached for each in got].count(False) == 1
    assert await store.held_now() == 50
    assert len(await store.open_holds()) == 50


async def test_a_repeat_attaches_to_an_executed_call_until_its_response_was_delivered(store: HoldStore):
    done = await executed(store, await opened(store))
    assert await again(store, done) == Opened(hold=done, attached=True)
    await store.delivered(done)
    fresh_one = await again(store, done)
    assert isinstance(fresh_one, Opened)
    assert not fresh_one.attached


async def test_a_repeat_after_the_replay_window_is_a_new_call(store: HoldStore):
    done = await executed(store, await opened(store), at=await store.now() - 601)
    got = await again(store, done)
    assert isinstance(got, Opened)
    assert not got.attached


async def test_with_an_idempotency_key_a_delivered_call_is_still_the_same_call(store: HoldStore):
    done = await executed(store, await opened(store, idempotency_key="k1"))
    await store.delivered(done)
    assert await again(store, done, idempotency_key="k1") == Opened(hold=done, attached=True)


async def test_an_idempotency_key_with_another_call_is_refused(store: HoldStore):
    await opened(store, idempotency_key="k1")
    got = await again(store, None, idempotency_key="k1", body_digest="0" * 64)
    assert isinstance(got, Refused)
    assert got.reason is Reason.IDEMPOTENCY_KEY_REUSED
    await opened(store, idempotency_key="k1", agent="corp:other", body_digest="0" * 64)


async def test_a_repeat_of_a_call_rejected_just_now_is_refused_without_asking_again(store: HoldStore):
    hold = await opened(store)
    now = await store.now()
    ended = withdraw(hold, Identity("corp:ann"), "Ann", "no", now)
    assert not isinstance(ended, Refused)
    rejected = await kept(store, hold, replace(ended, state=State.REJECTED))
    assert await again(store, hold) == Opened(hold=rejected, attached=True)


@pytest.mark.parametrize("state", [State.REJECTED, State.EXPIRED])
async def test_a_minute_after_a_no_the_same_call_is_asked_again(store: HoldStore, state: State):
    hold = await opened(store)
    ended = withdraw(hold, Identity("corp:ann"), "Ann", "no", await store.now() - 61)
    assert not isinstance(ended, Refused)
    await kept(store, hold, replace(ended, state=state))
    got = await again(store, hold)
    assert isinstance(got, Opened)
    assert not got.attached


async def test_a_withdrawn_call_may_be_asked_again_at_once(store: HoldStore):
    hold = await opened(store)
    await kept(store, hold, withdraw(hold, Identity("corp:robot"), "robot", "", await store.now()))
    got = await again(store, hold)
    assert isinstance(got, Opened)
    assert not got.attached


async def test_a_repeat_of_a_call_whose_outcome_is_unknown_is_not_a_new_call(store: HoldStore):
    hold = await opened(store)
    now = await store.now()
    ready = await kept(store, hold, approved(hold, now))
    going = await kept(store, ready, leased(ready, now, until=now))
    lost = await kept(store, going, expired(going, now))
    await store.delivered(lost)
    assert await again(store, hold) == Opened(hold=lost, attached=True)
    assert await store.unknown() == (lost,)
    assert await store.body(hold.call.id) == b"body"


async def test_an_agent_over_its_cap_is_refused_and_others_are_not(
    connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    store = new_store(connection, open_per_agent=2, open_total=3)
    first = await opened(store, body_digest="1" * 64)
    await opened(store, body_digest="2" * 64)
    refused = await again(store, None, body_digest="3" * 64)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.TOO_MANY_HELD
    await opened(store, agent="corp:second")
    total = await again(store, None, agent="corp:third")
    assert isinstance(total, Refused)
    assert total.reason is Reason.TOO_MANY_HELD
    await kept(store, first, withdraw(first, Identity("corp:robot"), "robot", "", await store.now()))
    await opened(store, body_digest="3" * 64)


async def test_a_flood_from_many_replicas_does_not_pass_the_cap(
    connection: StoreConnection, other_connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    stores = [new_store(each, open_per_agent=5) for each in (connection, other_connection)]
    holds = [await fresh(stores[0], body_digest=f"{n:064d}") for n in range(40)]
    got = await asyncio.gather(*(stores[n % 2].open(hold, b"") for n, hold in enumerate(holds)))
    assert sum(isinstance(each, Opened) for each in got) == 5
    assert await stores[0].held_now() == 5


async def test_a_move_is_kept_once_and_the_second_is_lost(store: HoldStore, other_store: HoldStore):
    hold = await opened(store)
    now = await store.now()
    first = await other_store.keep(hold, approved(hold, now))
    assert first is not None
    assert await store.keep(hold, approved(hold, now)) is None
    assert await store.read(hold.call.id) == first


async def test_a_move_that_skips_a_revision_is_a_broken_promise(store: HoldStore):
    hold = await opened(store)
    with pytest.raises(BrokenPromise):
        await store.keep(hold, replace(hold, revision=2))


async def test_a_move_after_its_time_is_not_kept(store: HoldStore):
    hold = await opened(store)
    now = await store.now()
    assert await store.keep(hold, approved(hold, now), not_after=now - 1) is None
    assert await store.read(hold.call.id) == hold
    assert await store.keep(hold, approved(hold, now), not_after=now + 60) is not None


async def test_a_ballot_short_of_the_quorum_is_kept(store: HoldStore, other_store: HoldStore):
    hold = await opened(store)
    voted = await kept(store, hold, count(hold, a_ballot(hold, Identity("corp:ann")), await store.now()))
    assert await other_store.read(hold.call.id) == voted
    assert [ballot.person for ballot in voted.ballots] == ["corp:ann"]


async def test_the_body_goes_when_the_call_is_settled_and_the_hold_stays_to_be_read(store: HoldStore):
    done = await executed(store, await opened(store))
    assert await store.body(done.call.id) is None
    assert await store.read(done.call.id) == done
    assert await store.open_holds() == ()
    assert await store.held_now() == 0
    assert await store.recent(limit=3) == (done,)


async def test_a_response_is_kept_for_repeats(store: HoldStore, other_store: HoldStore):
    done = await executed(store, await opened(store))
    response = KeptResponse(status=201, headers=(("x-odd", "\udcff\u00e9"), ("b", "")), body=b"\x00ok")
    await store.keep_response(done.call.id, response)
    assert await other_store.response(done.call.id) == response


async def test_a_response_over_the_limit_is_kept_without_its_body(
    connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    store = new_store(connection, keep_response_bytes=4)
    call = call_id()
    await store.keep_response(call, KeptResponse(status=200, headers=(), body=b"12345"))
    assert await store.response(call) == KeptResponse(status=200, headers=(), body=b"", truncated=True)


async def test_what_is_due_are_the_calls_whose_own_clock_ran_out(store: HoldStore):
    now = await store.now()
    undecided = await opened(store, decide_s=10)
    unsent = await opened(store, agent="corp:b")
    unsent = await kept(store, unsent, approved(unsent, now))
    sending = await opened(store, agent="corp:c")
    sending = await kept(store, sending, approved(sending, now))
    sending = await kept(store, sending, leased(sending, now, until=now + 30))
    assert await store.due(now) == ()
    assert await store.due(now + 20) == (undecided.call.id,)
    assert await store.due(now + 31) == (undecided.call.id, sending.call.id)
    assert await store.due(now + 4000) == (undecided.call.id, sending.call.id, unsent.call.id)
    await kept(store, sending, concluded(sending, now))
    assert sending.call.id not in await store.due(now + 4000)


async def test_approved_calls_are_listed_from_the_time_of_their_approval(store: HoldStore):
    now = await store.now()
    hold = await opened(store)
    ready = await kept(store, hold, approved(hold, now))
    assert await store.approved(before=now - 1) == ()
    assert await store.approved(before=now + 1) == (ready.call.id,)
    await kept(store, ready, leased(ready, now))
    assert await store.approved(before=now + 1) == ()


async def test_lost_indexes_are_rebuilt_from_the_holds(store: HoldStore, connection: StoreConnection):
    now = await store.now()
    waiting = await opened(store, decide_s=10)
    ready = await opened(store, agent="corp:b")
    ready = await kept(store, ready, approved(ready, now))
    done = await executed(store, await opened(store, agent="corp:c"))
    async for key in connection.scan(connection.key("index", "*")):
        await connection.command("DEL", key)
    assert await store.open_holds() == ()
    await store.rebuild_indexes()
    assert await store.open_holds() == (waiting,)
    assert await store.due(now + 20) == (waiting.call.id,)
    assert await store.approved(before=now + 1) == (ready.call.id,)
    recent = {hold.call.id: hold for hold in await store.recent(limit=9)}
    assert recent == {hold.call.id: hold for hold in (waiting, ready, done)}
    assert await store.held_now() == 2


async def test_index_entries_without_a_hold_are_forgotten(store: HoldStore, connection: StoreConnection):
    hold = await opened(store, decide_s=10)
    lost = await opened(store, agent="corp:b")
    await connection.command("DEL", connection.key(lost.call.id, "hold"))
    assert await store.open_holds() == (hold,)
    assert await store.held_now() == 1


async def test_a_hold_whose_opening_broke_off_is_not_shown_and_not_rebuilt(
    store: HoldStore, connection: StoreConnection
):
    # As a replica leaves it that died before it pointed the likeness: written, but with a short life.
    hold = await opened(store)
    await connection.command("EXPIRE", connection.key(hold.call.id, "hold"), 30)
    await store.rebuild_indexes()
    assert await store.open_holds() == ()
    assert await store.held_now() == 0


async def test_a_repeat_finishes_an_opening_that_broke_off(
    store: HoldStore, other_store: HoldStore, connection: StoreConnection
):
    # As a replica leaves it that died after it pointed the likeness: nobody confirmed the hold.
    hold = await opened(store)
    keys = [connection.key(hold.call.id, kind) for kind in ("hold", "body")]
    for key in keys:
        await connection.command("EXPIRE", key, 30)
    assert await again(other_store, hold) == Opened(hold=hold, attached=True)
    assert [await connection.command("PTTL", key) for key in keys] == [-1, -1]
    assert await store.open_holds() == (hold,)


async def test_a_later_revision_in_the_index_is_not_overwritten_by_an_earlier_one(
    store: HoldStore, connection: StoreConnection
):
    from proxy.holds.indexes import Indexes

    now = await store.now()
    hold = await opened(store)
    ready = await kept(store, hold, approved(hold, now))
    await connection.together(Indexes(connection).put(hold))
    assert await store.approved(before=now + 1) == (ready.call.id,)


async def test_a_discarded_hold_is_withdrawn(store: HoldStore):
    hold = await opened(store)
    await store.discard(hold)
    after = await store.read(hold.call.id)
    assert after is not None
    assert after.state is State.WITHDRAWN
    assert await store.held_now() == 0


async def test_text_that_is_not_unicode_is_the_callers_fault(store: HoldStore):
    hold = await fresh(store)
    odd = replace(hold, call=replace(hold.call, input=replace(hold.call.input, values={"note": "\ud800"})))
    with pytest.raises(CallerFault) as caught:
        await store.open(odd, b"")
    assert caught.value.reason is Reason.INPUT_UNREADABLE
    assert await store.held_now() == 0


async def test_the_stores_time_counts_whatever_a_replica_believes(store: HoldStore, connection: StoreConnection):
    seconds, micros = await connection.command("TIME")  # type: ignore[misc]
    assert await store.now() == pytest.approx(int(seconds) + int(micros) / 1e6, abs=5)
    hold = await opened(store)
    believed = hold.decide_by - 1_000_000  # a replica whose clock is days behind still cannot approve too late
    over = (await store.now()) - 0.001
    assert await store.keep(hold, approved(hold, believed), not_after=over) is None


async def test_a_look_shows_the_hold_its_body_and_the_time_of_one_moment(store: HoldStore):
    hold = await opened(store, b"what is asked")
    before = await store.now()
    seen = await store.look(hold.call.id)
    assert seen is not None
    assert (seen.hold, seen.body) == (hold, b"what is asked")
    assert before <= seen.now <= await store.now()
    without = await store.look(hold.call.id, body=False)
    assert without is not None
    assert (without.hold, without.body) == (hold, None)
    assert await store.look(call_id()) is None


async def test_a_settled_hold_is_seen_without_its_body(store: HoldStore):
    done = await executed(store, await opened(store))
    seen = await store.look(done.call.id)
    assert seen is not None
    assert (seen.hold, seen.body) == (done, None)


async def test_whoever_asked_hears_of_every_move_that_stands_and_of_no_other(connection: StoreConnection):
    heard: list[Hold] = []
    store = HoldStore(connection, sealer=Sealer(KEY), holds=settings.Holds(), moved=heard.append)
    now = await store.now()
    hold = await opened(store)
    ready = await kept(store, hold, approved(hold, now))
    assert await store.keep(hold, approved(hold, now)) is None
    assert heard == [ready]


async def test_moves_made_in_one_write_stand_together_and_the_first_is_heard_of(connection: StoreConnection):
    heard: list[Hold] = []
    store = HoldStore(connection, sealer=Sealer(KEY), holds=settings.Holds(), moved=heard.append)
    now = await store.now()
    hold = await opened(store)
    ready = approved(hold, now)
    going = leased(ready, now)
    assert await store.keep(hold, ready, going) == going
    assert await store.read(hold.call.id) == going
    assert heard == [ready]
    assert await store.approved(before=now + 1) == ()


async def test_moves_made_in_one_write_are_none_when_somebody_else_moved_first_or_it_is_too_late(store: HoldStore):
    now = await store.now()
    hold = await opened(store)
    ready = approved(hold, now)
    assert await store.keep(hold, ready, leased(ready, now), not_after=now) is None
    assert await store.read(hold.call.id) == hold
    gone = await kept(store, hold, withdraw(hold, Identity("corp:ann"), "Ann", "", now))
    assert await store.keep(hold, ready, leased(ready, now)) is None
    assert await store.read(hold.call.id) == gone


async def test_moves_made_in_one_write_follow_each_other(store: HoldStore):
    now = await store.now()
    hold, other = await opened(store), await opened(store, agent="corp:other")
    ready = approved(hold, now)
    for several in (
        (),
        (leased(ready, now),),
        (ready, ready),
        (ready, leased(approved(other, now), now)),
    ):
        with pytest.raises(BrokenPromise):
            await store.keep(hold, *several)
    assert await store.read(hold.call.id) == hold


async def test_of_many_who_approve_and_lease_at_once_one_wins(store: HoldStore, other_store: HoldStore):
    now = await store.now()
    hold = await opened(store)
    ready = approved(hold, now)
    tries = [
        one.keep(hold, ready, leased(ready, now, fence=f"{one is store}{n}")) if n % 2 else one.keep(hold, ready)
        for n in range(20)
        for one in (store, other_store)
    ]
    won = [after for after in await asyncio.gather(*tries) if after is not None]
    assert won == [await store.read(hold.call.id)]


async def test_the_indexes_follow_by_themselves(store: HoldStore, other_store: HoldStore):
    now = await store.now()
    hold = await opened(store)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(store.run())
        await kept(store, hold, approved(hold, now))
        async with asyncio.timeout(10):
            while not await other_store.approved(before=now + 1):  # noqa: ASYNC110 - in another replica: no event
                await asyncio.sleep(0.001)
        following.cancel()


async def test_a_late_word_of_a_move_brings_no_hold_back_into_the_indexes(
    store: HoldStore, other_store: HoldStore, connection: StoreConnection
):
    now = await store.now()
    ready = await kept(store, hold := await opened(store), approved(hold, now))  # not told to the indexes yet
    await kept(other_store, ready, withdraw(ready, Identity("corp:ann"), "Ann", "", now))
    assert await other_store.held_now() == 0
    await store.close()
    assert await connection.command("ZCARD", connection.key("index", "due")) == 0
    assert await store.held_now() == 0


def test_fences_sort_by_time_and_never_repeat():
    fences = [fence(1_790_000_000 + n / 1000) for n in range(50)]
    assert fences == sorted(fences)
    assert len({fence(1_790_000_000) for _ in range(50)}) == 50
