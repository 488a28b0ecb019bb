"""An approval where the agent waits: sent in the same breath, and by the same rules as any other."""

from __future__ import annotations

import asyncio

from policy.hold import State
from proxy.holds.wakeups import Wakeups
from tests.fakes.house import POLICIES, House
from tests.fakes.upstream import held as held_until
from tests.fakes.upstream import reply

LEASED = ["held", "clicked approve", "moved approved", "released"]


async def test_nobody_ever_finds_the_hold_between_its_approval_and_its_lease(home: House):
    answer = asyncio.Event()
    home.upstream.script(held_until(answer, reply(200, b"{}")))
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    clicked = await home.person("ann").approve(held)

    sending = await home.wait_until(held, State.RELEASING)
    assert (clicked.status, clicked.json["state"]) == (200, "approved")
    assert sending.revision == held.revision + 2
    assert sending.ballots[0].person == "corp:ann"
    assert await home.told(held, ends="released") == LEASED
    answer.set()
    assert (await asked).status == 200
    assert len(home.upstream.received) == 1


async def test_an_agent_that_is_shut_out_meanwhile_gets_nothing_sent_at_once(home: House):
    key = await home.agent_key()
    asked = home.begin(home.refund(token=key))
    held = await home.wait_for_hold()
    await home.revoke(key)

    await home.person("ann").approve(held)

    assert (await asked).json["reason"] == "identity-revoked"
    assert home.upstream.received == []
    assert "released" not in await home.told(held, ends="moved rejected")


async def test_a_call_that_is_counted_is_counted_once(open_house):
    twice_a_minute = """
    @id("twice-a-minute") forbid (principal is Agent, action == Action::"stripe:refunds.create", resource)
    when { context.recent.callsMinute > 2 };"""
    async with open_house(policies=POLICIES + twice_a_minute) as home:
        asked = home.begin(home.refund())
        await home.person("ann").approve(await home.wait_for_hold())
        assert (await asked).status == 200
        assert [(await home.refund(5_000)).status for _ in range(2)] == [200, 403]


async def test_whoever_is_the_second_to_approve_at_the_same_moment_sends_nothing_again(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    clicks = await asyncio.gather(*(home.person(name).approve(held) for name in ("ann", "ben", "cem", "dan")))

    assert (await asked).status == 200
    assert sorted(click.status for click in clicks) == [200, 409, 409, 409]
    assert len(home.upstream.received) == 1
    assert await home.told(held, ends="concluded") == [*LEASED, "concluded executed"]


async def test_a_response_that_nobody_came_for_is_kept_for_the_agent_that_asks_again(home: House):
    token = home.agent_token()
    await home.refund(token=token, headers={"Prefer": "respond-async"})
    held = await home.wait_for_hold()
    with _wakeups(home).listen(held.call.id):  # Somebody waits, and is gone when the answer comes.
        assert (await home.person("ann").approve(held)).status == 200

    await home.wait_until(held, State.EXECUTED)
    again = await home.refund(token=token)

    assert (again.status, again.call, again.headers["assentry-replayed"]) == (200, held.call.id, "true")
    assert len(home.upstream.received) == 1


async def test_approvals_wait_for_a_place_before_they_are_leased(open_house):
    answer = asyncio.Event()
    async with open_house(each_upstream={"connections": 1}) as home:
        home.upstream.script(held_until(answer, reply(200, b"{}")))
        first = home.begin(home.refund(25_001))
        one = await home.wait_for_hold()
        await home.person("ann").approve(one)
        await home.wait_until(one, State.RELEASING)
        second = home.begin(home.refund(25_002))
        other = await home.wait_for_hold(besides=[one])

        assert (await home.person("ann").approve(other)).status == 200

        assert (await home.wait_until(other, State.APPROVED)).lease is None
        answer.set()
        assert {(await first).status, (await second).status} == {200}
        assert len(home.upstream.received) == 2


def _wakeups(home: House) -> Wakeups:
    told = home.gate.store._moved
    bells = getattr(told, "__self__", None)
    assert isinstance(bells, Wakeups)
    return bells
