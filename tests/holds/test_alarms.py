"""One timer for any number of waits."""

from __future__ import annotations

import asyncio

from proxy.holds.alarms import Alarms


async def test_alarms_ring_in_the_order_of_their_times_whatever_the_order_of_their_asking():
    alarms, rung, last = Alarms(), [], asyncio.Event()
    alarms.ring_in(0.03, last.set)
    for number in (2, 0, 1):
        alarms.ring_in(number * 0.01, lambda number=number: rung.append(number))
    async with asyncio.timeout(5):
        await last.wait()
    assert rung == [0, 1, 2]


async def test_a_thousand_alarms_are_one_timer():
    handles = asyncio.get_running_loop()._scheduled
    before = sum(not handle.cancelled() for handle in handles)
    alarms = Alarms()
    for number in range(1000):
        alarms.ring_in(1000 - number, lambda: None)
    assert sum(not handle.cancelled() for handle in handles) == before + 1


async def test_an_alarm_in_the_past_rings_soon_and_not_at_once():
    alarms, rung = Alarms(), asyncio.Event()
    alarms.ring_in(-5, rung.set)
    assert not rung.is_set()
    async with asyncio.timeout(5):
        await rung.wait()
