from __future__ import annotations

import asyncio

import pytest

from policy.call import Recent
from policy.principal import Identity
from proxy.holds.connection import StoreConnection
from proxy.holds.counters import Counters

ROBOT = Identity("corp:robot")
REFUND = "stripe:refunds.create"


def figures(calls: int, total: int) -> Recent:
    return Recent(
        calls_minute=calls, calls_hour=calls, calls_day=calls, sum_minute=total, sum_hour=total, sum_day=total
    )


async def age(connection: StoreConnection, seconds: int) -> None:
    """Moves everything counted so far into the past."""
    widths = {"minute": 10, "hour": 60, "day": 3600}
    async for key in connection.scan(connection.key("*", "recent")):
        flat = await connection.command("HGETALL", key)
        assert isinstance(flat, list)
        await connection.command("DEL", key)
        for field, value in zip(flat[::2], flat[1::2], strict=True):
            assert isinstance(field, bytes)
            assert isinstance(value, bytes)
            name, kind, bucket = field.decode().split(":")
            moved = (int(bucket) * widths[name] - seconds) // widths[name]
            await connection.command("HINCRBY", key, f"{name}:{kind}:{moved}", value)


async def test_a_call_is_counted_before_it_is_told(connection: StoreConnection):
    counters = Counters(connection)
    assert (await counters.add(ROBOT, REFUND, 500)).recent == figures(1, 500)
    assert (await counters.add(ROBOT, REFUND, 250)).recent == figures(2, 750)


async def test_agents_and_operations_are_counted_apart(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 500)
    assert (await counters.add(Identity("corp:other"), REFUND, 1)).recent == figures(1, 1)
    assert (await counters.add(ROBOT, "stripe:charges.list", 2)).recent == figures(1, 2)


async def test_of_many_calls_at_once_each_sees_another_number(
    connection: StoreConnection, other_connection: StoreConnection
):
    both = (Counters(connection), Counters(other_connection))
    counted = await asyncio.gather(*(both[n % 2].add(ROBOT, REFUND, 10) for n in range(100)))
    assert sorted(each.recent.calls_day for each in counted) == list(range(1, 101))
    assert max(each.recent.sum_day for each in counted) == 1000


async def test_calls_leave_each_window_in_turn(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 100)
    await age(connection, 71)
    recent = (await counters.add(ROBOT, REFUND, 10)).recent
    assert (recent.calls_minute, recent.calls_hour, recent.sum_minute, recent.sum_hour) == (1, 2, 10, 110)
    await age(connection, 3661)
    recent = (await counters.add(ROBOT, REFUND, 1)).recent
    assert (recent.calls_hour, recent.calls_day, recent.sum_hour, recent.sum_day) == (1, 3, 1, 111)
    await age(connection, 25 * 3600)
    assert (await counters.add(ROBOT, REFUND, 7)).recent == figures(1, 7)


async def test_a_call_just_within_a_window_is_still_counted(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 100)
    await age(connection, 50)
    assert (await counters.add(ROBOT, REFUND, 1)).recent.calls_minute == 2


async def test_a_call_that_was_not_let_through_is_taken_back(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 100)
    refused = await counters.add(ROBOT, REFUND, 5000)
    await counters.take_back(refused)
    assert (await counters.add(ROBOT, REFUND, 1)).recent == figures(2, 101)


@pytest.mark.parametrize("amount", [0, -900, 10**40])
async def test_a_call_of_any_amount_can_be_taken_back(connection: StoreConnection, amount: int):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 1000)
    await counters.take_back(await counters.add(ROBOT, REFUND, amount))
    assert (await counters.add(ROBOT, REFUND, 1)).recent == figures(2, 1001)


async def test_taking_back_never_counts_below_zero(connection: StoreConnection):
    counters = Counters(connection)
    counted = await counters.add(ROBOT, REFUND, 100)
    for _ in range(3):
        await counters.take_back(counted)
    assert (await counters.add(ROBOT, REFUND, 1)).recent == figures(1, 1)


async def test_a_negative_amount_lowers_no_sum(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 1000)
    assert (await counters.add(ROBOT, REFUND, -900)).recent.sum_day == 1000


async def test_an_absurd_amount_is_counted_as_the_largest_and_stays_within_a_long(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 10**40)
    recent = (await counters.add(ROBOT, REFUND, 10**40)).recent
    assert recent.sum_day == 2**51


async def test_looking_ahead_tells_what_counting_would_and_counts_nothing(connection: StoreConnection):
    counters = Counters(connection)
    await counters.add(ROBOT, REFUND, 500)
    for _ in range(3):
        assert await counters.foretell(ROBOT, REFUND, 250) == figures(2, 750)
    assert await counters.foretell(ROBOT, REFUND, -250) == figures(2, 500)
    assert (await counters.add(ROBOT, REFUND, 250)).recent == figures(2, 750)
