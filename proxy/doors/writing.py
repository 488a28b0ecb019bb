"""Answers onto the socket, with back-pressure, and never a cut body that looks whole.

aiohttp's own response classes are not used: they add Server and Content-Type of their own, and end a chunked body
cleanly when its source fails.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

from proxy.doors.arrival import Relay
from proxy.doors.connection import Connection
from proxy.doors.replies import Whole, has_body, phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The client of one exchange, as far as framing depends on it."""

    connection: Connection
    method: str = "GET"
    minor: int = 1
    """Of its HTTP version."""
    keep_alive: bool = False
    stall_s: float
    """How long it may read nothing."""


class Written:
    """What aiohttp takes for a response that is already on its way."""

    __slots__ = ("keep_alive",)

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive

    async def prepare(self, _request: object) -> None:
        """Does nothing: everything is written."""

    async def write_eof(self) -> None:
        """Does nothing: everything is written."""


async def write_whole(whole: Whole, *, to: Recipient) -> Written:
    """Writes an answer of our own. Raises ConnectionError when the client has left."""
    keep_alive = to.keep_alive and not whole.close
    headers = (*whole.headers, ("Content-Length", str(len(whole.body))), ("Cache-Control", "no-store"))
    body = whole.body if has_body(whole.status, method=to.method) else b""
    await _send(head(whole.status, headers, keep_alive=keep_alive) + body, to=to)
    return Written(keep_alive=keep_alive)


async def write_relay(relay: Relay, *, headers: tuple[tuple[str, str], ...], to: Recipient) -> Written:
    """Writes the upstream's response as it comes.

    Raises ConnectionError when the client has left or stalls, and whatever the relay's body raises; in each case the
    connection is aborted and the body is closed, so that its source learns that nobody reads.
    """
    async with aclosing(relay.body) as pieces:
        try:
            if not has_body(relay.status, method=to.method):
                written = await _write_bodiless(relay, headers=headers, to=to)
                # Read to its end all the same: that is how its source learns that the answer was delivered.
                async for _ in pieces:
                    pass
                return written
            return await _write_pieces(relay.status, headers=headers, pieces=pieces, to=to)
        except BaseException:
            # INVARIANT: a body that was cut never ends like a whole one. Also when the door is stopped meanwhile.
            to.connection.abort()
            raise


async def _write_bodiless(relay: Relay, *, headers: tuple[tuple[str, str], ...], to: Recipient) -> Written:
    # RFC 9110 section 8.6: a 204 has no Content-Length; a 304 and an answer to HEAD say what a GET would have had.
    kept = tuple(pair for pair in headers if relay.status != 204 or pair[0].lower() != "content-length")
    await _send(head(relay.status, kept, keep_alive=to.keep_alive), to=to)
    return Written(keep_alive=to.keep_alive)


async def _write_pieces(
    status: int, *, headers: tuple[tuple[str, str], ...], pieces: AsyncGenerator[bytes, None], to: Recipient
) -> Written:
    announced = announced_length(headers)
    chunked = announced is None and to.minor == 1
    keep_alive = to.keep_alive and (chunked or announced is not None)
    if announced is None:
        headers = tuple(pair for pair in headers if pair[0].lower() != "content-length")
    if chunked:
        headers = (*headers, ("Transfer-Encoding", "chunked"))
    waiting = head(status, headers, keep_alive=keep_alive)
    if announced is None:
        # A stream may be silent for long before its first piece; its head must not wait for that. A body of known
        # length goes out together with its head: one segment for a small response.
        await _send(waiting, to=to)
        waiting = b""
    written = 0
    async for piece in pieces:
        written += len(piece)
        if not piece or (announced is not None and written > announced):
            _refuse_excess(piece)
            continue
        await _send(waiting + (b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece), to=to)
        waiting = b""
    if announced is not None and written < announced:
        raise ConnectionAbortedError
    ending = b"0\r\n\r\n" if chunked else waiting
    if ending:
        await _send(ending, to=to)
    return Written(keep_alive=keep_alive)


def _refuse_excess(piece: bytes) -> None:
    if piece:
        raise ConnectionAbortedError


async def _send(data: bytes, *, to: Recipient) -> None:
    transport = to.connection.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    transport.write(data)
    if not to.connection.writing_paused:
        return
    try:
        async with asyncio.timeout(to.stall_s):
            await to.connection.drained()
    except TimeoutError as exc:
        to.connection.abort()
        raise ConnectionAbortedError from exc


def announced_length(headers: tuple[tuple[str, str], ...]) -> int | None:
    """Bytes of the body, where the headers say so once."""
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    length = lengths.pop() if len(lengths) == 1 else ""
    return int(length) if length.isascii() and length.isdigit() else None


def head(status: int, headers: tuple[tuple[str, str], ...], *, keep_alive: bool) -> bytes:
    """The head of a response, with the date of now where it has none (RFC 9110 section 6.6.1)."""
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() == "date" for name, _ in headers):
        lines.append(f"Date: {_date(int(time.time()))}")
    if not keep_alive:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
