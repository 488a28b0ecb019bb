"""How agents prove who they are, and how they are shut out: at the door, and again at release."""

from __future__ import annotations

import base64

import pytest

from policy.hold import State
from tests.fakes.house import Approver, House, basic, bearer

SLOTS = {
    "bearer": bearer,
    "token": lambda key: {"Authorization": f"token {key}"},
    "x-api-key": lambda key: {"x-api-key": key},
    "api-key": lambda key: {"api-key": key},
    "basic user": basic,
    "basic password": lambda key: basic("git", key),
}


@pytest.mark.parametrize("slot", SLOTS)
async def test_an_agent_key_is_taken_wherever_an_sdk_puts_its_own(home: House, slot: str):
    key = await home.agent_key()

    answer = await home.refund(5_000, token="", headers=SLOTS[slot](key))

    assert answer.status == 200
    (received,) = home.upstream.received
    assert key.encode() not in received.raw
    assert base64.b64encode(f"{key}:".encode()) not in received.raw
    assert await home.told(answer.call, ends="concluded") == ["judged allow", "concluded executed"]
    judged = home.ledger_records(answer.call)[0]
    assert (judged["principal"]["agent"], judged["principal"]["proof"]) == ("corp:keyed", "agent-key")


async def test_a_revoked_agent_key_is_refused(home: House):
    key = await home.agent_key()
    assert (await home.refund(5_000, token=key)).status == 200

    await home.revoke(key)

    answer = await home.refund(5_000, token=key)
    assert (answer.status, answer.json["reason"]) == (401, "identity-invalid")
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert len(home.upstream.received) == 1
    assert await home.told(answer.call) == ["refused identity-invalid"]
    issued, revoked = (one for one in home.ledger_records() if one["kind"] == "key-issued")
    assert (issued["revoked"], revoked["revoked"]) == (False, True)


async def test_a_key_revoked_while_its_call_is_held_sends_nothing(home: House):
    key = await home.agent_key()
    asked = home.begin(home.refund(token=key))
    held = await home.wait_for_hold()
    await home.revoke(key)

    await home.person("ann").approve(held)

    answer = await asked
    assert (answer.status, answer.json["reason"]) == (401, "identity-revoked")
    assert home.upstream.received == []
    assert (await home.told(held, ends="moved rejected"))[-1] == "moved rejected"


DENIALS = {"subject": "corp:bot", "client": "corp:bot-app", "token": "corp:t-1"}


@pytest.mark.parametrize("kind", DENIALS)
async def test_who_is_on_the_deny_list_is_refused_at_the_door(home: House, kind: str):
    token = home.agent_token("bot", client_id="bot-app", jti="t-1")
    innocent = home.agent_token("other", client_id="other-app", jti="t-2")
    assert (await home.refund(5_000, token=token)).status == 200
    oper = home.person("oper", groups=("operators",))

    added = await oper.ask("POST", "/v1/denials", {"kind": kind, "value": DENIALS[kind], "reason": "stolen"})

    refused = await home.refund(5_000, token=token)
    assert (added.status, refused.status, refused.json["reason"]) == (200, 401, "identity-revoked")
    assert (await home.refund(5_000, token=innocent)).status == 200
    assert len(home.upstream.received) == 2
    assert await home.told(refused.call) == ["refused identity-revoked"]
    (changed,) = (one for one in home.ledger_records() if one["kind"] == "denial-changed")
    assert (changed["entry_kind"], changed["entry"], changed["denied"]) == (kind, DENIALS[kind], True)
    assert changed["by"]["identity"] == "corp:oper"

    assert (await oper.ask("DELETE", f"/v1/denials/{kind}/{DENIALS[kind]}")).status == 204
    assert (await home.refund(5_000, token=token)).status == 200


@pytest.mark.parametrize("kind", DENIALS)
async def test_who_was_shut_out_while_the_call_was_held_is_refused_at_release(home: House, kind: str):
    asked = home.begin(home.refund(token=home.agent_token("bot", client_id="bot-app", jti="t-1")))
    held = await home.wait_for_hold()
    oper = home.person("oper", groups=("operators",))
    await oper.ask("POST", "/v1/denials", {"kind": kind, "value": DENIALS[kind], "reason": "stolen"})

    await home.person("ann").approve(held)

    answer = await asked
    assert (answer.status, answer.json["reason"]) == (401, "identity-revoked")
    assert home.upstream.received == []
    assert (await home.wait_until(held, State.REJECTED)).settled_by == "corp:ann"
    assert await home.told(held, ends="moved rejected") == [
        "held",
        "clicked approve",
        "moved approved",
        "moved rejected",
    ]


async def test_a_person_who_is_shut_out_neither_decides_nor_counts(home: House):
    asked = home.begin(home.refund(250_000))
    held = await home.wait_for_hold()
    assert (await home.person("ann").approve(held)).status == 200
    oper = home.person("oper", groups=("operators",))
    await oper.ask("POST", "/v1/denials", {"kind": "subject", "value": "corp:ann", "reason": "left"})

    assert (await home.person("ann").see(held)).status == 401
    assert (await home.person("ben").approve(held)).json["state"] == "pending"
    assert (await home.person("cem").approve(held)).status == 200
    assert (await asked).status == 200
    assert len(home.upstream.received) == 1


@pytest.mark.parametrize(
    ("token", "reason"),
    [("", "identity-missing"), ("nonsense", "identity-invalid"), ("ask_aaaaaaaaaaaa_" + "x" * 43, "identity-invalid")],
)
async def test_nobody_in_particular_is_refused_and_recorded(home: House, token: str, reason: str):
    answer = await home.refund(5_000, token=token)

    assert (answer.status, answer.json["reason"]) == (401, reason)
    assert home.upstream.received == []
    assert await home.told(answer.call) == [f"refused {reason}"]


async def test_a_person_is_no_agent_and_an_agent_no_person(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()

    as_agent = await home.refund(5_000, token=home.person_token("ann"))
    as_person = await Approver(home=home, token=home.agent_token("ann", groups=("leads",))).approve(held)

    assert (as_agent.status, as_agent.json["reason"]) == (403, "not-an-agent")
    assert (as_person.status, as_person.json["reason"]) == (403, "not-a-person")
    assert home.upstream.received == []
    assert (await home.wait_until(held, State.PENDING)).ballots == ()
    asked.cancel()
