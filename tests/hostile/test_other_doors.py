"""Hostile bytes at the approvers' and the operators' doors: never a failure, never an echo, never a decision."""

from __future__ import annotations

import logging

import aiohttp
import pytest

from tests.hostile.corpus import ALL
from tests.hostile.whole import Whole, whole

CANARY = "c4n4ry-of-a-person"

DOCUMENTS = (
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"fingerprint":1}',
        b'{"fingerprint":"\\ud800"}',
        b"\xff",
        b"[" * 60_000,
        b"9" * 9000,
    ),
    b'{"fingerprint":"' + b"a" * 64 + b'","reason":"\\u0000\\ud83d"}',
)
TYPES = (
    *(b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/x; boundary=" + b"a" * 500, b"\xff/\xff"),
    *(b";", b"application/json; charset=nonsense", b"application/x-www-form-urlencoded; charset=utf-7"),
)
PATHS = (
    *("/v1/holds/%ff", "/v1/holds/%00", "/v1/holds/" + "a" * 5000, "/v1/holds/}x{", "/v1/holds/..%2f..", "/%ff", "//"),
    *("/holds/%0d%0aX:y", "/v1/holds?state=%ff", "/v1/holds?state=open&state=settled", "/sign-in?to=//e.example"),
    *("/sign-in?to=%0d%0aX:y", "/static/..%2fpages.py", "/v1/denials/x/y", "/v1/ledger/stream"),
)


@pytest.fixture
async def live(tmp_path):
    async with whole(tmp_path) as running:
        yield running


def _asked(live: Whole, line: str, *lines: bytes, body: bytes = b"", token: str = "") -> bytes:
    bearer = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"{line} HTTP/1.1\r\nHost: {live.gate.approvers_url[7:]}\r\nConnection: close\r\n{bearer}".encode()
    return head + b"".join(one + b"\r\n" for one in lines) + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _odd(live: Whole) -> dict[str, bytes]:
    """Well-framed requests with something odd in them, some of a person who may decide."""
    ann = live.issuer.person_token("ann")
    call = "call_01M7YR1Z8AY64AW3CX5JJ7JGYA"
    form, json = b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: application/json"
    odd: dict[str, bytes] = {}
    for number, cookie in enumerate((b"\xff", b"\xc3\xa9", b'"\\351"', b"a" * 4000, b"", b"a\x80b", b"$Version=1")):
        for name in (b"assentry-session", b"assentry-signing-in", b"__Host-assentry-session"):
            sent = b"Cookie: " + name + b"=" + cookie
            odd[f"cookie {number} {name!r} at /"] = _asked(live, "GET /", sent)
            odd[f"cookie {number} {name!r} at /signed-in"] = _asked(live, "GET /signed-in?code=x&state=y", sent)
            odd[f"cookie {number} {name!r} with a form"] = _asked(live, f"POST /holds/{call}/approve", sent, form)
    for number, body in enumerate(DOCUMENTS):
        odd[f"document {number}"] = _asked(live, f"POST /v1/holds/{call}/approve", json, body=body, token=ann)
        olga = live.issuer.person_token("olga")
        odd[f"denial {number}"] = _asked(live, "POST /v1/denials", json, body=body, token=olga)
    for number, kind in enumerate(TYPES):
        sent = b"Content-Type: " + kind
        odd[f"type {number}"] = _asked(live, f"POST /v1/holds/{call}/approve", sent, body=b"--x\r\n", token=ann)
        odd[f"type {number} at the console"] = _asked(live, f"POST /holds/{call}/approve", sent, body=b"--x\r\n")
    for path in PATHS:
        for method in ("GET", "POST", "DELETE", "HEAD", "PURGE"):
            odd[f"{method} {path[:40]}"] = _asked(live, f"{method} {path}", token=live.issuer.person_token("eve"))
    odd["gzip"] = _asked(live, f"POST /v1/holds/{call}/approve", json, b"Content-Encoding: gzip", body=b"x", token=ann)
    return odd


async def test_odd_requests_at_the_approvers_door_are_never_failures_of_ours(live: Whole):
    failures = {}
    for name, raw in _odd(live).items():
        answer = await live.raw(raw, to=live.gate.approvers_url)
        status = answer[9:12].decode()
        if not status or status.startswith("5"):
            failures[name] = answer[:200]
    assert failures == {}


@pytest.mark.parametrize("door", ["approvers_url", "operators_url"])
async def test_malformed_requests_at_the_other_doors_are_refused_and_neither_echoed_nor_logged(
    live: Whole, caplog: pytest.LogCaptureFixture, door: str
):
    caplog.set_level(logging.DEBUG)
    url = getattr(live.gate, door)
    canary = f"\r\nAuthorization: Bearer {CANARY}\r\nX-Broken: {CANARY}\x01\r\n".encode()
    wrong = {}
    for name, (raw, _) in ALL.items():
        if b"\r\n" not in raw or b"Expect" in raw:
            continue
        answer = await live.raw(
            raw.replace(b"localhost", url[7:].encode()).replace(b"\r\n", canary, 1), to=url, then_close=True
        )
        if answer[9:10] == b"5" and answer[9:12] not in {b"501", b"505"}:
            wrong[name] = answer[:100]
        if CANARY.encode() in answer:
            wrong[name] = b"echo"
    assert wrong == {}
    assert CANARY not in caplog.text


async def test_a4_a_click_without_our_origin_session_or_form_token_decides_nothing(live: Whole):
    call = await live.held()
    shown = await live.show(call)
    url = f"{live.gate.approvers_url}/holds/{call}/approve"
    form = {"fingerprint": shown["fingerprint"], "shown": shown["shown"], "form_token": "guessed"}
    async with aiohttp.ClientSession() as browser:
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}, {"Origin": "null"}):
            async with browser.post(url, data=form, headers=headers, allow_redirects=False) as answer:
                assert answer.status in {303, 401, 403}
        async with browser.get(url, allow_redirects=False) as answer:
            assert answer.status in {303, 404, 405}
    assert (await live.show(call))["state"] == "pending"
    assert live.upstream.received == []


async def test_a4_pages_cannot_be_framed_and_other_origins_read_nothing(live: Whole):
    answer = await live.raw(_asked(live, "GET /"), to=live.gate.approvers_url)
    head = answer.partition(b"\r\n\r\n")[0].lower()
    for header in (b"frame-ancestors 'none'", b"x-frame-options: deny", b"nosniff", b"no-store"):
        assert header in head
    assert b"access-control-allow-origin" not in head


async def test_another_host_name_reaches_nothing_at_the_approvers_door(live: Whole):
    for host in (b"evil.example", b"", b"localhost", b"127.0.0.1.evil.example"):
        raw = b"GET /v1/me HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        assert (await live.raw(raw, to=live.gate.approvers_url))[9:12] in {b"400", b"421"}
