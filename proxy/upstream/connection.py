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
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from policy.reasons import Reason
from proxy.errors import BrokeOff
from proxy.upstream.framing import AnswerReader, Head, Malformed, whole_answer

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

    __slots__ = ("_inflow", "head", "headers", "status", "whole")

    def __init__(self, head: Head, *, whole: bytes | None = None, inflow: Inflow | None = None) -> None:
        self.head = head
        self.status = head.status
        self.headers = head.headers
        """As they came, hop-by-hop fields included; trailers are not kept."""
        self.whole = whole
        """The body, where all of it came together with the head; else None, and `chunks` has it."""
        self._inflow = inflow

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body, once. Raises BrokeOff where it is cut; closing early closes the connection."""
        inflow = self._inflow
        if inflow is None:
            if self.whole:
                yield self.whole
            return
        try:
            while (piece := await inflow.pull()) is not None:
                yield piece
        finally:
            inflow.leave()

    def leave(self) -> None:
        """Nobody reads the body."""
        if self._inflow is not None:
            self._inflow.leave()

    def __del__(self) -> None:
        # A generator that was never begun runs no `finally`: an answer that nobody read gives up its connection here.
        if self._inflow is not None and not self._inflow.ended:
            self._inflow.drop()


Told = Callable[[Response | BrokeOff], None]
"""Is told what came of a call, once: the answer as soon as its head is there, or the fault. Must not raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """How much of a body has gone on."""

    digest: str
    """SHA-256, hex."""
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A body that is sent as it comes, because nobody has to read it first."""

    pieces: AsyncGenerator[bytes, None]
    """Exactly `length` bytes together. What it raises ends the call: the upstream has seen a part of it."""
    length: int
    passed: Callable[[], Passed] | None = None
    """What has been taken of it so far, for the record."""


class Connection(asyncio.Protocol):
    """A connection that is idle, or carries one call."""

    def __init__(
        self, terms: Terms, *, returned: Callable[[Connection], None], lost: Callable[[Connection], None]
    ) -> None:
        self._terms = terms
        self._returned = returned
        self._lost = lost
        self._poll = select.poll()
        self._method: str | None = None
        """Of the call that is carried; None: idle."""
        self._reader: AnswerReader | None = None
        """Of an answer that comes in more than one piece."""
        self._inflow: Inflow | None = None
        self._told: Told | None = None
        self._uploading = False
        self._drained: asyncio.Future[None] | None = None
        """Set while the upstream does not take what we write."""
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

    def begin(self, wire: bytes, method: str, told: Told) -> None:
        """Writes the call, once. From here on it counts as sent."""
        self._method = method
        self._told = told
        self._began = self._terms.now()
        self._transport.write(wire)

    async def converse(self, wire: bytes, method: str, *, upload: Upload | None = None) -> Response:
        """The answer to the call, as soon as its head is there. From here on the call counts as sent.

        Raises BrokeOff, and what the upload raises. Being cancelled closes the connection.
        """
        answer: asyncio.Future[Response | BrokeOff] = asyncio.get_running_loop().create_future()
        self.begin(wire, method, lambda said: None if answer.cancelled() else answer.set_result(said))
        try:
            if upload is not None:
                await self._send_on(upload, answer)
            said = await answer
        except asyncio.CancelledError:
            self._forsake(answer)
            raise
        if isinstance(said, BrokeOff):
            raise said
        return said

    async def _send_on(self, upload: Upload, answer: asyncio.Future[Response | BrokeOff]) -> None:
        """Hands the body on as fast as the upstream takes it. An upstream that answers early gets no more of it."""
        self._uploading = True
        left = upload.length
        try:
            async with aclosing(upload.pieces) as pieces:
                async for piece in pieces:
                    left -= len(piece)
                    if answer.done() or left < 0:
                        break
                    self._began = self._terms.now()
                    self._transport.write(piece)
                    if self._drained is not None:
                        either: set[asyncio.Future[Any]] = {self._drained, answer}
                        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            answer.cancel()
            self.abort()
            raise
        if left and not answer.done():
            self._break_off("was not sent the whole call")
        self._uploading = left != 0

    def check(self, now: float) -> None:
        """Break off what has taken too long."""
        if self._method is None:
            return
        waited = now - self._began
        if self._told is not None and waited > self._terms.first_byte_s:
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
        method, reader = self._method, self._reader
        if method is None:
            self.abort()
            return
        try:
            if reader is None:
                whole = whole_answer(data, method)
                if whole is not None:
                    self._deliver(whole[0], whole[1], reusable=whole[0].reusable)
                    return
                reader = self._reader = AnswerReader(method)
            reader.feed(data)
        except Malformed as fault:
            if reader is not None:
                self._pass_on(reader)
            self._break_off(f"answered with something that is not one HTTP answer: {fault}", Reason.UPSTREAM_MALFORMED)
            return
        if reader.done and self._inflow is None and reader.head is not None:
            self._deliver(reader.head, b"".join(reader.pieces), reusable=reader.reusable)
            return
        self._pass_on(reader)
        if reader.done:
            self._finish(reusable=reader.reusable)
        elif self._inflow is not None and self._inflow.waiting_bytes > PAUSE_ABOVE_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The upstream takes less than we write."""
        self._drained = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def eof_received(self) -> None:
        """The other side is done; asyncio closes ours and calls `connection_lost`."""
        self._eof = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.gone = True
        if self._method is not None:
            reader = self._reader
            if exc is None and self._eof and reader is not None and reader.close():
                self._finish(reusable=False)
            else:
                self._break_off("closed the connection before its answer was whole")
        self._lost(self)

    def _deliver(self, head: Head, whole: bytes, *, reusable: bool) -> None:
        """Tell of an answer that is whole."""
        told, self._told = self._told, None
        if told is not None:
            told(Response(head, whole=whole))
        self._finish(reusable=reusable)

    def _pass_on(self, reader: AnswerReader) -> None:
        """Tell of the head, once it is there, and hand over what came of the body."""
        told, head = self._told, reader.head
        if told is not None and head is not None:
            self._told = None
            self._inflow = Inflow(self)
            told(Response(head, inflow=self._inflow))
        if reader.pieces and self._inflow is not None and not self._inflow.ended:
            self._inflow.push(reader.pieces)
        reader.pieces = []

    def _finish(self, *, reusable: bool) -> None:
        inflow = self._inflow
        self._method = self._reader = self._inflow = self._told = None
        if inflow is not None:
            inflow.end()
            self.resume()
        # An answer that came before the call was written out leaves the rest of the call in the way of the next.
        open_still = not (self.gone or self._eof or self._transport.is_closing())
        if reusable and not self._uploading and open_still and self._transport.get_write_buffer_size() == 0:
            self.idle_since = self._terms.now()
            self._returned(self)
        else:
            self.abort()

    def _break_off(self, what: str, reason: Reason = Reason.UPSTREAM_BROKE_OFF) -> None:
        inflow, told = self._inflow, self._told
        self._method = self._reader = self._inflow = self._told = None
        fault = BrokeOff(
            reason, f"Upstream '{self._terms.upstream}' {what}. The call was sent; what became of it is not known."
        )
        if told is not None:
            told(fault)
        elif inflow is not None and not inflow.ended:
            inflow.end(fault)
        self.abort()

    def _forsake(self, answer: asyncio.Future[Response | BrokeOff]) -> None:
        """Nobody waits for the answer any more."""
        if answer.cancelled():
            self.abort()
        elif isinstance(said := answer.result(), Response):
            said.leave()
