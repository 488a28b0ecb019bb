"""Whether a second reader takes a request for the same one that we do: aiohttp's parser, or llhttp for a whole call.

What two independent readers take for the same request, an upstream will take for the same (threats.md F1 to F8). What
aiohttp's parser may refuse although llhttp takes it is not agreed on: that one has to be asked.
"""

from __future__ import annotations

import httptools
from aiohttp.http_parser import RawRequestMessage

from proxy.doors.hygiene import Head

_REFUSED_BY_AIOHTTP = b"sec-websocket-key1"
"""Of a WebSocket draft from before RFC 6455."""


class _Reading:
    """What llhttp makes of some bytes."""

    __slots__ = ("begun", "fields", "host", "length", "names", "target", "whole")

    def __init__(self) -> None:
        self.target = b""
        self.host = b""
        self.length = b"0"
        self.names: set[bytes] = set()
        self.fields = 0
        self.begun = 0
        self.whole = 0

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        self.names.add(lower)
        self.fields += 1
        if lower == b"host":
            self.host = value
        elif lower == b"content-length":
            self.length = value

    def on_message_complete(self) -> None:
        self.whole += 1


def whole_and_alike(data: bytes, head: Head) -> bool:
    """Whether these bytes are one whole request, and the one whose head was read as `head`."""
    reading = _Reading()
    parser = httptools.HttpRequestParser(reading)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    target = f"{head.path}?{head.query}" if head.query else head.path
    return (
        reading.begun == reading.whole == 1
        # aiohttp refuses some fields that come twice, also where Connection nominates them away.
        and len(reading.names) == reading.fields
        and _REFUSED_BY_AIOHTTP not in reading.names
        and parser.get_method() == head.method.encode()
        and reading.target.decode("latin-1") == target
        and reading.host.decode("latin-1").lower() == head.host
        and reading.length == b"%d" % head.length
        and parser.should_keep_alive()
    )


def agree(message: object, head: Head) -> bool:
    """Whether aiohttp's parser read the same request as we did."""
    return (
        isinstance(message, RawRequestMessage)
        and message.method == head.method
        and message.path == (f"{head.path}?{head.query}" if head.query else head.path)
        and bool(message.chunked) == head.chunked
        and not message.upgrade
        and message.headers.get("Host", "").lower() == head.host
        and int(message.headers.get("Content-Length", "0")) == head.length
    )
