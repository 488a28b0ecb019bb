"""When a kept document is fetched again, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio

import pytest

from policy.reasons import Reason
from proxy.errors import Outage
from proxy.identity.kept import COOL_DOWN_S, EMPTY_COOL_DOWN_S, FRESH_S, KEEP_S, TEND_AT_S, Kept


class Shelf:
    """A kept counter: every fetch gives the next number, unless it is broken or barred."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.broken = False
        self.failures: list[float | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.kept = Kept(self._fetch, clock=lambda: self.now, failed=lambda _fault, age_s: self.failures.append(age_s))

    async def _fetch(self) -> int:
        self.fetches += 1
        self.started.set()
        await self.gate.wait()
        if self.broken:
            raise Outage(Reason.ISSUER_UNAVAILABLE, "It did not answer.")
        return self.fetches


async def test_a_fresh_copy_is_served_without_asking():
    shelf = Shelf()
    assert [await shelf.kept.get() for _ in range(3)] == [1, 1, 1]
    shelf.now += FRESH_S
    assert await shelf.kept.get() == 2


async def test_many_callers_cause_one_fetch():
    shelf = Shelf()
    assert set(await asyncio.gather(*(shelf.kept.get() for _ in range(50)))) == {1}
    assert shelf.fetches == 1


async def test_many_callers_of_a_dead_issuer_cause_one_fetch():
    shelf = Shelf()
    shelf.broken = True
    faults = await asyncio.gather(*(shelf.kept.get() for _ in range(50)), return_exceptions=True)
    assert {type(fault) for fault in faults} == {Outage}
    assert shelf.fetches == 1
    assert shelf.failures == [None]


async def test_with_nothing_kept_it_is_asked_again_soon():
    shelf = Shelf()
    shelf.broken = True
    with pytest.raises(Outage):
        await shelf.kept.get()
    shelf.broken = False
    with pytest.raises(Outage):
        await shelf.kept.get()
    shelf.now += EMPTY_COOL_DOWN_S
    assert await shelf.kept.get() == 2


async def test_a_stale_copy_serves_for_a_day_and_not_longer():
    shelf = Shelf()
    await shelf.kept.get()
    shelf.broken = True
    shelf.now += KEEP_S - 1
    assert await shelf.kept.get() == 1
    assert shelf.failures == [KEEP_S - 1]
    shelf.now += 1
    with pytest.raises(Outage) as caught:
        await shelf.kept.get()
    assert caught.value.reason is Reason.ISSUER_UNAVAILABLE


async def test_while_a_stale_copy_serves_a_dead_issuer_is_asked_at_intervals():
    shelf = Shelf()
    await shelf.kept.get()
    shelf.broken = True
    shelf.now += FRESH_S
    for _ in range(20):
        await shelf.kept.get()
    assert shelf.fetches == 2
    shelf.now += COOL_DOWN_S
    await shelf.kept.get()
    assert shelf.fetches == 3


async def test_callers_do_not_wait_for_a_slow_issuer_while_a_stale_copy_serves():
    shelf = Shelf()
    await shelf.kept.get()
    shelf.now += FRESH_S
    shelf.gate.clear()
    shelf.started.clear()
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(shelf.kept.get())
        await shelf.started.wait()
        assert await shelf.kept.get() == 1
        shelf.gate.set()
    assert slow.result() == 2


async def test_forced_fetches_keep_their_distance():
    shelf = Shelf()
    await shelf.kept.get()
    assert [await shelf.kept.again() for _ in range(60)] == [2] * 60
    shelf.now += COOL_DOWN_S
    assert await shelf.kept.again() == 3


async def test_a_burst_that_forces_a_fetch_shares_its_result():
    shelf = Shelf()
    await shelf.kept.get()
    shelf.gate.clear()
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(shelf.kept.again()) for _ in range(20)]
        shelf.started.clear()
        await shelf.started.wait()
        shelf.gate.set()
    assert {caller.result() for caller in callers} == {2}


async def test_a_caller_who_leaves_hands_the_fetch_to_the_next():
    shelf = Shelf()
    shelf.gate.clear()
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(shelf.kept.get())
        await shelf.started.wait()
        staying = group.create_task(shelf.kept.get())
        leaving.cancel()
        shelf.gate.set()
    assert staying.result() == 2


async def test_a_forced_fetch_whose_caller_left_is_made_good_by_tending():
    shelf = Shelf()
    await shelf.kept.get()
    shelf.gate.clear()
    shelf.started.clear()
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(shelf.kept.again())
        await shelf.started.wait()
        leaving.cancel()
    shelf.gate.set()
    assert await shelf.kept.again() == 1
    await shelf.kept.tend()
    assert await shelf.kept.get() == 3


async def test_tending_fetches_ahead_of_the_callers():
    shelf = Shelf()
    await shelf.kept.tend()
    await shelf.kept.tend()
    assert shelf.fetches == 1
    shelf.now += TEND_AT_S
    await shelf.kept.tend()
    assert shelf.fetches == 2
