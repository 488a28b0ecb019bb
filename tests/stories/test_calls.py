"""What may become of a call: allowed, denied, held and approved, rejected, expired, or still undecided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import openai
import pytest
import stripe

from policy.hold import State
from tests.fakes.house import CREDENTIAL, POLICIES, House
from tests.fakes.upstream import reply

APPROVED = ["held", "clicked approve", "moved approved", "released", "concluded executed"]
QUICK = POLICIES.replace('@id("refund-over-100")', '@id("refund-over-100") @timeout("1s")')


async def test_an_allowed_call_goes_out_at_once_with_the_upstreams_credential(home: House):
    answer = await home.refund(5_000)

    assert (answer.status, answer.body) == (200, b"{}")
    assert [(one.method, one.target) for one in home.upstream.received] == [("POST", "/stripe/v1/refunds")]
    assert home.upstream.received[0].header("authorization") == f"Bearer {CREDENTIAL}"
    assert await home.holds() == []
    assert await home.told(answer.call, ends="concluded") == ["judged allow", "concluded executed"]


async def test_a_denied_call_says_why_and_by_which_policy(home: House):
    answer = await home.call("POST", "/stripe/v1/payouts", form={"amount": "900000", "currency": "eur"})

    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["stripe-should-retry"] == "false"
    assert (answer.json["reason"], answer.json["policies"]) == ("forbidden", ["no-payouts"])
    assert "Agents never pay out." in answer.json["detail"]
    assert "Agents never pay out." in answer.json["error"]["message"]
    assert home.upstream.received == []
    assert await home.holds() == []
    assert await home.told(answer.call) == ["judged deny"]


async def test_what_no_policy_permits_is_denied_and_never_held(home: House):
    answer = await home.refund(25_000, token=home.agent_token("stranger", groups=()))

    assert (answer.status, answer.json["reason"]) == (403, "no-policy-permits")
    assert home.upstream.received == []
    assert await home.holds() == []
    assert await home.told(answer.call) == ["judged deny"]


async def test_a_held_call_is_approved_and_sent_once(home: House):
    asked = home.begin(home.refund(25_000))
    held = await home.wait_for_hold()
    assert home.upstream.received == []

    clicked = await home.person("ann").approve(held, "I checked the invoice")
    answer = await asked

    assert clicked.status == 200
    assert (answer.status, answer.call) == (200, held.call.id)
    assert "assentry-replayed" not in answer.headers
    assert [one.body for one in home.upstream.received] == [b"charge=ch_1&amount=25000&currency=eur"]
    assert (await home.wait_until(held, State.EXECUTED)).settled_by == "corp:ann"
    assert await home.told(held, ends="concluded") == APPROVED
    released = home.ledger_records(held)[3]
    assert released["approvals"]["by"] == ["corp:ann"]
    assert released["detached"] is False


def refund_by_sdk(home: House) -> Callable[[], stripe.Refund]:
    token = home.agent_token()

    def refund() -> stripe.Refund:
        http = stripe.RequestsClient()
        try:
            gate = {"api": f"{home.gate.agents_url}/stripe"}
            client = stripe.StripeClient(token, base_addresses=gate, http_client=http, max_network_retries=2)
            return client.v1.refunds.create({"charge": "ch_1", "amount": 25_000})
        finally:
            http.close()

    return refund


def respond_by_sdk(home: House) -> Callable[[], str]:
    token = home.agent_token()

    def respond() -> str:
        with openai.OpenAI(base_url=f"{home.gate.agents_url}/openai/v1", api_key=token) as client:
            return client.responses.create(model="gpt-5", input="hello").id

    return respond


async def test_the_stripe_sdk_gets_its_refund_once_it_is_approved(home: House):
    home.upstream.script(reply(200, b'{"id": "re_1", "object": "refund", "amount": 25000}'))
    asked = home.begin(asyncio.to_thread(refund_by_sdk(home)))
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)

    assert (await asked).id == "re_1"
    assert len(home.upstream.received) == 1
    assert await home.told(held, ends="concluded") == APPROVED


async def test_the_openai_sdk_gets_its_answer_once_it_is_approved(home: House):
    home.upstream.script(reply(200, b'{"id": "resp_1", "object": "response", "output": []}'))
    asked = home.begin(asyncio.to_thread(respond_by_sdk(home)))
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)

    assert await asked == "resp_1"
    assert [one.target for one in home.upstream.received] == ["/openai/v1/responses"]
    assert await home.told(held, ends="concluded") == APPROVED


@pytest.mark.parametrize(
    ("by_sdk", "error"), [(refund_by_sdk, stripe.PermissionError), (respond_by_sdk, openai.PermissionDeniedError)]
)
async def test_the_sdks_own_exception_says_who_rejected_the_call_and_why(
    home: House, by_sdk: Callable[[House], Callable[[], object]], error: type[Exception]
):
    asked = home.begin(asyncio.to_thread(by_sdk(home)))
    held = await home.wait_for_hold()
    clicked = await home.person("ann").reject(held, "The invoice is not ours")

    assert (clicked.status, clicked.json["state"]) == (200, "rejected")
    with pytest.raises(error, match="Ann rejected this call: The invoice is not ours"):
        await asked
    assert home.upstream.received == []
    assert [hold.state for hold in await home.holds()] == [State.REJECTED]
    assert await home.told(held, ends="moved") == ["held", "clicked reject", "moved rejected"]


async def test_a_rejected_call_is_not_asked_for_again_a_moment_later(home: House):
    asked = home.begin(home.refund())
    await home.person("ann").reject(await home.wait_for_hold(), "No")
    assert (await asked).status == 403

    again = await home.refund()

    assert (again.status, again.json["reason"], again.json["decision_reason"]) == (403, "rejected", "No")
    assert len(await home.holds()) == 1
    assert home.upstream.received == []


async def test_a_call_that_nobody_decides_on_expires_and_is_never_sent(open_house):
    async with open_house(policies=QUICK) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        answer = await asked

        assert (answer.status, answer.json["reason"]) == (403, "expired")
        assert answer.json["next_action"] == "request"
        assert (await home.person("ann").approve(held)).status == 409
        assert home.upstream.received == []
        assert [hold.state for hold in await home.holds()] == [State.EXPIRED]
        assert await home.told(held, ends="moved") == ["held", "moved expired"]


async def test_an_operation_that_no_catalogue_names_is_held_by_the_base_policy(home: House):
    asked = home.begin(home.call("POST", "/crm/no/such/thing", document={"x": 1}))
    held = await home.wait_for_hold()
    assert (held.call.operation.name, held.obligations.queues) == ("crm:unknown", frozenset({"unknown"}))
    assert "base-unknown-operation" in held.policies
    assert home.upstream.received == []

    await home.person("ann").approve(held)

    assert (await asked).status == 200
    assert [one.target for one in home.upstream.received] == ["/crm/no/such/thing"]
    assert await home.told(held, ends="concluded") == APPROVED


async def test_a_client_whose_patience_is_over_is_told_so_and_its_next_try_goes_on_waiting(home: House):
    first = await home.refund(headers={"Prefer": "wait=0"})

    assert (first.status, first.json["reason"]) == (403, "approval-pending")
    assert first.json["type"] == "urn:assentry:problem:approval-pending"
    assert first.json["retryable"] is True
    assert (first.headers["x-should-retry"], "retry-after" in first.headers) == ("false", False)
    assert first.json["status_url"] == f"{home.gate.agents_url}/v1/calls/{first.call}"
    assert (await home.status(first.call)).status == 202

    again = home.begin(home.refund())
    (held,) = await home.holds()
    await home.told(held, ends="attached")
    await home.person("ann").approve(held)

    answer = await again
    assert (answer.status, answer.call) == (200, first.call)
    assert len(home.upstream.received) == 1
    assert await home.told(held, ends="concluded") == ["held", "attached", *APPROVED[1:]]
