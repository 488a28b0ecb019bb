"""An upstream on a real socket that records every request byte for byte, and answers, or misbehaves, as scripted."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Header = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it arrived."""

    raw: bytes
    """Head and body, exactly."""
    method: str
    target: str
    headers: tuple[Header, ...]
    """Names as they came, in order."""
    body: bytes
    connection: int
    """Number of the connection it came on, from 1."""

    def header(self, name: str) -> str | None:
        """The only value of a header; None: absent. Twice is a failed test."""
        found = self.all(name)
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Hangup(Exception):
    """Raised by an answer to end the connection at once."""


Answer = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer. The connection is kept unless it raises Hangup."""


def reply(status: int = 200, body: bytes = b"{}", *headers: Header) -> Answer:
    """An ordinary answer with a Content-Length, on a connection that stays."""
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    head = f"HTTP/1.1 {status} Said\r\ncontent-length: {len(body)}\r\n{''.join(lines)}\r\n"
    return raw(head.encode("latin-1") + body)


def raw(*pieces: bytes, close: bool = False) -> Answer:
    """These bytes, each piece a write of its own, and then the connection stays or closes."""

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            raise Hangup

    return write


def drop() -> Answer:
    """No answer: the connection is closed after the request was read."""
    return raw(close=True)


def reset(*pieces: bytes) -> Answer:
    """The connection is reset (RST) after these bytes."""

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
        writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: 0 s
        raise Hangup

    return write


def held(until: asyncio.Event, answer: Answer) -> Answer:
    """The answer, once the event is set."""

    async def write(received: Received, writer: asyncio.StreamWriter) -> None:
        await until.wait()
        await answer(received, writer)

    return write


def then(*answers: Answer) -> Answer:
    """One answer after the other, to the same request."""

    async def write(received: Received, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await answer(received, writer)

    return write


def chunked(*chunks: bytes, trailers: bytes = b"", status: int = 200) -> Answer:
    """An answer in chunks, with trailers where there are any."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 %d Said\r\ntransfer-encoding: chunked\r\n\r\n" % status
    return raw(head, framed + b"0\r\n" + trailers + b"\r\n")


def until_close(body: bytes) -> Answer:
    """An answer that ends with the connection."""
    return raw(b"HTTP/1.1 200 Said\r\nconnection: close\r\n\r\n", body, close=True)


def flood(total_bytes: int, piece_bytes: int = 64 * 1024, wrote: Callable[[int], None] = lambda _: None) -> Answer:
    """A big answer, written as fast as it is read; `wrote` is told the bytes written so far."""

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 Said\r\ncontent-length: %d\r\n\r\n" % total_bytes)
        done = 0
        while done < total_bytes:
            piece = min(piece_bytes, total_bytes - done)
            writer.write(b"x" * piece)
            await writer.drain()
            done += piece
            wrote(done)

    return write


@dataclass(slots=True, kw_only=True)
class FakeUpstream:
    """What the upstream saw, and what it says next."""

    port: int = 0
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    """How many were ever opened."""
    open: int = 0
    """How many are open now."""
    default: Answer = field(default_factory=reply)
    """What it says when the script is at its end."""
    _script: list[Answer] = field(default_factory=list)
    _listen: Callable[[int], Awaitable[asyncio.Server]] | None = None
    _server: asyncio.Server | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Base URL without a path."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def script(self, *answers: Answer) -> None:
        """Say these next, one per request, whatever connection it comes on."""
        self._script.extend(answers)

    async def close(self) -> None:
        """Listen no more: who dials is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def reopen(self) -> None:
        """Listen on the same port again."""
        if self._server is None and self._listen is not None:
            self._server = await self._listen(self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def hang_up(self) -> None:
        """End every connection, and listen on."""
        for writer in tuple(self._writers):
            writer.close()
        await self.until(lambda seen: seen.open == 0)

    async def until(self, condition: Callable[[FakeUpstream], bool], limit_s: float = 5) -> None:
        """Wait until something is true of what was seen."""
        async with asyncio.timeout(limit_s), self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def until_received(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        await self.until(lambda seen: len(seen.received) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        number = self.connections
        self._writers.add(writer)
        await self._tell()
        try:
            while (received := await _read(reader, number)) is not None:
                self.received.append(received)
                await self._tell()
                answer = self._script.pop(0) if self._script else self.default
                await answer(received, writer)
        except (Hangup, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()
            self._writers.discard(writer)
            self.open -= 1
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def upstream(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeUpstream]:
    """A running upstream on a free loopback port, that says these answers and then `reply()`."""
    fake = FakeUpstream(scheme="https" if tls else "http")
    fake.script(*answers)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await fake._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            serving.discard(task)

    fake._listen = lambda port: asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    await fake.reopen()
    try:
        yield fake
    finally:
        await fake.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, connection: int) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        if exc.partial:
            raise
        return None
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = tuple(_pair(line) for line in lines)
    body = await reader.readexactly(_length(headers))
    return Received(raw=head + body, method=method, target=target, headers=headers, body=body, connection=connection)


def _pair(line: str) -> Header:
    name, _, value = line.partition(":")
    return name, value.strip()


def _length(headers: Iterable[Header]) -> int:
    return int(next((value for name, value in headers if name.lower() == "content-length"), "0"))
