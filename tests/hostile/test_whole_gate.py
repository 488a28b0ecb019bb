"""Hostile bytes at the gate as it runs: afterwards nothing was sent, each refusal is on record, the ledger verifies."""

from __future__ import annotations

import logging
from hashlib import sha256
from itertools import chain

import pytest

from tests.fakes.upstream import raw as answers
from tests.hostile.corpus import ALL, CLEAN_TARGETS, TARGETS
from tests.hostile.whole import CREDENTIAL, Whole, whole

CANARY = "c4n4ry-in-a-header"


@pytest.fixture
async def live(tmp_path):
    async with whole(tmp_path) as running:
        yield running


def _hostile(token: str) -> dict[str, bytes]:
    """The corpus as a caller with a good token sends it, each with a canary, and a call behind it."""
    behind = f"GET /pay/v1/charges HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    canary = f"\r\nX-Canary: {CANARY}\r\n".encode()
    known = {name: raw.replace(b"/api/x", b"/pay/v1/charges", 1) for name, (raw, _) in ALL.items()}
    bearer = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    targets = {
        f"target {target}": f"GET {target.replace('api', 'pay', 1)} HTTP/1.1\r\n{bearer}".encode("latin-1")
        for target in TARGETS
    }
    return {name: raw.replace(b"\r\n", canary, 1) + behind for name, raw in chain(known.items(), targets.items())}


async def test_no_hostile_request_reaches_an_upstream_or_breaks_the_gate_and_each_refusal_is_on_record(
    live: Whole, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    statuses, echoes = {}, []
    hostile = _hostile(live.token)
    for name, raw in hostile.items():
        answer = await live.raw(raw)
        statuses[name] = int(answer[9:12]) if answer else 0
        echoes += [name for secret in (CANARY, live.token, CREDENTIAL) if secret.encode() in answer]
    assert {
        name: status for name, status in statuses.items() if not 400 <= status < 500 and status not in (501, 505)
    } == {}
    assert live.upstream.received == []
    assert echoes == []
    refused = [line for line in live.records() if line["kind"] == "refused"]
    assert len(refused) == len(hostile)
    assert live.findings() == []
    written = b"".join(path.read_bytes() for path in live.ledger.rglob("*") if path.is_file()).decode("latin-1")
    for secret in (CANARY, live.token, CREDENTIAL):
        assert secret not in caplog.text
        assert secret not in written


async def test_after_the_hostile_ones_an_honest_call_is_served(live: Whole):
    for raw in list(_hostile(live.token).values())[::10]:
        await live.raw(raw)
    assert (await live.ask("/v1/charges")).status == 200


async def test_p2_judged_fingerprinted_shown_and_sent_are_the_same_bytes(live: Whole):
    held = {}
    lines = ("Content-Type: application/x-www-form-urlencoded", "Prefer: respond-async")
    for number, target in enumerate(CLEAN_TARGETS):
        below = target.removeprefix("/api")
        got = await live.ask(below, *lines, method="POST", body=b"charge=ch_1&note=%d" % number)
        assert got.status == 202, target
        meant = below if below.startswith("/") else f"/{below}"
        held[got.headers["assentry-call"]] = (meant, b"charge=ch_1&note=%d" % number)
    briefs = {call: await live.show(call) for call in held}
    for call in held:
        assert (await live.decide(call)).status == 200
    await live.upstream.until_received(len(held))
    sent = {one.body: one for one in live.upstream.received}
    for call, (target, body) in held.items():
        judged = next(line for line in live.records(call) if line["kind"] == "held")
        assert briefs[call]["target"] == f"POST {target}"
        assert briefs[call]["body"] == body.decode()
        assert briefs[call]["fingerprint"] == judged["fingerprint"]
        assert judged["target"]["path"] == target.partition("?")[0]
        assert judged["body"]["sha256"] == briefs[call]["body_sha256"] == sha256(body).hexdigest()
        assert (sent[body].method, sent[body].target) == ("POST", f"/base{target}")


async def test_p4_a_head_is_judged_as_the_get_it_is_and_sent_as_the_head_it_is(live: Whole):
    got = await live.ask("/v1/charges/ch_1", method="HEAD")
    assert got.status == 200
    assert [one.method for one in live.upstream.received] == ["HEAD"]
    judged = await live.until_recorded(got.headers["assentry-call"], "judged")
    assert judged["operation"] == "pay:charges.read"


@pytest.mark.parametrize("target", ["/v1/Refunds", "/V1/refunds", "/v1/refunds/", "/v1/refunds/x", "/v1/refunds~"])
async def test_p1_another_spelling_of_a_protected_path_is_held_whoever_granted_what(live: Whole, target: str):
    got = await live.ask(target, "Prefer: respond-async", method="POST", body=b"amount=1")
    assert got.status == 202
    assert live.upstream.received == []
    (held,) = [line for line in live.records(got.headers["assentry-call"]) if line["kind"] == "held"]
    assert held["operation"] == "pay:unknown"


async def test_a_body_less_answer_is_concluded_on_the_ledger(live: Whole):
    live.upstream.script(answers(b"HTTP/1.1 204 No Content\r\n\r\n"))
    got = await live.ask("/v1/charges/ch_1", method="DELETE")
    assert got.status == 204
    concluded = await live.until_recorded(got.headers["assentry-call"], "concluded")
    assert (concluded["reason"], concluded["upstream_status"]) == ("executed", 204)
