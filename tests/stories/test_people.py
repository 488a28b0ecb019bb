"""Whose assent counts: four eyes, quorums, groups as they are today, two people at once."""

from __future__ import annotations

import asyncio

import pytest

from policy.hold import State
from tests.fakes.house import House


@pytest.mark.parametrize("requester", ["olga", "sue", "bot", "planner"])
async def test_nobody_who_asked_for_the_call_or_answers_for_its_agent_approves_it(home: House, requester: str):
    chain = {"sub": "bot", "act": {"sub": "planner"}}
    asked = home.begin(home.refund(token=home.agent_token("sue", owner="olga", act=chain)))
    held = await home.wait_for_hold()
    assert held.call.principal.requesters == {"corp:olga", "corp:sue", "corp:bot", "corp:planner"}

    own = await home.person(requester).approve(held)

    assert (own.status, own.json["reason"]) == (403, "own-call")
    assert home.upstream.received == []
    assert (await home.wait_until(held, State.PENDING)).ballots == ()

    assert (await home.person("ann").approve(held)).status == 200
    assert (await asked).status == 200
    assert len(home.upstream.received) == 1
    assert [one["person"]["identity"] for one in home.ledger_records(held) if one["kind"] == "clicked"] == ["corp:ann"]


async def test_somebody_without_the_group_neither_sees_nor_approves(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    stranger = await home.person("eve", groups=()).approve(held)

    assert (stranger.status, stranger.json["reason"]) == (404, "no-such-hold")
    assert (await home.person("ann").approve(held)).status == 200
    assert (await asked).status == 200


async def test_one_person_twice_is_not_two_people(home: House):
    asked = home.begin(home.refund(250_000))
    held = await home.wait_for_hold()

    first = await home.person("ann").approve(held)
    again = await home.person("ann").approve(held)

    assert (first.status, first.json["state"]) == (200, "pending")
    assert (again.status, again.json["reason"]) == (409, "already-voted")
    assert home.upstream.received == []

    assert (await home.person("ben").approve(held)).status == 200
    assert (await asked).status == 200
    assert len(home.upstream.received) == 1
    assert await home.told(held, ends="concluded") == [
        "held",
        "clicked approve",
        "clicked approve",
        "moved approved",
        "released",
        "concluded executed",
    ]
    assert home.ledger_records(held)[-2]["approvals"]["by"] == ["corp:ann", "corp:ben"]


async def test_an_approval_does_not_count_once_its_giver_has_left_the_group(home: House):
    asked = home.begin(home.refund(250_000))
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)
    assert (await home.person("ann", groups=()).ask("GET", "/v1/me")).json["groups"] == []

    second = await home.person("ben").approve(held)

    assert (second.status, second.json["state"]) == (200, "pending")
    assert home.upstream.received == []

    assert (await home.person("cem").approve(held)).status == 200
    assert (await asked).status == 200
    await home.told(held, ends="concluded")
    released = next(one for one in home.ledger_records(held) if one["kind"] == "released")
    assert released["approvals"]["by"] == ["corp:ben", "corp:cem"]


async def test_an_approval_is_counted_again_before_the_call_is_sent(open_house):
    async with open_house(holds={"detached_after_s": 600}) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()
        await home.person("ann").approve(held)
        await home.person("ann", groups=()).ask("GET", "/v1/me")

        again = home.begin(home.refund())
        await home.wait_until(held, State.PENDING)
        assert home.upstream.received == []

        await home.person("ben").approve(held)
        assert (await again).status == 200
        assert len(home.upstream.received) == 1
        words = await home.told(held, ends="concluded")
        assert [word for word in words if word != "attached"] == [
            "held",
            "clicked approve",
            "moved approved",
            "moved pending",
            "clicked approve",
            "moved approved",
            "released",
            "concluded executed",
        ]


async def test_of_two_approvers_at_once_one_is_told_that_it_is_decided(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    clicks = await asyncio.gather(home.person("ann").approve(held), home.person("ben").approve(held))

    assert sorted(click.status for click in clicks) == [200, 409]
    assert next(click.json["reason"] for click in clicks if click.status == 409) == "already-decided"
    assert (await asked).status == 200
    assert len(home.upstream.received) == 1
    assert (await home.told(held, ends="concluded")).count("clicked approve") == 1


async def test_two_approvers_at_once_make_a_quorum_of_two(home: House):
    asked = home.begin(home.refund(250_000))
    held = await home.wait_for_hold()

    clicks = await asyncio.gather(home.person("ann").approve(held), home.person("ben").approve(held))

    assert [click.status for click in clicks] == [200, 200]
    assert (await asked).status == 200
    assert len(home.upstream.received) == 1
    assert (await home.told(held, ends="concluded")).count("clicked approve") == 2


async def test_an_approval_and_a_rejection_at_once_have_one_winner(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    approval, rejection = await asyncio.gather(home.person("ann").approve(held), home.person("ben").reject(held, "No"))

    assert sorted([approval.status, rejection.status]) == [200, 409]
    answer = await asked
    assert answer.status == (200 if approval.status == 200 else 403)
    assert len(home.upstream.received) == (1 if approval.status == 200 else 0)


async def test_a_person_withdraws_a_call_before_it_is_decided(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    withdrawn = await home.person("olga").withdraw(held, "Not needed any more")

    answer = await asked
    assert (withdrawn.status, withdrawn.json["state"]) == (200, "withdrawn")
    assert (answer.status, answer.json["reason"]) == (403, "withdrawn")
    assert home.upstream.received == []
    assert await home.told(held, ends="moved") == ["held", "clicked withdraw", "moved withdrawn"]
