"""Every call of the corpora down both paths: what the client, the upstream, the ledger and Prometheus see is the same.

Each is sent several times over one connection and once over another, so that it is also sent when it is remembered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.fakes.upstream import Answer, chunked, drop, flood, raw, reply, reset, until_close
from tests.hostile.corpus import CLEAN_TARGETS, TARGETS
from tests.hostile.pair import DATED, Case, Pair, pair
from tests.hostile.test_whole_gate import _hostile
from tests.hostile.whole import CREDENTIAL, FORM

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = "application/json"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gates(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    holds = {"respond_async": True, "detached_after_s": 0, "open_per_agent": 10_000, "open_total": 10_000}
    more = {"limits": {"body_bytes": 1_000_000}, "holds": holds}
    async with pair(tmp_path_factory.mktemp("pair"), more=more, headers=("x-kept",)) as running:
        yield running


def sent(
    gates: Pair,
    target: str = "/v1/charges/ch_1",
    *lines: str,
    method: str = "GET",
    body: bytes = b"",
    token: str | None = None,
    version: str = "1.1",
) -> bytes:
    """A call as it is written; lines may say its length otherwise, or who calls."""
    said = "\r\n".join(lines).lower()
    own = [] if "authorization:" in said or token == "" else [f"Authorization: Bearer {token or gates.token}"]
    own += [] if "host:" in said else ["Host: localhost"]
    framed = "content-length:" in said or "transfer-encoding:" in said
    own += [f"Content-Length: {len(body)}"] if body and not framed else []
    return "\r\n".join([f"{method} /pay{target} HTTP/{version}", *own, *lines, "", ""]).encode("latin-1") + body


def refund(gates: Pair, amount: object = 100, *lines: str) -> bytes:
    body = f"charge=ch_1&amount={amount}".encode()
    return sent(gates, "/v1/refunds", f"Content-Type: {FORM}", *lines, method="POST", body=body)


async def test_hostile_requests_come_to_the_same(gates: Pair) -> None:
    cases = [Case(name=name, pieces=(raw_bytes,)) for name, raw_bytes in _hostile(gates.token).items()]
    assert await gates.differences(cases) == []


async def test_targets_come_to_the_same(gates: Pair) -> None:
    targets = [target.replace("/api", "", 1) for target in (*TARGETS, *CLEAN_TARGETS)]
    cases = [
        Case(name=f"{method} {target}", pieces=(sent(gates, target, method=method),), methods=(method,))
        for target in targets
        for method in ("GET", "POST")
    ]
    assert await gates.differences(cases) == []


CALLS: dict[str, tuple[str, str, tuple[str, ...], bytes]] = {
    "a list": ("GET", "/v1/charges", (), b""),
    "a list with a query": ("GET", "/v1/charges?limit=3&email=ann@corp.example&api_key=sk_live_12345678", (), b""),
    "a read": ("GET", "/v1/charges/ch_1", ("Accept: application/json", "User-Agent: sdk/1"), b""),
    "a read with a body": ("GET", "/v1/charges/ch_1", (), b"{}"),
    "a head": ("HEAD", "/v1/charges/ch_1", (), b""),
    "options": ("OPTIONS", "/v1/charges", (), b""),
    "a delete": ("DELETE", "/v1/charges/ch_1", (), b""),
    "a delete with a body": ("DELETE", "/v1/charges/ch_1", (f"Content-Type: {JSON}",), b'{"a":1}'),
    "unknown": ("GET", "/v1/nothing/such", (), b""),
    "unknown by put": ("PUT", "/v1/charges/ch_1", (f"Content-Type: {JSON}",), b'{"note":"x"}'),
    "unknown by patch": ("PATCH", "/v1/x", (), b"x" * 100),
    "a body of every byte": ("POST", "/v1/x", (), bytes(range(256))),
    "a small refund": ("POST", "/v1/refunds", (f"Content-Type: {FORM}",), b"charge=ch_1&amount=100"),
    "a held refund": ("POST", "/v1/refunds", (f"Content-Type: {FORM}", "Prefer: respond-async"), b"amount=99999"),
    "a refund without amount": ("POST", "/v1/refunds", (f"Content-Type: {FORM}", "Prefer: respond-async"), b"a=b"),
    "a refund in json": ("POST", "/v1/refunds", (f"Content-Type: {JSON}",), b'{"charge":"ch_1","amount":100}'),
    "broken json": ("POST", "/v1/refunds", (f"Content-Type: {JSON}",), b'{"amount":'),
    "an amount twice": ("POST", "/v1/refunds", (f"Content-Type: {FORM}",), b"amount=1&amount=2"),
    "a payout": ("POST", "/v1/payouts", (), b""),
    "asynchronous, but allowed": ("GET", "/v1/charges", ("Prefer: respond-async",), b""),
    "with a key": ("POST", "/v1/refunds", (f"Content-Type: {FORM}", "Idempotency-Key: k1"), b"charge=ch_1&amount=5"),
    "with a long key": ("GET", "/v1/charges", ("Idempotency-Key: " + "k" * 300,), b""),
    "with words": ("GET", "/v1/charges", ("Assentry-Reason: d\xc3\xb6ner sk_live_123456789", "Assentry-Task: t"), b""),
    "with received_at in it": ("POST", "/v1/x", ('Assentry-Reason: "received_at":1', f"Content-Type: {JSON}"), b"{}"),
    "with a call's id in it": ("GET", "/v1/charges", ("Assentry-Reason: call_01ARZ3NDEKTSV4RRFFQ69G5FAV",), b""),
    "with a header let through": ("GET", "/v1/charges", ("X-Kept: yes", "X-Left: no"), b""),
    "with a trace": ("GET", "/v1/charges", (f"traceparent: 00-{'a' * 32}-{'b' * 16}-01",), b""),
    "with cookies": ("GET", "/v1/charges", ("Cookie: a=b", "TE: trailers", "Via: 1.1 x", "Expect:"), b""),
    "one header twice": ("GET", "/v1/charges", ("Accept: a/b", "Accept: c/d"), b""),
    "a header twice that comes once": ("GET", "/v1/charges", ("User-Agent: a", "User-Agent: b"), b""),
    "another": ("GET", "/v1/charges", ("Max-Forwards: 1", "Max-Forwards: 1"), b""),
    "one twice and nominated": (
        "GET", "/v1/charges", ("Connection: keep-alive, User-Agent", "User-Agent: a", "User-Agent: b"), b"",
    ),
    "an old websocket": ("GET", "/v1/charges", ("Sec-WebSocket-Key1: x",), b""),
    "nominated": ("GET", "/v1/charges", ("Connection: keep-alive, Accept", "Accept: a/b"), b""),
    "to be closed": ("GET", "/v1/charges", ("Connection: close",), b""),
    "to be kept": ("GET", "/v1/charges", ("Connection: keep-alive",), b""),
    "expected": ("POST", "/v1/x", ("Expect: 100-continue",), b"hello"),
    "in chunks": ("POST", "/v1/x", ("Transfer-Encoding: chunked",), b"5\r\nhello\r\n0\r\n\r\n"),
    "host in capitals": ("GET", "/v1/charges", ("Host: LOCALHOST",), b""),
    "host with a port": ("GET", "/v1/charges", ("Host: localhost:8400",), b""),
    "another host": ("GET", "/v1/charges", ("Host: evil.example",), b""),
    "forwarded": ("GET", "/v1/charges", ("X-Forwarded-For: 10.0.0.1",), b""),
    "an empty header": ("GET", "/v1/charges", ("X-Kept:", "Accept: "), b""),
    "white space": ("GET", "/v1/charges", ("X-Kept: \t a b \t ",), b""),
    "100 headers": ("GET", "/v1/charges", tuple(f"A{number}: b" for number in range(98)), b""),
    "101 headers": ("GET", "/v1/charges", tuple(f"A{number}: b" for number in range(99)), b""),
    "a head of 32 KiB": ("GET", "/v1/charges", ("A: " + "b" * 31_000,), b""),
    "a head over 32 KiB": ("GET", "/v1/charges", ("A: " + "b" * 33_000,), b""),
    "a target of 8 KiB": ("GET", "/v1/charges?a=" + "b" * (8192 - 19), (), b""),
    "a target over 8 KiB": ("GET", "/v1/charges?a=" + "b" * (8193 - 18), (), b""),
    "below what is remembered": ("POST", "/v1/x", (), b"x" * 3000),
    "above what is remembered": ("POST", "/v1/x", (), b"x" * 5000),
    "of 64 KiB": ("POST", "/v1/x", (), b"x" * 65_536),
    "of 300 KiB": ("POST", "/v1/x", (), b"x" * 300_000),
    "above the limit": ("POST", "/v1/x", (), b"x" * 1_100_000),
    "another upstream": ("GET", "/../v1/charges", (), b""),
}  # fmt: skip


def _call(gates: Pair, name: str) -> Case:
    method, target, lines, body = CALLS[name]
    return Case(name=name, pieces=(sent(gates, target, *lines, method=method, body=body),), methods=(method,))


async def test_calls_of_every_kind_come_to_the_same(gates: Pair) -> None:
    assert await gates.differences(_call(gates, name) for name in CALLS) == []


async def test_the_usual_calls_were_taken_at_once_and_then_remembered(gates: Pair) -> None:
    for name in ("a list", "a read", "a delete", "a small refund", "a refund in json"):
        taken, prepared = gates.fast.taken, gates.fast.prepared
        # Unlike any that went before.
        method, target, lines, body = CALLS[name]
        call = sent(gates, target, *lines, "X-New: 1", method=method, body=body)
        assert await gates.differences([Case(name=name, pieces=(call,), methods=(method,))]) == []
        assert (gates.fast.taken - taken, gates.fast.prepared - prepared) == (4, 2), name  # Kept when it came again.


async def test_tokens_come_to_the_same(gates: Pair) -> None:
    issuer = gates.fast.live.issuer
    other, reader = issuer.agent_token("other"), issuer.person_token("ann")
    header, payload, signature = gates.token.split(".")
    told: dict[str, tuple[str, ...]] = {
        "none": ("X: y",),
        "empty": ("Authorization:",),
        "another agent's": (f"Authorization: Bearer {other}",),
        "a person's": (f"Authorization: Bearer {reader}",),
        "small letters": (f"authorization: bearer {gates.token}",),
        "two spaces": (f"Authorization: Bearer  {gates.token}",),
        "in another header": ("Authorization:", f"X-Api-Key: {gates.token}"),
        "as basic": (f"Authorization: Basic {gates.token}",),
        "twice": (f"Authorization: Bearer {gates.token}", f"Authorization: Bearer {gates.token}"),
        "of two kinds": (f"Authorization: Bearer {gates.token}", "X-Api-Key: b"),
        "another signature": (f"Authorization: Bearer {header}.{payload}.{signature[:-4]}AAAA",),
        "another payload": (f"Authorization: Bearer {header}.{payload[:-4]}AAAA.{signature}",),
        "a byte more": (f"Authorization: Bearer {gates.token}A",),
        "cut": (f"Authorization: Bearer {gates.token[:-1]}",),
        "no token": ("Authorization: Bearer x",),
        "an unknown key": (f"Authorization: Bearer ask_{'a' * 12}_{'b' * 43}",),
        "of 10 KiB": ("Authorization: Bearer " + "a" * 10_000,),
        "nominated": ("Connection: Authorization", f"Authorization: Bearer {gates.token}"),
    }
    cases = [
        Case(name=name, pieces=(sent(gates, "/v1/charges", *lines, token="" if name == "none" else None),))
        for name, lines in told.items()
    ]
    assert await gates.differences(cases) == []


# How the bytes of a call may come.


async def test_calls_that_come_in_two_pieces_come_to_the_same(gates: Pair) -> None:
    call = sent(gates, "/v1/refunds?a=b", f"Content-Type: {FORM}", method="POST", body=b"charge=ch_1&amount=100")
    edges = {at for edge in (b"\r", b"\n", b":", b" ", b"=") for at in _behind(call, edge)} | {1, len(call) - 1}
    cases = [Case(name=f"cut at {at}", pieces=(call[:at], call[at:]), rounds=2) for at in sorted(edges)]
    assert await gates.differences(cases) == []


async def test_calls_that_come_together_come_to_the_same(gates: Pair) -> None:
    read, write, held = sent(gates), refund(gates), refund(gates, 99_999)
    last = sent(gates, "/v1/charges", "Connection: close")
    denied, wrong = sent(gates, "/v1/payouts", method="POST"), sent(gates, "/v1//charges")
    together: dict[str, tuple[tuple[bytes, ...], int]] = {
        "two in one": ((read + write,), 2),
        "two, one after the other": ((read, write), 2),
        "nine in one": ((read * 9,), 9),
        "forty in one": ((write * 40,), 40),
        "one and a half": ((read + write[:50], write[50:]), 2),
        "half a body behind one": ((read + write[:-3], write[-3:]), 2),
        "a held one first": ((held + read,), 2),
        "a held one second": ((read + held,), 2),
        "a denied one between": ((read + denied + write,), 3),
        "a wrong one second": ((read + wrong + write,), 3),
        "a wrong one first": ((wrong + read,), 2),
        "nonsense behind": ((read + b"\r\n",), 2),
        "a byte behind": ((read + b"G", read[1:]), 2),
        "the last one first": ((last + read,), 2),
        "the last one second": ((read + last,), 2),
        "two hostile ends": ((read + write + b"\0",), 3),
    }
    cases = [Case(name=name, pieces=pieces, methods=("GET",) * many) for name, (pieces, many) in together.items()]
    assert await gates.differences(cases) == []


async def test_calls_of_http_1_0_come_to_the_same(gates: Pair) -> None:
    ten = sent(gates, version="1.0")
    kept = sent(gates, "/v1/charges", "Connection: keep-alive", version="1.0")
    body = sent(gates, "/v1/refunds", f"Content-Type: {FORM}", method="POST", body=b"charge=a&amount=1", version="1.0")
    cases = [
        Case(name=f"{name}, {kind}", pieces=(call,), answer=ANSWERS[kind])
        for name, call in {"plain": ten, "kept": kept, "a body": body}.items()
        for kind in ("usual", "in chunks", "until it closes", "undated", "nothing")
    ]
    assert await gates.differences(cases) == []


def _behind(text: bytes, edge: bytes) -> list[int]:
    return [at + 1 for at in range(len(text)) if text[at : at + 1] == edge]


# What upstreams may say.

HEAD = b"HTTP/1.1 200 OK\r\ndate: Tue, 01 Jul 2025 10:00:00 GMT\r\n"
USUAL = HEAD + b"content-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
CHUNKS = HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\n\r\n"

ANSWERS: dict[str, Answer] = {
    "usual": raw(USUAL),
    "undated": reply(200, b"hello"),
    **{f"{status}": reply(status, b'{"said":true}', DATED) for status in (201, 203, 206, 299, 301, 307, 400, 401, 404)},
    **{f"{status} ": reply(status, b"no", DATED) for status in (402, 409, 418, 422, 429, 499, 500, 503, 504, 599)},
    "nothing": raw(HEAD + b"content-length: 0\r\n\r\n"),
    "204": raw(b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n"),
    "204 with a length": raw(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"),
    "204 with a length and a date": raw(b"HTTP/1.1 204 No Content\r\ndate: x\r\ncontent-length: 0\r\n\r\n"),
    "304 with a date": raw(b"HTTP/1.1 304 Not Modified\r\ndate: x\r\ncontent-length: 0\r\n\r\n"),
    "204 with a body": raw(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello"),
    "304": raw(b"HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 5\r\n\r\n"),
    "205": raw(b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\ndate: x\r\n\r\n"),
    "600": reply(600, b"x", DATED),
    "999": reply(999, b"x", DATED),
    "101": raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
    "100 first": raw(b"HTTP/1.1 100 Continue\r\n\r\n" + USUAL),
    "103 first, apart": raw(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", USUAL),
    "in chunks": chunked(b"hello", b"you"),
    "in chunks, at once": raw(CHUNKS),
    "with trailers": chunked(b"hello", trailers=b"x: y\r\n"),
    "in empty chunks": chunked(),
    "chunks that are none": raw(HEAD + b"transfer-encoding: chunked\r\n\r\nhello"),
    "until it closes": until_close(b"hello"),
    "until it closes, nothing": until_close(b""),
    "http/1.0": raw(b"HTTP/1.0 200 OK\r\ndate: x\r\n\r\nhello", close=True),
    "http/1.0 with a length": raw(b"HTTP/1.0 200 OK\r\ndate: x\r\ncontent-length: 5\r\n\r\nhello"),
    "to be closed": raw(HEAD + b"connection: close\r\ncontent-length: 5\r\n\r\nhello"),
    "closed all the same": raw(USUAL, close=True),
    "head and body apart": raw(USUAL[:-5], USUAL[-5:]),
    "a body in pieces": raw(USUAL[:-5], *(b"%c" % byte for byte in b"hello")),
    "a head in pieces": raw(*(USUAL[at : at + 9] for at in range(0, len(USUAL), 9))),
    "shorter than said": raw(HEAD + b"content-length: 9\r\n\r\nhello", close=True),
    "longer than said": raw(HEAD + b"content-length: 2\r\n\r\nhello"),
    "two at once": raw(USUAL + USUAL),
    "two lengths": raw(HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
    "a length that is none": raw(HEAD + b"content-length: +5\r\n\r\nhello"),
    "a length and chunks": raw(HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "neither length nor end": raw(HEAD + b"\r\nhello"),
    "no head": raw(b"hello\r\n\r\n"),
    "bare lf": raw(USUAL.replace(b"\r\n", b"\n")),
    "a nul in a header": raw(HEAD + b"x: a\0b\r\ncontent-length: 5\r\n\r\nhello"),
    "folded": raw(HEAD + b"x: a\r\n b\r\ncontent-length: 5\r\n\r\nhello"),
    "hop by hop": reply(200, b"x", DATED, ("connection", "x-hop, keep-alive"), ("x-hop", "1"), ("keep-alive", "a")),
    "nominating its length": reply(200, b"x", DATED, ("connection", "content-length, date")),
    "our own headers": reply(200, b"x", DATED, ("assentry-call", "call_01ARZ3NDEKTSV4RRFFQ69G5FAV"), ("Via", "x")),
    "our own date": raw(b"HTTP/1.1 200 OK\r\nDate: Mon, 30 Jun 2025 10:00:00 GMT\r\ncontent-length: 1\r\n\r\nx"),
    "two dates": reply(200, b"x", DATED, DATED),
    "cookies": reply(200, b"x", DATED, ("set-cookie", "a=b"), ("alt-svc", "h2"), ("x-a", "1"), ("X-A", "2")),
    "our credential": reply(200, b"x", DATED, ("x-echo", f"Bearer {CREDENTIAL}"), ("location", f"/?k={CREDENTIAL}")),
    "our credential's name": reply(200, b"x", DATED, (f"x-{CREDENTIAL}", "1")),
    "bytes beyond ascii": reply(200, b"x", DATED, ("x-name", "caf\xe9"), ("x-\xe9", "1")),
    "an odd phrase": raw(b"HTTP/1.1 200 \r\ndate: x\r\ncontent-length: 1\r\n\r\nx"),
    "a head of 3 KiB": reply(200, b"x", DATED, ("x-long", "y" * 3000)),
    "a head of 60 KiB": reply(200, b"x", DATED, ("x-long", "y" * 60_000)),
    "a head of 70 KiB": reply(200, b"x", DATED, ("x-long", "y" * 70_000)),
    "201 headers": reply(200, b"x", *((f"x-{number}", "y") for number in range(201))),
    "of 40 KiB": reply(200, b"x" * 40_000, DATED),
    "of 200 KiB": reply(200, b"x" * 200_000, DATED),
    "of 1 MiB": flood(1 << 20),
    "nothing, and closed": drop(),
    "reset": reset(),
    "reset behind its head": reset(USUAL[:-5]),
    "reset behind it": reset(USUAL),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST"])
async def test_answers_of_every_kind_come_to_the_same(gates: Pair, method: str) -> None:
    call = refund(gates) if method == "POST" else sent(gates, "/v1/charges/ch_1", method=method)
    cases = [
        Case(name=f"{method}, answered {name}", pieces=(call,), methods=(method,), answer=answer)
        for name, answer in ANSWERS.items()
    ]
    assert await gates.differences(cases) == []


@pytest.mark.parametrize("answer", [USUAL, CHUNKS], ids=["counted", "in chunks"])
async def test_answers_that_break_off_at_every_point_come_to_the_same(gates: Pair, answer: bytes) -> None:
    cases = [
        Case(name=f"cut at {at}", pieces=(sent(gates),), answer=raw(answer[:at], close=True), rounds=1)
        for at in range(len(answer))
    ]
    assert await gates.differences(cases) == []


@pytest.mark.parametrize("answer", [USUAL, CHUNKS], ids=["counted", "in chunks"])
async def test_answers_that_come_in_two_pieces_come_to_the_same(gates: Pair, answer: bytes) -> None:
    cases = [
        Case(name=f"in two at {at}", pieces=(sent(gates),), answer=raw(answer[:at], answer[at:]), rounds=2)
        for at in range(1, len(answer), 3)
    ]
    assert await gates.differences(cases) == []


# Calls that nobody has thought of.

NAMES = st.sampled_from([
    "Accept", "accept", "User-Agent", "Max-Forwards", "ETag", "Server", "Content-Location", "Content-Range", "X-Kept",
    "Connection", "Keep-Alive", "Expect", "TE", "Upgrade", "Transfer-Encoding", "Content-Type",
    "Content-Encoding", "Prefer", "Idempotency-Key", "X-HTTP-Method-Override", "Sec-WebSocket-Key1", "Cookie", "Host",
    "Sec-WebSocket-Key", "HTTP2-Settings", "Trailer", "Origin", "Range", "If-Match", "X-Forwarded-For", "Assentry-Task",
])  # fmt: skip
VALUES = st.sampled_from([
    "", "a", "a, b", "close", "keep-alive", "keep-alive, accept", "0", "5", "05", "100-continue", "chunked", "identity",
    "respond-async", "wait=5", "application/json", "multipart/form-data; boundary=x", "localhost", "bytes=0-1", "\t",
    "upgrade", "h2c", "websocket", "\xe9", '"', "10.0.0.1", "a" * 200,
])  # fmt: skip
TARGETED = st.sampled_from([
    "/v1/charges", "/v1/charges/ch_1", "/v1/charges/", "/v1/refunds", "/v1/payouts", "", "/", "/v1/charges?", "/x?a=b",
    "/v1/charges/%20", "/v1/charges/a:b", "/v1/charges/a;b", "/v1/charges?a=[b]{c}", "/v1/charges/.a", "/v1/charges/a.",
])  # fmt: skip
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
BODIES = st.sampled_from([b"", b"hello", b"{}", b'{"amount":1}', b"amount=1&charge=x", CHUNKED])


@profile(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]),
    target=TARGETED,
    lines=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    body=BODIES,
    announced=st.sampled_from([True, True, True, False]),
    cut=st.integers(0, 400),
    answered=st.sampled_from(sorted(ANSWERS)),
)
async def test_calls_nobody_thought_of_come_to_the_same(
    gates: Pair,
    method: str,
    target: str,
    lines: list[tuple[str, str]],
    body: bytes,
    announced: bool,
    cut: int,
    answered: str,
) -> None:
    if ("Transfer-Encoding", "chunked") in lines:
        body = CHUNKED  # Without, it would be waited for.
    own = (f"Content-Length: {len(body)}",) if announced and body else ()
    fields = (*(f"{name}: {value}" for name, value in lines), *own)
    call = sent(gates, target, *fields, method=method) + body
    pieces = (call[:cut], call[cut:]) if 0 < cut < len(call) and cut % 2 else (call,)
    case = Case(name="generated", pieces=pieces, methods=(method,), answer=ANSWERS[answered], rounds=2)
    assert await gates.differences([case]) == []
