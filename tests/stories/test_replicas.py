"""Two replicas on one store are one gate."""

from __future__ import annotations

import asyncio

from policy.hold import State
from tests.fakes.house import House
from tests.fakes.upstream import reply


async def test_an_agent_waits_at_one_replica_and_a_person_approves_at_the_other(home: House):
    async with home.beside() as other:
        asked = home.begin(home.refund())
        held = await other.wait_for_hold()

        clicked = await home.person("ann").at(other).approve(held)

        answer = await asked
        assert (clicked.status, answer.status) == (200, 200)
        assert "assentry-replayed" not in answer.headers
        assert len(home.upstream.received) == 1
        assert await home.told(held, ends="concluded") == ["held", "released", "concluded executed"]
        assert await other.told(held, ends="moved") == ["clicked approve", "moved approved"]


async def test_the_same_call_at_both_replicas_at_once_is_one_hold_and_one_execution(home: House):
    home.upstream.script(reply(200, b'{"id": "re_1"}'))
    async with home.beside() as other:
        token = home.agent_token()
        asked = [home.begin(one.refund(token=token)) for one in (home, other)]
        held = await home.wait_for_hold()
        opener, joiner = (home, other) if home.opened(held) else (other, home)
        await joiner.told(held, ends="attached")

        await home.person("ann").at(joiner).approve(held)

        answers = await asyncio.gather(*asked)
        assert [(one.status, one.body, one.call) for one in answers] == [(200, b'{"id": "re_1"}', held.call.id)] * 2
        assert sorted(one.headers.get("assentry-replayed", "") for one in answers) == ["", "true"]
        assert len(home.upstream.received) == 1
        assert len(await home.holds()) == 1
        await home.wait_until(held, State.EXECUTED)
        everything = [*await opener.told(held), *await joiner.told(held)]
        assert sorted(everything) == sorted(
            ["held", "attached", "clicked approve", "moved approved", "released", "concluded executed"]
        )


async def test_many_repeats_at_both_replicas_are_one_execution(home: House):
    async with home.beside() as other:
        token = home.agent_token()
        asked = [home.begin(one.refund(token=token)) for one in (home, other) * 8]
        held = await home.wait_for_hold()

        await home.person("ann").approve(held)

        answers = await asyncio.gather(*asked)
        assert {(one.status, one.call) for one in answers} == {(200, held.call.id)}
        assert [one.headers.get("assentry-replayed") for one in answers].count(None) == 1
        assert len(home.upstream.received) == 1


async def test_a_replica_that_stops_leaves_its_holds_to_the_others(home: House):
    async with home.beside() as other:
        asked = home.begin(other.refund())
        held = await home.wait_for_hold()

    answer = await asked
    assert (answer.status, answer.json["reason"]) == (403, "approval-pending")

    again = home.begin(home.refund())
    await home.told(held, ends="attached")
    await home.person("ann").approve(held)
    assert (await again).status == 200
    assert len(home.upstream.received) == 1


async def test_a_call_whose_replica_went_away_with_its_client_is_sent_by_another_and_its_response_waits(open_house):
    async with open_house(holds={"detached_after_s": 0}) as home:
        home.upstream.script(reply(201, b'{"id": "re_1"}'))
        async with home.beside() as other:
            asked = home.begin(other.refund())
            held = await other.wait_for_hold()
        told = await asked  # The replica stops: its client is told to come back.
        assert (told.status, told.json["reason"]) == (403, "approval-pending")
        await home.shown_as_left(held)

        await home.person("ann").approve(held)
        await home.wait_until(held, State.EXECUTED)

        again, status = await home.refund(), await home.status(held.call.id)
        assert [(one.status, one.headers["assentry-replayed"]) for one in (again, status)] == [(201, "true")] * 2
        assert len(home.upstream.received) == 1
