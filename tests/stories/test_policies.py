"""The law changes while calls wait: what is in force at release decides."""

from __future__ import annotations

from policy.hold import State
from tests.fakes.house import POLICIES, House

NO_REFUNDS = """
@id("freeze") @reason("Refunds are frozen until the audit is over.")
forbid (principal is Agent, action == Action::"stripe:refunds.create", resource);
"""
TWO_LEADS = POLICIES.replace('Quorum::"leads:1"', 'Quorum::"leads:2"')
THREE_A_MINUTE = """
@id("velocity") @reason("Three a minute is enough.")
forbid (principal is Agent, action == Action::"crm:notes.read", resource)
when { context.recent.callsMinute > 3 };
"""


async def test_a_prohibition_added_while_a_call_is_held_beats_the_approval(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()
    await home.publish(POLICIES + NO_REFUNDS)

    clicked = await home.person("ann").approve(held)

    answer = await asked
    assert (clicked.status, clicked.json["state"]) == (200, "rejected")
    assert (answer.status, answer.json["reason"]) == (403, "forbidden")
    assert "frozen until the audit" in answer.json["detail"]
    assert home.upstream.received == []
    assert await home.told(held, ends="moved") == ["held", "clicked approve", "moved rejected"]


async def test_a_prohibition_added_after_the_approval_still_beats_it(open_house):
    async with open_house(holds={"detached_after_s": 600}) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()
        await home.person("ann").approve(held)
        await home.wait_until(held, State.APPROVED)
        await home.publish(POLICIES + NO_REFUNDS)

        async with home.beside(holds={"detached_after_s": 0}) as sender:
            settled = await home.wait_until(held, State.REJECTED)
            assert await sender.told(held) == ["moved rejected"]

        assert settled.conclusion is not None
        assert "frozen" in settled.conclusion.detail
        status = await home.status(held.call.id)
        assert (status.status, status.json["reason"]) == (403, "forbidden")
        assert home.upstream.received == []
        assert await home.told(held) == ["held", "clicked approve", "moved approved"]


async def test_a_policy_that_asks_for_more_at_release_brings_the_call_back_before_people(open_house):
    async with open_house(holds={"detached_after_s": 600}) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()
        await home.person("ann").approve(held)
        await home.publish(TWO_LEADS)

        again = home.begin(home.refund())
        reopened = await home.wait_until(held, State.PENDING)
        assert [need.people for gate in reopened.gates for way in gate.any_of for need in way.needs] == [2]
        assert home.upstream.received == []

        await home.person("ben").approve(held)
        assert (await again).status == 200
        assert len(home.upstream.received) == 1
        assert [word for word in await home.told(held, ends="concluded") if word != "attached"] == [
            "held",
            "clicked approve",
            "moved approved",
            "moved pending",
            "clicked approve",
            "moved approved",
            "released",
            "concluded executed",
        ]


async def test_policies_that_cannot_be_read_leave_the_last_good_ones_in_force(home: House):
    (home.folder / "policies" / "house.cedar").write_text("permit (principal, action", "utf-8")
    assert not await home.gate.reload.try_publishing()

    assert (await home.refund(5_000)).status == 200
    assert (await home.call("POST", "/stripe/v1/payouts", form={"amount": "1"})).status == 403
    assert 'assentry_reloads_total{result="refused"} 1.0' in await home.metrics()


async def test_velocity_counts_only_the_calls_that_were_let_through(open_house):
    async with open_house(policies=POLICIES + THREE_A_MINUTE) as home:
        answers = [await home.call("GET", "/crm/notes/1") for _ in range(5)]

        assert [answer.status for answer in answers] == [200, 200, 200, 403, 403]
        assert (answers[3].json["reason"], answers[3].json["policies"]) == ("forbidden", ["velocity"])
        assert len(home.upstream.received) == 3

        # Had the refused calls counted, a limit of four a minute would refuse this one too.
        await home.publish(POLICIES + THREE_A_MINUTE.replace("> 3", "> 4"))
        assert (await home.call("GET", "/crm/notes/1")).status == 200
        assert (await home.call("GET", "/crm/notes/1")).status == 403
        assert (await home.call("GET", "/crm/notes/1", token=home.agent_token("other"))).status == 200
        assert len(home.upstream.received) == 5
