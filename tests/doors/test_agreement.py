"""Two readings of one call: what aiohttp's parser and ours read alike, llhttp's has to, and the other way round."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Limits
from proxy.doors import agreement
from proxy.doors.hygiene import Head, read_head

LIMITS = Limits()
USUAL = b"POST /api/x?a=b HTTP/1.1\r\nHost: Localhost\r\nAccept: a/b\r\nContent-Length: 5\r\n\r\nhello"
BARE = b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n"


def head_of(call: bytes) -> Head | None:
    read = read_head(call[: call.find(b"\r\n\r\n") + 4], limits=LIMITS)
    return read if isinstance(read, Head) else None


def agreed(call: bytes, head: Head | None = None) -> bool:
    read = head or head_of(call)
    assert read is not None
    return agreement.whole_and_alike(call, read)


def with_lines(*lines: bytes) -> bytes:
    return BARE[:-2] + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def read_by_aiohttp(call: bytes) -> RawRequestMessage | None:
    """What aiohttp makes of it, set up as the door does."""

    async def read() -> RawRequestMessage | None:
        loop = asyncio.get_running_loop()
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_line_size=9000, max_field_size=33_000)
        try:
            messages, _, _ = parser.feed_data(call)
        except HttpProcessingError:
            return None
        return messages[0][0] if messages else None

    return asyncio.run(read())


@pytest.mark.parametrize(
    "call",
    [
        USUAL,
        BARE,
        with_lines(b"Connection: keep-alive"),
        with_lines(b"Content-Length: 0"),
        with_lines(b"A:", b"B: \t x \t "),
        BARE.replace(b"GET", b"OPTIONS"),
        BARE.replace(b"GET", b"HEAD"),
        BARE.replace(b"/api/x", b"/api/x?a=[b]{c}|d^"),
        BARE.replace(b"localhost", b"LOCALHOST:8400"),
    ],
)
def test_a_whole_call_is_read_alike(call: bytes):
    assert agreed(call)


@pytest.mark.parametrize("missing", range(1, len(USUAL)))
def test_a_call_that_is_not_all_there_is_not_whole(missing: int):
    assert not agreed(USUAL[:-missing], head_of(USUAL))


@pytest.mark.parametrize("behind", [b"\0", b"G", b"\r\nG", b"GET /api/y HTTP/1.1\r\n\r\n", USUAL, BARE])
def test_a_call_with_something_behind_it_is_not_one(behind: bytes):
    assert not agreed(USUAL + behind, head_of(USUAL))
    assert not agreed(BARE + behind, head_of(BARE))


@pytest.mark.parametrize(
    ("call", "read_as"),
    [
        (USUAL, USUAL.replace(b"POST", b"PUT")),
        (USUAL, USUAL.replace(b"a=b", b"a=c")),
        (USUAL, USUAL.replace(b"?a=b", b"")),
        (USUAL, USUAL.replace(b"Localhost", b"elsewhere")),
        (USUAL, USUAL.replace(b"h: 5", b"h: 4")),
        (USUAL, USUAL.replace(b"Content-Length: 5\r\n", b"")),
    ],
)
def test_another_call_than_the_one_that_was_read_is_no_agreement(call: bytes, read_as: bytes):
    assert not agreed(call, head_of(read_as))


@pytest.mark.parametrize(
    "call",
    [
        with_lines(b"Connection: upgrade", b"Upgrade: h2c"),
        BARE.replace(b"1.1", b"1.0"),
        BARE.replace(b"\r\nHost", b"\nHost"),
        with_lines(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        with_lines(b"Content-Length: +0"),
        with_lines(b"A : b"),
        with_lines(b" folded"),
        b"\x16\x03\x01" + BARE,
    ],
)
def test_what_llhttp_refuses_or_closes_behind_is_no_agreement(call: bytes):
    assert not agreed(call, head_of(BARE))


NAMES = st.sampled_from(
    [
        *(b"Accept", b"ACCEPT", b"User-Agent", b"user-agent", b"Max-Forwards", b"ETag", b"Server", b"X-A", b"Cookie"),
        *(b"Sec-WebSocket-Key1", b"sec-websocket-key1", b"Connection", b"Content-Type", b"Content-Location", b"Origin"),
        *(b"Content-Length", b"Transfer-Encoding", b"Upgrade", b"Expect", b"TE", b"Host", b"Keep-Alive"),
    ]
)
VALUES = st.sampled_from(
    [b"", b"a", b"a, b", b"0", b"5", b"chunked", b"user-agent", b"keep-alive, accept, user-agent", b"\t", b"trailers"]
)
TARGETS = st.sampled_from([b"/", b"/api", b"/api/x?", b"/a?b=c?d", b"/a:b@c", b"/x?[]{}|^", b"/a;b", b"*", b"/%20"])


@given(
    method=st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"PATCH"]),
    target=TARGETS,
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    body=st.sampled_from([b"", b"hello"]),
)
def test_nothing_is_agreed_on_that_aiohttp_does_not_agree_on(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes
):
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    call = b"%b %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n%b" % (method, target, lines, body)
    head = head_of(call)
    if head is not None and agreed(call):
        assert agreement.agree(read_by_aiohttp(call), head)
