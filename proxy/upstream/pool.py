"""The connections to one upstream: kept alive, capped, queued for in order. A call is sent once, whatever happens.

Decides which connection a call goes out on. There is no loop around the sending: what fails before the first byte was
written is `NotSent`, what fails after it is `BrokeOff`, and nothing here tries again. No cookies, no redirects, no
proxy from the environment.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from config.settings import Upstream
from policy.reasons import Reason
from proxy.errors import BrokenPromise, BrokeOff, NotSent
from proxy.upstream.connection import Connection, Passed, Response, Terms, Told, Upload
from proxy.upstream.dialing import Dialer, Resolve, resolve

__all__ = ["BrokeOff", "NotSent", "Outgoing", "Passed", "Response", "Told", "Upload", "UpstreamPool"]

IDLE_S = 15.0
"""How long an unused connection is kept: shorter than most servers keep theirs, so that we are the ones to close."""
_CLOSE_S = 1.0
"""How long `close` waits for transports to report that they are closed: aborted, they do so in one turn of the loop."""

_HEAD = re.compile(
    rb"(?!CONNECT |TRACE )[A-Z]+(?:-[A-Z]+)* /[\x21-\x7e]* HTTP/1\.1"
    rb"(?:\r\n[!#$%&'*+.^_`|~0-9a-z-]+: [\t\x20-\x7e\x80-\xff]*)+"
)
"""One request head and nothing else, lines joined; that it has as many lines as it should is counted beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to an upstream, complete."""

    method: str
    target: str
    """Raw origin-form, the upstream's base path included."""
    headers: tuple[tuple[bytes, bytes], ...]
    """All of them, names in lower case; Host once, Content-Length where there is a body."""
    body: bytes = b""
    upload: Upload | None = None
    """The body, where it is sent as it comes; `body` is empty then."""

    def wire(self) -> bytes:
        """The bytes that will be written, those of an upload excepted.

        Raises BrokenPromise where they would not be exactly one message.
        """
        line = f"{self.method} {self.target} HTTP/1.1"
        head = b"\r\n".join([line.encode(), *[b"%b: %b" % field for field in self.headers]])
        names = [name for name, _ in self.headers]
        length = len(self.body) if self.upload is None else self.upload.length
        match names.count(b"content-length"):
            case 0:
                framed = not length
            case 1:
                framed = self.headers[names.index(b"content-length")][1] == b"%d" % length
            case _:
                framed = False
        framed = framed and not (self.upload and self.body)
        sound = framed and names.count(b"host") == 1 and b"transfer-encoding" not in names
        as_many_lines = head.count(b"\r\n") == len(names)
        if not (sound and as_many_lines and line.isascii() and _HEAD.fullmatch(head)):
            raise BrokenPromise(Reason.INTERNAL, "What was to be sent is not one HTTP message; it was not sent.")
        return b"%b\r\n\r\n%b" % (head, self.body)


@dataclass(slots=True, kw_only=True)
class _Waiter:
    granted: asyncio.Future[Connection | None]
    """A connection to use, or None: a place to open one."""
    fresh: bool


class UpstreamPool:
    """Sends calls to one upstream."""

    def __init__(
        self,
        settings: Upstream,
        *,
        now: Callable[[], float] = time.monotonic,
        resolve: Resolve = resolve,
        system_roots: bool = False,
    ) -> None:
        self._settings = settings
        self._now = now
        self._dialer = Dialer(settings, resolve=resolve, system_roots=system_roots)
        self._terms = Terms(
            upstream=settings.name,
            first_byte_s=settings.first_byte_timeout_s,
            total_s=settings.total_timeout_s,
            now=now,
        )
        self._sweep_s = min(1.0, settings.first_byte_timeout_s / 8, settings.total_timeout_s / 8)
        self._timer: asyncio.TimerHandle | None = None
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []
        """Longest unused first; the last is used next."""
        self._places = 0
        """Connections open or being opened."""
        self._queue: deque[_Waiter] = deque()
        self._closed = False
        self._emptied: asyncio.Future[None] | None = None

    async def send(
        self, outgoing: Outgoing, *, fresh: bool = False, cleared: Awaitable[object] | None = None
    ) -> Response:
        """The upstream's answer, as soon as its head is there.

        `fresh` takes a new connection. Nothing is written before `cleared` has come back; what it raises is raised
        here. Raises NotSent while it is certain that no byte left us, BrokeOff afterwards.
        """
        wire = outgoing.wire()
        connection = None if fresh or self._queue else self._take_idle()
        if connection is None:
            connection = await self._obtain(fresh=fresh)
        if cleared is not None:
            connection = await self._kept_until(cleared, connection)
        # INVARIANT: between `ready` and this write the loop does not turn, and nothing below here writes again.
        return await connection.converse(wire, outgoing.method, upload=outgoing.upload)

    def begin(self, wire: bytes, method: str, told: Told) -> bool:
        """Sends at once, and `told` hears what came of it; False where no connection is idle, and nothing was sent."""
        connection = None if self._queue else self._take_idle()
        if connection is None:
            return False
        # INVARIANT: as in `send`.
        connection.begin(wire, method, told)
        return True

    async def close(self) -> None:
        """Close every connection. Calls under way break off, waiting ones are not sent."""
        self._closed = True
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.granted.done():
                waiter.granted.set_exception(self._not_sent("the gate is stopping"))
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self._connections):
            connection.stop()
        if self._connections:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._emptied], timeout=_CLOSE_S)

    def sweep(self) -> None:
        """Close what was idle too long, break off what took too long. Runs by itself while connections are open."""
        now = self._now()
        for connection in tuple(self._connections):
            connection.check(now)
        while self._idle and now - self._idle[0].idle_since >= IDLE_S:
            self._drop(self._idle.pop(0))

    def _tick(self) -> None:
        self._timer = None
        self.sweep()
        self._arm()

    def _arm(self) -> None:
        if self._timer is None and self._connections and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(self._sweep_s, self._tick)

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.ready():
                return connection
            self._drop(connection)
        return None

    async def _obtain(self, *, fresh: bool) -> Connection:
        if self._closed:
            raise self._not_sent("the gate is stopping")
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                while True:
                    connection = await self._place(fresh=fresh)
                    if connection is None:
                        return await self._dial()
                    if connection.ready():
                        return connection
                    # It closed while it was handed over: nothing was written to it, so another one may be used.
                    self._drop(connection)
        except TimeoutError as exc:
            raise self._not_sent("no connection was to be had in time") from exc

    async def _kept_until(self, cleared: Awaitable[object], connection: Connection) -> Connection:
        try:
            await cleared
        except BaseException:
            self._drop(connection)
            raise
        if connection.ready():
            return connection
        # It closed meanwhile: nothing was written to it, so another one may be used.
        self._drop(connection)
        return await self._obtain(fresh=True)

    async def _place(self, *, fresh: bool) -> Connection | None:
        if not self._queue:
            if not fresh and (connection := self._take_idle()) is not None:
                return connection
            if self._places < self._settings.connections:
                self._places += 1
                return None
            if self._idle:
                self._retire(self._idle.pop(0))
                return None
        return await self._wait_in_line(fresh=fresh)

    async def _wait_in_line(self, *, fresh: bool) -> Connection | None:
        waiter = _Waiter(granted=asyncio.get_running_loop().create_future(), fresh=fresh)
        self._queue.append(waiter)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._give_back(waiter.granted)
            raise

    def _give_back(self, granted: asyncio.Future[Connection | None]) -> None:
        if not granted.done() or granted.cancelled() or granted.exception() is not None:
            return
        connection = granted.result()
        if connection is None:
            self._free_place()
        elif connection in self._connections:
            self._returned(connection)

    async def _dial(self) -> Connection:
        try:
            connection = await self._dialer.dial(self._unconnected)
        except BaseException:
            self._free_place()
            raise
        if connection.gone or self._closed:
            connection.abort()
            self._free_place()
            raise self._not_sent("the connection was closed at once")
        self._connections.add(connection)
        self._arm()
        return connection

    def _unconnected(self) -> Connection:
        return Connection(self._terms, returned=self._returned, lost=self._lost)

    def _returned(self, connection: Connection) -> None:
        waiter = self._first_in_line()
        if waiter is None:
            self._idle.append(connection)
        elif waiter.fresh:
            self._retire(connection)
            waiter.granted.set_result(None)
        else:
            waiter.granted.set_result(connection)

    def _lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._drop(connection)
        if self._emptied is not None and not self._connections and not self._emptied.done():
            self._emptied.set_result(None)

    def _drop(self, connection: Connection) -> None:
        """Close a connection and free its place, once."""
        if connection in self._connections:
            self._retire(connection)
            self._free_place()

    def _retire(self, connection: Connection) -> None:
        """Close a connection whose place is given to another."""
        self._connections.discard(connection)
        connection.abort()

    def _free_place(self) -> None:
        waiter = self._first_in_line()
        if waiter is None:
            self._places -= 1
        else:
            waiter.granted.set_result(None)

    def _first_in_line(self) -> _Waiter | None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.granted.done():
                return waiter
        return None

    def _not_sent(self, why: str) -> NotSent:
        name = self._settings.name
        return NotSent(Reason.UPSTREAM_UNREACHABLE, f"Upstream '{name}' was not reached: {why}. Nothing was sent.")
