"""Who waits for a hold, over all replicas: each counted once, forgotten when silent, and never withdrawn under."""

from __future__ import annotations

from config.settings import OnGone
from policy.call import CallId
from policy.hold import Hold, State, withdraw
from policy.principal import Identity
from policy.verdict import Refused
from proxy.holds.attendance import Attendance, waiting_key
from proxy.holds.connection import StoreConnection, whole
from proxy.holds.store import HoldStore
from tests.holds.held import call_id, opened

ONE, TWO = CallId("call_one"), CallId("call_two")


async def waiting(store: HoldStore, hold: Hold) -> int:
    seen = await store.look(hold.call.id, body=False)
    assert seen is not None
    return seen.waiting


async def gone(store: HoldStore, hold: Hold) -> Hold:
    after = withdraw(hold, Identity("corp:robot"), "robot", "", await store.now())
    assert not isinstance(after, Refused)
    return after


async def test_nobody_waits_for_a_hold_until_somebody_says_so(store: HoldStore, other_store: HoldStore):
    hold = await opened(store)
    assert await waiting(store, hold) == 0

    assert await store.attendance.arrive(hold.call.id, ONE) is State.PENDING
    assert await other_store.attendance.arrive(hold.call.id, TWO) is State.PENDING
    await store.attendance.arrive(hold.call.id, ONE)

    assert await waiting(other_store, hold) == 2


async def test_whoever_leaves_learns_how_many_still_wait_anywhere(store: HoldStore, other_store: HoldStore):
    hold = await opened(store)
    await store.attendance.arrive(hold.call.id, ONE)
    await other_store.attendance.arrive(hold.call.id, TWO)

    assert await store.attendance.leave(hold.call.id, ONE) == 1
    assert await store.attendance.leave(hold.call.id, ONE) == 1
    assert await other_store.attendance.leave(hold.call.id, TWO) == 0
    assert await waiting(store, hold) == 0


async def test_one_that_says_no_more_that_it_waits_counts_no_more(store: HoldStore):
    hold = await opened(store)
    await store.attendance._note(hold.call.id, ONE, 0)  # as long ago as its word counts

    assert await waiting(store, hold) == 0
    await store.attendance.arrive(hold.call.id, TWO)
    assert await store.attendance.leave(hold.call.id, TWO) == 0


async def test_a_hold_is_not_withdrawn_under_somebody_who_waits(store: HoldStore, other_store: HoldStore):
    hold = await opened(store)
    await other_store.attendance.arrive(hold.call.id, ONE)

    assert await store.keep(hold, await gone(store, hold), alone=True) is None
    assert await store.read(hold.call.id) == hold

    await other_store.attendance.leave(hold.call.id, ONE)
    kept = await store.keep(hold, await gone(store, hold), alone=True)
    assert kept is not None
    assert kept.state is State.WITHDRAWN
    assert await store.attendance.arrive(hold.call.id, TWO) is State.WITHDRAWN


async def test_a_client_that_asks_later_waits_for_as_long_as_there_may_be_an_answer(
    store: HoldStore, connection: StoreConnection
):
    hold = await opened(store, decide_s=3600)
    assert not await store.attendance.is_asked_later(hold.call.id)

    await store.attendance.ask_later(hold)

    assert await store.attendance.is_asked_later(hold.call.id)
    assert await waiting(store, hold) == 1
    life_s = whole(await connection.command("TTL", waiting_key(connection, hold.call.id)))
    assert life_s >= 3599 + hold.execute_within_s
    await store.attendance.arrive(hold.call.id, ONE)
    assert whole(await connection.command("TTL", waiting_key(connection, hold.call.id))) >= life_s - 1


async def test_nobody_can_wait_for_a_hold_that_is_not_there(connection: StoreConnection):
    assert await Attendance(connection).arrive(call_id(), ONE) is None


def test_the_settings_know_what_a_gate_may_say():
    assert [one.value for one in OnGone] == ["keep", "withdraw"]
