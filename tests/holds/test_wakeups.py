from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from config import settings
from policy.hold import withdraw
from policy.principal import Identity
from proxy.holds.connection import StoreConnection, connect
from proxy.holds.store import HoldStore
from proxy.holds.wakeups import Wakeups
from tests.fakes.valkey import PrivateValkey
from tests.fakes.values import a_hold
from tests.holds.held import call_id, kept, opened

LONG_S = 30.0


@pytest.fixture
async def wakeups(other_connection: StoreConnection) -> AsyncIterator[Wakeups]:
    made = Wakeups(other_connection, poll_s=LONG_S * 10)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run())
        await made.listening.wait()
        yield made
        running.cancel()


async def test_a_move_on_one_replica_wakes_the_waiter_on_another(store: HoldStore, wakeups: Wakeups):
    hold = await opened(store)
    with wakeups.listen(hold.call.id) as bell:
        async with asyncio.timeout(LONG_S / 3), asyncio.TaskGroup() as group:
            group.create_task(bell.wait(LONG_S))
            await kept(store, hold, withdraw(hold, Identity("corp:ann"), "Ann", "", await store.now()))


async def test_a_move_between_reading_and_waiting_is_not_missed(store: HoldStore, wakeups: Wakeups):
    hold = await opened(store)
    with wakeups.watch() as seen, wakeups.listen(hold.call.id) as bell:
        await kept(store, hold, withdraw(hold, Identity("corp:ann"), "Ann", "", await store.now()))
        await seen.wait(LONG_S)  # the message has arrived before anybody waits on the bell
        async with asyncio.timeout(LONG_S / 3):
            await bell.wait(LONG_S)


async def test_a_move_of_another_hold_does_not_wake(store: HoldStore, wakeups: Wakeups):
    hold = await opened(store)
    with wakeups.watch() as seen, wakeups.listen(call_id()) as bell:
        await kept(store, hold, withdraw(hold, Identity("corp:ann"), "Ann", "", await store.now()))
        await seen.wait(LONG_S)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await bell.wait(LONG_S)


async def test_a_new_hold_rings_those_who_watch_the_queue(store: HoldStore, wakeups: Wakeups):
    with wakeups.watch() as bell:
        async with asyncio.timeout(LONG_S / 3), asyncio.TaskGroup() as group:
            group.create_task(bell.wait(LONG_S))
            await opened(store)


async def test_waiting_ends_when_its_time_is_over(connection: StoreConnection):
    with Wakeups(connection).listen(call_id()) as bell:
        async with asyncio.timeout(LONG_S):
            await bell.wait(0.01)
            await bell.wait(-1)


async def test_without_any_message_a_waiter_looks_again_after_the_poll_interval(connection: StoreConnection):
    with Wakeups(connection, poll_s=0.01).listen(call_id()) as bell:
        async with asyncio.timeout(LONG_S / 3):
            await bell.wait(LONG_S)


async def test_everybody_is_woken_when_the_connection_comes_back():
    with PrivateValkey() as server:
        connection = connect(settings.Store(timeout_s=5), url=server.url)
        wakeups = Wakeups(connection, poll_s=LONG_S * 10)
        async with asyncio.timeout(LONG_S), asyncio.TaskGroup() as group:
            running = group.create_task(wakeups.run())
            await wakeups.listening.wait()
            with wakeups.listen(call_id()) as bell:
                server.kill()
                server.start()
                await bell.wait(LONG_S)
            running.cancel()
        await connection.close()


async def test_nothing_is_left_behind_by_those_who_listened(connection: StoreConnection):
    wakeups = Wakeups(connection)
    with wakeups.listen(call_id()), wakeups.watch():
        assert wakeups.waiting == 2
    assert wakeups.waiting == 0


async def test_those_who_wait_in_the_same_process_are_told_what_was_kept_without_the_store(
    connection: StoreConnection,
):
    hold = a_hold()
    wakeups = Wakeups(connection, poll_s=LONG_S * 10)  # and nobody listens to the store
    with wakeups.listen(hold.call.id) as one, wakeups.listen(hold.call.id) as other, wakeups.listen(call_id()) as third:
        wakeups.kept(hold)
        async with asyncio.timeout(LONG_S / 3):
            await asyncio.gather(one.wait(LONG_S), other.wait(LONG_S))
        assert (one.told(), one.told()) == (hold, None)
        assert (other.told(), third.told()) == (hold, None)


async def test_a_ring_beside_what_was_told_is_not_lost(connection: StoreConnection):
    hold = a_hold()
    wakeups = Wakeups(connection, poll_s=LONG_S * 10)
    with wakeups.listen(hold.call.id) as bell:
        wakeups.kept(hold)
        bell.ring()  # another replica moved it on
        async with asyncio.timeout(LONG_S / 3):
            await bell.wait(LONG_S)
            assert bell.told() == hold
            await bell.wait(LONG_S)
        assert bell.told() is None
