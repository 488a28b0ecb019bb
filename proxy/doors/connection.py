"""One agent's connection: aiohttp's protocol behind our own intake, and a clock for heads that do not come.

Leaves to aiohttp the body's buffering, its back-pressure and the task that answers; leaves to `proxy.doors.agents` what
is answered. Touches aiohttp's private names (`_messages`, `_waiter`, `_make_error_handler`): the version is pinned in
pyproject.toml, and tests/hostile fails when one of them moves.

A client that leaves does not cancel what the gate does for it (`handler_cancellation=False`): a held call may be kept,
and one that is being sent must be concluded. `connected` says that nobody reads the answer any more.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, cast

from aiohttp import web_protocol, web_server
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from config.settings import Limits
from policy.call import CallId
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.agreement import agree
from proxy.doors.arrival import Answer
from proxy.doors.body import BodyRefused
from proxy.doors.clock import HeadClock
from proxy.doors.hygiene import Head
from proxy.doors.intake import Intake, Opened, Step
from proxy.doors.room import Room

log = logging.getLogger("assentry.doors")

# How long a refused client's further bytes are read and dropped, so that closing with unread bytes does not reset the
# connection before the refusal is read (RFC 9112 section 9.6).
LINGER_S = 0.5

_TOO_SLOW = Refused(
    reason=Reason.TOO_SLOW,
    detail="The request head did not arrive in time. Send it at once.",
)
_DISAGREED = Refused(
    reason=Reason.MALFORMED,
    detail="The request can be read in two ways. Send plain HTTP/1.1.",
)

Respond = Callable[[BaseRequest], Awaitable[StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One exchange with one client."""

    id: CallId
    head: Head | Refused
    connection: Connection
    payload: StreamReader = EMPTY_PAYLOAD
    peer: str


Complete = Callable[[Visit, Awaitable[Answer]], Awaitable[bool]]
"""Writes the answer to a visit; whether its connection may carry another call."""


class AtOnce(Protocol):
    """Whoever takes calls that came whole and need no waiting."""

    def take(self, data: bytes, client: Connection) -> bool:
        """Whether the call is taken. Then `client` is occupied until its answer is written; else nothing happened."""
        ...


class Leaving:
    """Tells of the end of a connection while its block lasts. A class, because a generator of each wait weighs more."""

    __slots__ = ("_gone", "_tell")

    def __init__(self, gone: asyncio.Future[None], tell: Callable[[], None]) -> None:
        self._gone = gone
        self._tell = tell

    def __enter__(self) -> None:
        self._gone.add_done_callback(self._told)

    def __exit__(self, *_: object) -> None:
        self._gone.remove_done_callback(self._told)

    def _told(self, _: asyncio.Future[None]) -> None:
        self._tell()


class Connection(web_protocol.RequestHandler):
    """Feeds the parser what the intake lets through, and queues a refusal where it lets nothing through."""

    __slots__ = (
        "_at_once", "_clock", "_gone", "_intake", "_occupied", "_payload", "_retired", "_serving", "address", "call",
    )  # fmt: skip

    def __init__(self, server: Server, *, loop: asyncio.AbstractEventLoop, limits: Limits, clock: HeadClock) -> None:
        # The parser's limits lie above the intake's, so that the intake is the one to refuse.
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle_timeout_s,
            logger=log,
            access_log=cast("logging.Logger", None),
            max_line_size=limits.target_bytes + 1024,
            max_field_size=limits.header_bytes + 1024,
            max_headers=limits.headers + 1,
            lingering_time=0,
            auto_decompress=False,
        )
        self._serving = server
        self._at_once = server.at_once
        self._occupied = self._retired = False
        self._clock = clock
        self._intake = Intake(limits=limits)
        self._gone: asyncio.Future[None] = loop.create_future()
        self._payload: StreamReader | None = None
        self.call: Head | Refused = _DISAGREED
        """The call that is to be answered now."""
        self.address = ""
        """The address at the other end of the socket."""

    @property
    def reusable(self) -> bool:
        """Whether another call may come over this connection."""
        ending = self._close or self._force_close or self._retired
        return not (self._intake.over or ending or self.transport is None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock of the first head."""
        super().connection_made(transport)
        peername = self.peername
        self.address = str(peername[0]) if isinstance(peername, tuple) else ""
        self._clock.start(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tells whoever answers that the client has left."""
        self._clock.stop(self)
        self._intake.end()
        if not self._gone.done():
            self._gone.set_result(None)
        super().connection_lost(exc)

    def present(self) -> bool:
        """Whether the client is still there."""
        return self.transport is not None

    def leaving(self, tell: Callable[[], None]) -> Leaving:
        """While the block lasts, `tell` is called once when the client leaves; soon, if it has left already."""
        return Leaving(self._gone, tell)

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the socket; none, from aiohttp, means that its parser may go on."""
        if not data:
            super().data_received(b"")
            return
        if self._at_once is not None and self._free and self._at_once.take(data, self):
            return
        for step in self._intake.feed(data):
            self._take(step)
        if self._intake.midway_in_head:
            self._clock.start(self)

    @property
    def _free(self) -> bool:
        # What the client has not read of the answer before is the ordinary path's to wait for.
        return self._intake.between_calls and self.reusable and not self.writing_paused

    def has_room(self, body_bytes: int) -> bool:
        """Whether a body of this length may be taken at once: it came in one read, like a head, and is not counted."""
        return self._serving.room.fits(body_bytes)

    def occupy(self) -> None:
        """A call was taken at once: `vacate`, `give_back` or `complete` follows."""
        self._clock.stop(self)
        self._intake.occupy()
        self._occupied = True
        self._serving.running += 1

    def vacate(self) -> None:
        """The answer to the call that was taken is written."""
        self._leave()
        if self._retired:
            self.force_close()
        elif not self._intake.free():
            self.next_call()

    def give_back(self, data: bytes) -> None:
        """The call that was taken goes the ordinary way: nothing has become of it."""
        self._leave()
        for step in self._intake.put_back(data):
            self._take(step)

    async def complete(self, visit: Visit, answering: Awaitable[Answer]) -> None:
        """Answers a call that was taken at once and has to be waited for."""
        try:
            keep_alive = await self._serving.complete(visit, answering)
        except Exception as exc:  # noqa: BLE001 - as `handle_error`: what failed while its answer was written
            log.error("connection ended by %s", type(exc).__name__)  # noqa: TRY400 - its text may quote the call
            self.abort()
            self._intake.end()  # A call behind it would be sent, and its answer read by nobody.
            keep_alive = True
        if keep_alive:
            self.vacate()
            return
        await self.linger()
        self._leave()
        self.force_close()

    def _leave(self) -> None:
        self._occupied = False
        self._serving.left()
        self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout

    def _process_keepalive(self) -> None:
        if self._occupied:
            # The connection is not idle, though aiohttp has nothing to do on it.
            self._next_keepalive_close_time = self._loop.time() + self.keepalive_timeout
        super()._process_keepalive()

    def next_call(self) -> None:
        """Takes up what came while the call before was being answered."""
        self._payload = None
        for step in self._intake.resume():
            self._take(step)
        if self._intake.midway_in_head:
            self._clock.start(self)

    def out_of_time(self) -> None:
        """Ends a connection on which no head has come."""
        if self._intake.midway_in_head:
            self._intake.end()
            self._queue(_TOO_SLOW)
        else:
            self.force_close()

    def retire(self) -> None:
        """Takes no further call: ends at once when idle, else with the answer that is due."""
        if self._occupied:
            self._retired = True
        elif self._waiter is not None:
            self.force_close()
        else:
            self.close()

    async def linger(self) -> None:
        """Ends our side, and drops what still comes until the client ends its own or `LINGER_S` is over."""
        self._intake.end()
        if self.transport is None or not self.transport.can_write_eof():
            return
        self.transport.write_eof()
        try:
            async with asyncio.timeout(LINGER_S):
                await asyncio.shield(self._gone)
        except TimeoutError:
            return

    async def drained(self) -> None:
        """Returns when the client has read enough for more to be written. Raises ConnectionError when it has left."""
        await self._drain_helper()

    def abort(self) -> None:
        """Ends the connection so that the client cannot take what it has for a whole answer."""
        if self.transport is None:
            return
        plain = self.transport.get_extra_info("socket")
        if plain is not None:
            # Lingering for no time makes it a reset. A clean end would complete a body that only closing delimits.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _take(self, step: Step) -> None:
        if isinstance(step, Opened):
            self._open(step)
        elif isinstance(step, Refused):
            self._clock.stop(self)
            self._refuse(step)
        else:
            self._feed(step.raw)

    def _feed(self, raw: bytes) -> None:
        super().data_received(raw)
        if self._messages and not isinstance(self._messages[-1][0], RawRequestMessage):
            # The parser refused a body that the intake took. Its complaint, which quotes bytes, is dropped.
            self._messages.pop()
            self._intake.end()
            self._refuse(_DISAGREED)

    def _open(self, opened: Opened) -> None:
        self._clock.stop(self)
        self.call = opened.head
        super().data_received(opened.raw)
        if not (self._messages and agree(self._messages[-1][0], opened.head)):
            self._intake.end()
            self._messages.clear()
            self._queue(_DISAGREED)
            return
        self._payload = self._messages[-1][1]

    def _refuse(self, refused: Refused) -> None:
        if self._payload is None:
            self._queue(refused)
        else:
            self._payload.set_exception(BodyRefused(refused))

    def _queue(self, refused: Refused) -> None:
        self.call = refused
        self._messages.append((web_protocol.ERROR, EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_error_handler(self, _err_info: object) -> Respond:
        # aiohttp's own would echo and log the bytes it could not parse, credentials among them.
        self._intake.end()
        self.call = _DISAGREED
        if self._request_handler is None:
            raise ConnectionResetError
        return self._request_handler

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> StreamResponse:
        """Ends the connection: what comes here failed while its answer was written."""
        del request, status, message
        log.error("connection ended by %s", type(exc).__name__)
        self.abort()
        raise ConnectionAbortedError

    def log_exception(self, *_args: object, **kw: object) -> None:
        """Logs what kind of error it was, never its text: the text may quote the request."""
        log.error("connection ended by %s", type(kw.get("exc_info")).__name__)


class Server(web_server.Server):
    """Makes a `Connection` of each socket, and knows how many calls are being answered."""

    def __init__(
        self, respond: Respond, complete: Complete, *, limits: Limits, room: Room, at_once: AtOnce | None = None
    ) -> None:
        super().__init__(respond, handler_cancellation=False)
        self.complete = complete
        self.room = room
        self.at_once = at_once
        self.running = 0
        """Calls being answered."""
        self._limits = limits
        self._clock = HeadClock(timeout_s=limits.header_timeout_s, loop=self._loop)
        self._quiet: asyncio.Future[None] | None = None

    def left(self) -> None:
        """One of the running calls is answered."""
        self.running -= 1
        if self._quiet is not None and not self.running and not self._quiet.done():
            self._quiet.set_result(None)

    async def quiet(self) -> None:
        """Returns when no call is being answered."""
        if self.running:
            self._quiet = self._loop.create_future()
            await self._quiet

    def __call__(self) -> Connection:
        """The protocol of one socket."""
        return Connection(self, loop=self._loop, limits=self._limits, clock=self._clock)

    def stop_clock(self) -> None:
        """Ends the sweep."""
        self._clock.end()
