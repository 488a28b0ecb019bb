"""Attacks on what people approved, and on who may approve it, against the gate as it runs (threats A and J)."""

from __future__ import annotations

import asyncio

import pytest

from tests.fakes.upstream import reply
from tests.hostile.whole import FORM, LAW, Whole, a_key, whole


@pytest.fixture
async def live(tmp_path):
    async with whole(tmp_path) as running:
        yield running


async def _executed(live: Whole, call: str) -> None:
    assert (await live.decide(call)).status == 200
    await live.until(call, "executed")


# A1: approved, then changed.


async def test_a1_an_approval_opens_the_call_that_was_shown_and_no_other(live: Whole):
    small, large = await live.held(25_000), await live.held(9_000_000)
    await _executed(live, small)
    assert [one.body for one in live.upstream.received] == [b"charge=ch_1&amount=25000"]
    assert (await live.show(large))["state"] == "pending"


async def test_a1_a_decision_on_something_else_than_what_is_held_is_refused(live: Whole):
    small, large = await live.held(25_000), await live.held(9_000_000)
    shown = await live.show(small)
    got = await live.decide(large, fingerprint=shown["fingerprint"])
    assert (got.status, got.said["reason"]) == (409, "fingerprint-changed")
    assert live.upstream.received == []


@pytest.mark.parametrize("header", ["Accept: text/csv", "If-Match: x", "Range: bytes=0-1", "Content-Language: de"])
async def test_a1_every_header_that_travels_is_part_of_what_is_approved(live: Whole, header: str):
    plain = await live.held()
    assert await live.held(25_000, header) != plain


async def test_a1_an_approval_of_one_agent_serves_no_other(live: Whole):
    mine = await live.held()
    theirs = await live.held(token=live.issuer.agent_token("other"))
    assert mine != theirs
    await _executed(live, mine)
    assert (await live.show(theirs))["state"] == "pending"
    assert len(live.upstream.received) == 1


async def test_a1_an_approval_for_one_person_serves_nobody_else_of_the_same_agent(live: Whole):
    for_ann, for_ben = _acting_for(live, "ann"), _acting_for(live, "ben")
    mine, theirs = await live.held(token=for_ann), await live.held(token=for_ben)
    assert mine != theirs


# A2: the same thing twice.


async def test_a2_a_decision_repeated_is_a_conflict_and_changes_nothing(live: Whole):
    call = await live.held()
    await _executed(live, call)
    again = await live.decide(call)
    assert (again.status, again.said["reason"]) == (409, "already-decided")
    assert len(live.upstream.received) == 1


async def test_a2_a_call_like_one_that_was_delivered_needs_an_approval_of_its_own(live: Whole):
    call = await live.held()
    await _executed(live, call)
    delivered = await live.refund(25_000)
    assert (delivered.status, delivered.headers["assentry-replayed"]) == (200, "true")
    assert await live.held() != call
    assert len(live.upstream.received) == 1


async def test_a2_with_an_idempotency_key_a_repeat_is_answered_and_never_sent_again(live: Whole):
    key = "Idempotency-Key: k-1"
    call = await live.held(25_000, key)
    await _executed(live, call)
    for _ in range(3):
        again = await live.refund(25_000, key)
        assert (again.status, again.headers["assentry-call"]) == (200, call)
    assert len(live.upstream.received) == 1


# A5, A6: who may not approve.


async def test_a5_whoever_answers_for_the_agent_cannot_approve(live: Whole):
    call = await live.held()
    got = await live.decide(call, person="olga")
    assert (got.status, got.said["reason"]) == (403, "own-call")
    assert live.upstream.received == []


async def test_a5_whoever_the_agent_acts_for_cannot_approve(live: Whole):
    call = await live.held(token=_acting_for(live, "ann"))
    shown = await live.show(call, person="ben")
    decision = {"fingerprint": shown["fingerprint"], "shown": shown["shown"], "reason": "mine"}
    got = await live.api("ann", "POST", f"/v1/holds/{call}/approve", decision)
    assert (got.status, got.said["reason"]) == (403, "own-call")


async def test_a5_for_whoever_may_not_decide_the_call_does_not_exist(live: Whole):
    call = await live.held()
    assert (await live.api("eve", "GET", f"/v1/holds/{call}")).status == 404
    assert (await live.api("eve", "GET", "/v1/holds")).said["holds"] == []
    assert (await live.decide(call, person="eve")).status in {403, 404}


async def test_a6_no_agents_credential_opens_the_approvers_door_and_no_persons_the_agents_door(live: Whole):
    key, _ = await a_key(live)
    for credential in (live.token, key, _acting_for(live, "ann")):
        asked = (
            f"GET /v1/holds HTTP/1.1\r\nHost: {live.gate.approvers_url[7:]}\r\nAuthorization: Bearer {credential}\r\n"
        )
        answer = await live.raw(f"{asked}Connection: close\r\n\r\n".encode(), to=live.gate.approvers_url)
        assert answer[9:12] in {b"401", b"403"}
    got = await live.ask("/v1/charges", token=live.issuer.person_token("ann"))
    assert (got.status, got.said["reason"]) == (403, "not-an-agent")


# A7: at the same moment.


async def test_a7_of_approve_and_reject_at_once_one_wins_and_the_other_hears_it(live: Whole):
    for number in range(5):
        call = await live.held(25_000 + number)
        acts = [("approve", "ann"), ("reject", "ben"), ("approve", "ben"), ("withdraw", "ann")]
        got = await asyncio.gather(*(live.decide(call, act, person=person) for act, person in acts))
        *decided, withdrawn = (one.status for one in got)
        # Taking back what was approved and is not sent yet is nobody's loss; of the decisions one wins, or none.
        assert {200, 409}.issuperset((*decided, withdrawn))
        assert decided.count(200) <= 1
        assert 200 in (*decided, withdrawn)
        if withdrawn == 200:
            assert (await live.show(call))["state"] == "withdrawn"
            assert live.upstream.received == []
    assert live.findings() == []


LIMIT = """@id("a-day") forbid (principal is Agent, action == Action::"pay:refunds.create", resource)
when { context.recent.sumDay > 100000 };"""


async def test_a8_repeats_at_once_do_not_use_up_the_limit_of_the_call_they_repeat(tmp_path):
    async with whole(tmp_path, law=LAW + LIMIT) as live:
        got = await asyncio.gather(*(live.refund(60_000, "Prefer: respond-async") for _ in range(12)))
        assert [one.status for one in got] == [202] * 12
        assert len((await live.api("ann", "GET", "/v1/holds")).said["holds"]) == 1


async def test_a8_repeats_that_wait_for_one_call_are_counted_once_when_it_is_sent(tmp_path):
    async with whole(tmp_path, law=LAW + LIMIT, more={"holds": {"detached_after_s": 60}}) as live:
        call = await live.held(25_000)
        async with asyncio.TaskGroup() as group:
            repeats = []
            for attached in range(1, 7):
                repeats.append(group.create_task(live.refund(25_000)))
                await live.until_attached(call, attached)
            assert (await live.decide(call)).status == 200
        assert {one.result().status for one in repeats} == {200}
        assert len(live.upstream.received) == 1
        assert (await live.refund(75_001)).said["reason"] == "forbidden"
        assert (await live.refund(75_000, "Prefer: respond-async")).status == 202


# A8: the agent goes and comes back.


async def test_a8_an_agent_that_leaves_and_comes_back_finds_its_call_and_nothing_is_sent_twice(live: Whole):
    call = await live.held()
    async with asyncio.TaskGroup() as group:
        repeats = [group.create_task(live.refund(25_000)) for _ in range(5)]
        impatient = await live.refund(25_000, "Prefer: wait=0")
        assert (impatient.headers["assentry-call"], impatient.said["reason"]) == (call, "approval-pending")
        assert (await live.decide(call)).status == 200
    answers = [repeat.result() for repeat in repeats]
    assert {(one.status, one.headers["assentry-call"]) for one in answers} == {(200, call)}
    assert len(live.upstream.received) == 1


async def test_a8_an_idempotency_key_means_one_call_only(live: Whole):
    await live.held(25_000, "Idempotency-Key: k-2")
    got = await live.refund(9_000_000, "Idempotency-Key: k-2", "Prefer: respond-async")
    assert (got.status, got.said["reason"]) == (422, "idempotency-key-reused")
    # Another agent's key of the same text is another key.
    await live.held(9_000_000, "Idempotency-Key: k-2", token=live.issuer.agent_token("other"))


async def test_a8_nobody_elses_call_can_be_read_by_its_id(live: Whole):
    call = await live.held(token=_acting_for(live, "ann"))
    await _executed_by_ben(live, call)
    for token in (live.token, live.issuer.agent_token("other"), _acting_for(live, "ben")):
        got = await live.status(call, token=token)
        assert (got.status, got.said["reason"]) == (404, "no-such-hold")
    assert (await live.status(call, token=_acting_for(live, "ann"))).status == 200


# A9, A10: what people are shown.


async def test_a9_what_the_agent_says_is_marked_and_cannot_hide_or_dress_up(live: Whole):
    words = "Assentry-Reason: <b>safe</b> \u202eevil\u200b <!channel> [x](http://e)"
    brief = await live.show(await live.held(25_000, words))
    assert brief["sentence"].startswith("Refund 250.00 EUR of ch_1")
    (said,) = [line["text"] for line in brief["agent_words"] if line["label"] == "reason"]
    assert "\u202e" not in said
    assert "\u200b" not in said
    assert "<!channel>" in said  # text; how it is kept text is each channel's to show
    assert "safe" not in brief["sentence"]


async def test_a10_the_deciding_fields_are_shown_first_however_long_the_body_is(live: Whole):
    body = b"note=" + b"x" * 200_000 + b"&charge=ch_1&amount=9000000"
    got = await live.ask("/v1/refunds", f"Content-Type: {FORM}", "Prefer: respond-async", method="POST", body=body)
    brief = await live.show(got.headers["assentry-call"])
    assert brief["sentence"].startswith("Refund 90,000.00 EUR of ch_1")
    (amount,) = [line["text"] for line in brief["change"] if line["label"] == "amount"]
    assert "9000000" in amount
    assert brief["hidden_bytes"] > 100_000
    got = await live.decide(got.headers["assentry-call"])
    assert got.said["reason"] == "not-shown-whole"
    assert live.upstream.received == []


# A12: floods.


async def test_a12_an_agent_over_its_cap_is_told_so_on_record_and_others_are_not_hurt(tmp_path):
    async with whole(tmp_path, more={"holds": {"open_per_agent": 3}}) as live:
        for number in range(3):
            await live.held(20_000 + number)
        got = await live.refund(30_000, "Prefer: respond-async")
        assert (got.status, got.said["reason"]) == (429, "too-many-held")
        assert [line["reason"] for line in live.records(got.headers["assentry-call"])] == ["too-many-held"]
        await live.held(token=live.issuer.agent_token("other"))
        # A repeat takes no place of its own.
        await live.held(20_000)


# A13: on record.


async def test_a13_a_decision_is_on_record_with_who_how_and_what_was_shown(live: Whole):
    call = await live.held()
    shown = (await live.show(call))["shown"]
    await _executed(live, call)
    clicked = await live.until_recorded(call, "clicked")
    told = str(clicked)
    for fact in ("demo:ann", "api", shown, "looked at"):
        assert fact in told


# J11: a hold outlives its credential.


async def test_j11_an_agent_shut_out_while_its_call_is_held_gets_nothing_sent(live: Whole):
    call = await live.held()
    denial = {"kind": "subject", "value": "demo:bot", "reason": "stolen"}
    assert (await live.api("olga", "POST", "/v1/denials", denial)).status == 200
    assert (await live.decide(call)).status == 200
    await live.until(call, "rejected")
    assert (await live.ask("/v1/charges")).said["reason"] == "identity-revoked"
    assert live.upstream.received == []


async def test_j11_a_key_revoked_while_its_call_is_held_gets_nothing_sent(live: Whole):
    key, key_id = await a_key(live)
    call = await live.held(token=key)
    assert await live.gate.agent_keys.revoke(key_id)
    assert (await live.decide(call)).status == 200
    await live.until(call, "rejected")
    assert (await live.show(call))["outcome"].startswith("identity-revoked")
    assert live.upstream.received == []


async def test_j9_what_the_upstream_says_of_our_credential_reaches_no_agent_no_replay_and_no_ledger(live: Whole):
    echo = ("x-echo", "Bearer sk-the-gates-own-9d1f")
    live.upstream.default = reply(200, b"ok", echo, ("set-cookie", "session=1"))
    allowed = await live.ask("/v1/charges")
    call = await live.held()
    await _executed(live, call)
    replayed = await live.status(call)
    for got in (allowed, replayed):
        assert got.headers["x-echo"] == "[redacted]"
        assert "set-cookie" not in got.headers
    assert "sk-the-gates-own" not in str(live.records())
    for one in live.upstream.received:
        assert one.header("authorization") == "Bearer sk-the-gates-own-9d1f"
        assert live.token.encode() not in one.raw


def _acting_for(live: Whole, person: str) -> str:
    return live.issuer.agent_token("bot", sub=person, act={"sub": "bot"})


async def _executed_by_ben(live: Whole, call: str) -> None:
    shown = (await live.api("ben", "GET", f"/v1/holds/{call}")).said
    decision = {"fingerprint": shown["fingerprint"], "shown": shown["shown"], "reason": "ok"}
    assert (await live.api("ben", "POST", f"/v1/holds/{call}/approve", decision)).status == 200
    await live.until(call, "executed")
