"""Upstreams that misbehave, and calls that reach where they may not: rows F5, F11, F12, E1 and J9 of the threats.

Everything goes out as it does in the gate: credential attached, written once, answer filtered.
"""

from __future__ import annotations

import asyncio
import logging
import select
import traceback
from collections.abc import AsyncIterator

import pytest

from config.settings import Upstream
from policy.call import Call, Target
from policy.reasons import Reason
from proxy.upstream.credentials import Credentials
from proxy.upstream.forward import travelling
from proxy.upstream.pool import BrokeOff, NotSent, Outgoing, UpstreamPool
from proxy.upstream.sender import Sender
from tests.fakes.upstream import Answer, FakeUpstream, chunked, drop, held, raw, reply, reset, then, upstream
from tests.fakes.values import a_call

KEY = "sk_live_canary_27b1"
AGENTS_TOKEN = "eyJ.agent-canary.sig"
PATH, BODY = "/v1/canary-path-83c0", b"canary-body-55de"
OK = b"HTTP/1.1 200 OK\r\n"
STOLEN = OK + b"content-length: 6\r\n\r\nstolen"


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    async with upstream() as running:
        yield running


@pytest.fixture
async def sender(fake: FakeUpstream) -> AsyncIterator[Sender]:
    """Sends to the fake on one connection, so that a leftover could only hit the next call."""
    settings = Upstream.model_validate({
        "name": "stripe", "url": fake.url, "private_networks": True, "connections": 1, "first_byte_timeout_s": 2,
        "credential": {"kind": "bearer", "token": KEY},
    })  # fmt: skip
    running = Sender({"stripe": settings}, credentials=Credentials())
    yield running
    await running.close()


def call(method: str = "GET", path: str = "/v1/x", **changes: object) -> Call:
    return a_call(target=Target(method=method, path=path), headers=(), **changes)


async def body_of(sender: Sender, sent: Call, body: bytes = b"") -> bytes:
    return b"".join([chunk async for chunk in (await sender.send(sent, body)).chunks()])


# F12: the next caller never sees stray bytes.

STRAY: dict[str, Answer] = {
    "two answers at once": raw(OK + b"content-length: 2\r\n\r\n{}" + STOLEN),
    "two answers, one after the other": raw(OK + b"content-length: 2\r\n\r\n{}", STOLEN),
    "a body to HEAD": raw(OK + b"content-length: 2\r\n\r\n{}"),
    "an answer behind the last chunk": raw(OK + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + STOLEN),
    "a body to 204": raw(b"HTTP/1.1 204 No Content\r\ncontent-length: 40\r\n\r\n" + STOLEN),
    "a body to 304": raw(b"HTTP/1.1 304 Not Modified\r\n\r\n" + STOLEN),
    "an answer behind an empty one": raw(OK + b"content-length: 0\r\n\r\n" + STOLEN),
    "half an answer behind a whole one": raw(OK + b"content-length: 0\r\n\r\nHTTP/1.1 200"),
}


@pytest.mark.parametrize("name", STRAY)
async def test_what_an_upstream_says_too_much_never_reaches_the_next_caller(
    sender: Sender, fake: FakeUpstream, name: str
):
    for number in range(10):
        fake.script(STRAY[name], reply(200, b"mine"))
        await body_of(sender, call("HEAD" if "HEAD" in name else "GET", f"/{number}"))
        assert await body_of(sender, call(path=f"/{number}/next")) == b"mine"
    assert fake.connections >= 10


async def test_a_second_answer_that_comes_late_finds_its_connection_closed(sender: Sender, fake: FakeUpstream):
    later = asyncio.Event()
    fake.script(then(reply(), held(later, raw(STOLEN))), reply(200, b"mine"))
    await body_of(sender, call())
    later.set()
    await fake.until(lambda seen: seen.open == 0)
    assert await body_of(sender, call()) == b"mine"


async def test_bytes_that_lie_unread_in_the_socket_are_noticed_before_the_next_call(sender: Sender, fake: FakeUpstream):
    later = asyncio.Event()
    fake.script(then(reply(), held(later, raw(STOLEN))), reply(200, b"mine"))
    await body_of(sender, call())
    (connection,) = sender._pools["stripe"]._connections
    # A loop that has not come round to reading, held still.
    connection._transport.pause_reading()
    later.set()
    await _readable(connection._transport.get_extra_info("socket").fileno())
    assert not connection.gone
    assert await body_of(sender, call()) == b"mine"
    assert fake.received[1].connection == 2


MALFORMED: dict[str, bytes] = {
    "length and chunks": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 0\r\ncontent-length: 5\r\n\r\nhello",
    "another coding": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "LF in a header": OK + b"x: a\nset-cookie: b=c\r\ncontent-length: 0\r\n\r\n",
    "CR in a header": OK + b"x: a\rset-cookie: b=c\r\ncontent-length: 0\r\n\r\n",
    "NUL in a header": OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
    "a folded header": OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "a head without end": OK + b"x: " + b"y" * 70_000,
    "a thousand headers": OK + b"".join(b"x-%d: y\r\n" % n for n in range(1000)) + b"\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_not_one_answer_leaves_the_outcome_unknown_and_the_connection_closed(
    sender: Sender, fake: FakeUpstream, name: str
):
    fake.script(raw(MALFORMED[name]), reply(200, b"mine"))
    with pytest.raises(BrokeOff) as caught:
        await sender.send(call("POST"), b"x")
    assert caught.value.reason is Reason.UPSTREAM_MALFORMED
    assert await body_of(sender, call()) == b"mine"
    assert [received.connection for received in fake.received] == [1, 2]


CUT: dict[str, Answer] = {
    "before the answer": drop(),
    "in the status line": raw(b"HTTP/1.1 2", close=True),
    "in the head": raw(OK + b"content-le", close=True),
    "after an interim answer": raw(b"HTTP/1.1 100 Continue\r\n\r\n", close=True),
    "before the body": raw(OK + b"content-length: 5\r\n\r\n", close=True),
    "in the body": raw(OK + b"content-length: 5\r\n\r\nhel", close=True),
    "in a chunk": raw(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhel", close=True),
    "before the last chunk": raw(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", close=True),
    "in the trailers": raw(OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n", close=True),
    "by a bad chunk": raw(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
    "by a reset": reset(OK + b"content-length: 5\r\n\r\nhel"),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_a_cut_answer_is_never_passed_off_as_whole_and_the_call_was_sent_once(
    sender: Sender, fake: FakeUpstream, name: str, method: str
):
    fake.script(CUT[name])
    with pytest.raises(BrokeOff):
        await body_of(sender, call(method), b"x" if method != "GET" else b"")
    assert len(fake.received) == 1


# F5: trailers.


async def test_trailers_are_dropped(sender: Sender, fake: FakeUpstream):
    trailers = b"authorization: Bearer x\r\nx-forwarded-user: root\r\nset-cookie: a=b\r\nassentry-call: other\r\n"
    fake.script(chunked(b"body", trailers=trailers))
    answered = await sender.send(call(), b"")
    assert answered.headers == ()
    assert [chunk async for chunk in answered.chunks()] == [b"body"]


async def test_a_trailer_that_would_reframe_the_answer_is_refused(sender: Sender, fake: FakeUpstream):
    fake.script(chunked(b"body", trailers=b"content-length: 3\r\n"))
    with pytest.raises(BrokeOff):
        await body_of(sender, call())


# F11: what is between two neighbours stays between them.


async def test_expect_and_hop_by_hop_headers_of_the_agent_are_not_sent_on(sender: Sender, fake: FakeUpstream):
    came = [
        ("expect", "100-continue"), ("connection", "close, accept"), ("keep-alive", "timeout=5"), ("te", "trailers"),
        ("upgrade", "h2c"), ("http2-settings", "AAMAAABk"), ("transfer-encoding", "chunked"), ("trailer", "x"),
        ("proxy-connection", "keep-alive"), ("content-length", "9"), ("host", "169.254.169.254"), ("accept", "*/*"),
    ]  # fmt: skip
    headers = travelling(came, sender._upstreams["stripe"])
    await body_of(sender, a_call(target=Target(method="POST", path="/x"), headers=headers), b"x")
    assert [name for name, _ in fake.received[0].headers] == [
        "host", "accept", "content-length", "via", "authorization",
    ]  # fmt: skip
    assert fake.received[0].header("host") == f"127.0.0.1:{fake.port}"


async def test_what_connection_names_in_an_answer_stays_behind(sender: Sender, fake: FakeUpstream):
    fake.script(reply(200, b"{}", ("Connection", "x-session"), ("X-Session", "1"), ("Keep-Alive", "x"), ("X-Ok", "1")))
    assert (await sender.send(call(), b"")).headers == (("content-length", "2"), ("x-ok", "1"))


# E1: an upstream is where the settings say, and nowhere else.


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "100.100.100.200", "0.0.0.0"],
)
async def test_the_clouds_credentials_are_out_of_reach_whatever_the_settings_say(address: str):
    pool = UpstreamPool(Upstream(name="meta", url=f"http://{address}/", private_networks=True))
    with pytest.raises(NotSent, match="address"):
        await pool.send(Outgoing(method="GET", target="/latest/meta-data/", headers=((b"host", b"x"),)))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001"])
async def test_loopback_is_out_of_reach_in_every_spelling_unless_the_settings_open_it(fake: FakeUpstream, host: str):
    pool = UpstreamPool(Upstream(name="own", url=f"http://{host}:{fake.port}"))
    with pytest.raises(NotSent):
        await pool.send(Outgoing(method="GET", target="/", headers=((b"host", b"x"),)))
    assert fake.connections == 0


async def test_a_name_that_turns_to_the_inside_after_it_was_checked_leads_nowhere(fake: FakeUpstream):
    turns = iter([["93.184.216.34"], ["127.0.0.1"]])
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(turns)

    settings = Upstream(name="api", url=f"http://api.example:{fake.port}", connect_timeout_s=0.2)
    pool = UpstreamPool(settings, resolve=rebinding)
    for _ in range(2):
        with pytest.raises(NotSent):
            await pool.send(Outgoing(method="GET", target="/", headers=((b"host", b"api.example"),)))
    assert len(asked) == 2
    assert fake.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_handed_on_and_never_followed(sender: Sender, fake: FakeUpstream, status: int):
    async with upstream() as elsewhere:
        fake.script(reply(status, b"", ("location", f"{elsewhere.url}/steal")))
        answered = await sender.send(call("POST"), b"x")
        assert (answered.status, elsewhere.connections) == (status, 0)
        assert ("location", f"{elsewhere.url}/steal") in answered.headers


async def test_cookies_do_not_travel_from_one_call_to_the_next(sender: Sender, fake: FakeUpstream):
    fake.script(reply(200, b"{}", ("set-cookie", "session=of-another; Domain=127.0.0.1")))
    answered = await sender.send(call(), b"")
    assert "set-cookie" not in dict(answered.headers)
    await body_of(sender, call())
    assert b"cookie" not in fake.received[1].raw.lower()


async def test_a_target_cannot_lead_to_another_authority(sender: Sender, fake: FakeUpstream):
    for path in ("//evil.example/x", "/@evil.example/", "/http://evil.example/"):
        await body_of(sender, call(path=path))
    assert [received.target for received in fake.received] == [
        "//evil.example/x", "/@evil.example/", "/http://evil.example/",
    ]  # fmt: skip


# J9: the agent's credential does not go out, ours does not come back.


async def test_the_agents_credential_is_never_sent_on(sender: Sender, fake: FakeUpstream):
    came = [
        ("authorization", f"Bearer {AGENTS_TOKEN}"), ("x-api-key", AGENTS_TOKEN), ("cookie", f"t={AGENTS_TOKEN}"),
        ("proxy-authorization", f"Bearer {AGENTS_TOKEN}"), ("x-forwarded-access-token", AGENTS_TOKEN),
        ("remote-user", AGENTS_TOKEN), ("x-auth-request-access-token", AGENTS_TOKEN), ("dpop", AGENTS_TOKEN),
    ]  # fmt: skip
    headers = travelling(came, sender._upstreams["stripe"])
    await body_of(sender, a_call(target=Target(method="GET", path="/x"), headers=headers))
    assert AGENTS_TOKEN.encode() not in fake.received[0].raw
    assert fake.received[0].all("authorization") == [f"Bearer {KEY}"]


async def test_an_upstream_that_echoes_our_credential_does_not_give_it_to_the_agent(
    sender: Sender, fake: FakeUpstream, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    fake.script(
        reply(
            401, b"{}", ("www-authenticate", f'Bearer error="bad key {KEY}"'), ("x-authorization", f"Bearer {KEY}"),
            ("location", f"/?key={KEY}"), (f"x-{KEY}", "1"), ("connection", KEY),
        )
    )  # fmt: skip
    answered = await sender.send(call(), b"")
    assert KEY not in repr(answered.headers)
    assert dict(answered.headers)["location"] == "/?key=[redacted]"
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 " + KEY.encode() + b"\x01\r\n\r\n"),
        raw(OK + b"x: " + KEY.encode() + b"\0\r\n\r\n"),
        raw(OK + KEY.encode() + b"\r\n\r\n"),
        raw(OK + b"transfer-encoding: chunked\r\n\r\n" + KEY.encode() + b"\r\n"),
        drop(),
    ],
)
async def test_no_error_or_log_line_holds_what_was_sent_or_came_back(
    sender: Sender, fake: FakeUpstream, answer: Answer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    fake.script(answer)
    with pytest.raises(BrokeOff) as caught:
        await body_of(sender, call("POST", PATH), BODY)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert not [canary for canary in (KEY, PATH, BODY.decode()) if canary in told]


async def _readable(fileno: int) -> None:
    """Returns when there is something to read."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    assert await asyncio.to_thread(poll.poll, 5000)
