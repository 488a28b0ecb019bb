"""One connection to an upstream: writes a call once, reads its answer, no faster than it is taken.

Decides when a connection may carry another call. How many there are and who gets one is the pool's business. Once a
byte was written, every fault here is a `BrokeOff`.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import cast

from policy.reasons import Reason
from proxy.errors import BrokeOff
from proxy.upstream.framing import AnswerReader, Head, Malformed

PAUSE_ABOVE_BYTES = 256 * 1024
"""Body waiting to be taken at which reading stops: one full read of asyncio's."""
RESUME_BELOW_BYTES = 64 * 1024
"""Where reading goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for every call on a connection."""

    upstream: str
    first_byte_s: float
    """From the last byte we hand over to the whole head of the answer, interim answers not counting."""
    total_s: float
    now: Callable[[], float]
    """Seconds, monotonic."""


class Inflow:
    """A body between the socket and whoever reads it."""

    __slots__ = ("_connection", "_fault", "_loop", "_pieces", "_waiter", "ended", "waiting_bytes")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._fault: BrokeOff | None = None
        self.ended = False
        """Whether more may come from the socket."""
        self.waiting_bytes = 0

    def push(self, pieces: list[bytes]) -> None:
        """Take what the socket brought."""
        self._pieces.extend(pieces)
        self.waiting_bytes += sum(map(len, pieces))
        self._wake()

    def end(self, fault: BrokeOff | None = None) -> None:
        """No more will come: the body is whole, or it broke off."""
        self.ended, self._fault = True, fault
        self._wake()

    async def pull(self) -> bytes | None:
        """The next piece, or None at the end. Raises BrokeOff after the last piece of a body that was cut."""
        while not self._pieces:
            if self._fault is not None:
                raise self._fault
            if self.ended:
                return None
            self._waiter = self._loop.create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self.waiting_bytes -= len(piece)
        if self.waiting_bytes < RESUME_BELOW_BYTES and not self.ended:
            self._connection.resume()
        return piece

    def leave(self) -> None:
        """Nobody reads on: a body that is not whole takes its connection with it."""
        self._pieces.clear()
        if not self.ended:
            self.ended = True
            self._connection.abort()

    def drop(self) -> None:
        """`leave`, from whichever thread the collector runs in."""
        with contextlib.suppress(RuntimeError):  # The loop is closed, and its connections with it.
            self._loop.call_soon_threadsafe(self.leave)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Response:
    """An upstream's answer: the head, and the body as it comes."""

    __slots__ = ("_inflow", "headers", "status")

    def __init__(self, head: Head, inflow: Inflow) -> None:
        self.status = head.status
        self.headers = head.headers
        """As they came, hop-by-hop fields included; trailers are not kept."""
        self._inflow = inflow

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, once. Raises BrokeOff where it is cut; closing early closes the connection."""
        try:
            while (piece := await self._inflow.pull()) is not None:
                yield piece
        finally:
            self._inflow.leave()

    def __del__(self) -> None:
        # A generator that was never begun runs no `finally`: an answer that nobody read gives up its connection here.
        if not self._inflow.ended:
            self._inflow.drop()


class Connection(asyncio.Protocol):
    """A connection that is idle, or carries one call."""

    def __init__(
        self, terms: Terms, *, returned: Callable[[Connection], None], lost: Callable[[Connection], None]
    ) -> None:
        self._terms = terms
        self._returned = returned
        self._lost = lost
        self._poll = select.poll()
        self._reader: AnswerReader | None = None
        self._inflow: Inflow | None = None
        self._head: asyncio.Future[Head] | None = None
        self._began = 0.0
        self._paused = False
        self._eof = False
        self.gone = False
        """True once the connection is closed for good."""
        self.idle_since = 0.0

    def ready(self) -> bool:
        """Whether a call may be written: the other side is there, and nothing came that nobody asked for."""
        # The poll sees a close, or stray bytes, that the loop has not read yet.
        return not (self.gone or self._eof or self._transport.is_closing() or self._poll.poll(0))

    async def converse(self, wire: bytes, method: str) -> Response:
        """The answer to the call, as soon as its head is there. From here on the call counts as sent.

        Raises BrokeOff. Being cancelled closes the connection.
        """
        self._reader = AnswerReader(method)
        self._inflow = inflow = Inflow(self)
        self._head = head = asyncio.get_running_loop().create_future()
        self._began = self._terms.now()
        self._transport.write(wire)
        try:
            return Response(await head, inflow)
        except asyncio.CancelledError:
            if not head.cancelled():
                head.exception()  # Retrieved, lest asyncio complain that nobody did.
            inflow.leave()
            raise

    def check(self, now: float) -> None:
        """Break off what has taken too long."""
        if self._head is None:
            return
        waited = now - self._began
        if not self._head.done() and waited > self._terms.first_byte_s:
            self._break_off("did not answer in time")
        elif waited > self._terms.total_s:
            self._break_off("did not finish its answer in time")

    def resume(self) -> None:
        """Read on after a pause."""
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, unsent and unread bytes included. A call under way breaks off."""
        if not self.gone:
            self._transport.abort()

    def stop(self) -> None:
        """Close because the gate stops."""
        self._break_off("was left in the middle, because the gate stops")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Something came: of the answer, or stray."""
        reader, inflow, head = self._reader, self._inflow, self._head
        if reader is None or inflow is None or head is None:
            self.abort()
            return
        try:
            reader.feed(data)
        except Malformed as fault:
            self._pass_on(reader, inflow, head)
            self._break_off(f"answered with something that is not one HTTP answer: {fault}", Reason.UPSTREAM_MALFORMED)
            return
        self._pass_on(reader, inflow, head)
        if reader.done:
            self._finish(reader, inflow)
        elif inflow.waiting_bytes > PAUSE_ABOVE_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """The other side is done; asyncio closes ours and calls `connection_lost`."""
        self._eof = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.gone = True
        reader, inflow = self._reader, self._inflow
        if reader is not None and inflow is not None:
            if exc is None and self._eof and reader.close():
                self._finish(reader, inflow)
            else:
                self._break_off("closed the connection before its answer was whole")
        self._lost(self)

    def _pass_on(self, reader: AnswerReader, inflow: Inflow, head: asyncio.Future[Head]) -> None:
        if reader.head is not None and not head.done():
            head.set_result(reader.head)
        if reader.pieces and not inflow.ended:
            inflow.push(reader.pieces)
        reader.pieces = []

    def _finish(self, reader: AnswerReader, inflow: Inflow) -> None:
        self._reader = self._inflow = self._head = None
        inflow.end()
        self.resume()
        # An answer that came before the call was written out leaves the rest of the call in the way of the next.
        open_still = not (self.gone or self._eof or self._transport.is_closing())
        if reader.reusable and open_still and self._transport.get_write_buffer_size() == 0:
            self.idle_since = self._terms.now()
            self._returned(self)
        else:
            self.abort()

    def _break_off(self, what: str, reason: Reason = Reason.UPSTREAM_BROKE_OFF) -> None:
        inflow, head = self._inflow, self._head
        self._reader = self._inflow = self._head = None
        detail = f"Upstream '{self._terms.upstream}' {what}. The call was sent; what became of it is not known."
        if head is not None and inflow is not None and not inflow.ended:
            fault = BrokeOff(reason, detail)
            if not head.done():
                head.set_exception(fault)
            inflow.end(fault)
        self.abort()
