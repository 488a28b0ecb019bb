"""The bytes of one connection, cut into calls, one at a time.

Sits between the socket and aiohttp's parser. What it lets through is canonical, so two independent readers have agreed
on where each call begins and ends. It takes up the next call only when told that the one before is answered: a call
behind a refused one is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.settings import Limits
from policy.verdict import Refused
from proxy.doors.chunks import ChunkedBody
from proxy.doors.hygiene import Head, read_head, refuse_start


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A well-formed head, and its bytes."""

    head: Head
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """Bytes of the body of the call that was opened last, in canonical form."""

    raw: bytes


Step = Opened | Fed | Refused
"""What came of some bytes. A `Refused` is the last: nothing behind it is read."""


class Intake:
    """Where one connection is between its calls."""

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._held = bytearray()
        self._length_left = 0
        self._chunks: ChunkedBody | None = None
        self._answering = False
        self._over = False

    @property
    def midway_in_head(self) -> bool:
        """Whether some bytes of a head are there, and not all."""
        return not (self._answering or self._over) and bool(self._held)

    @property
    def between_calls(self) -> bool:
        """Whether no call is being answered, and nothing of another one is there."""
        return not (self._answering or self._over or self._held)

    @property
    def over(self) -> bool:
        """Whether nothing more is read from this connection."""
        return self._over

    def feed(self, data: bytes) -> Iterator[Step]:
        """What comes of these bytes, in order."""
        if self._over:
            return
        self._held += data
        yield from self._advance()
        # A client that goes on sending behind a call that is not answered yet may do so up to one head; beyond that
        # its connection ends with the answer.
        if self._answering and len(self._held) > self._limits.target_bytes + self._limits.header_bytes:
            self.end()

    def free(self) -> bool:
        """As `resume` where nothing was kept back; False where something was, and then nothing happened."""
        if self._held or self._over:
            return False
        self._answering = False
        return True

    def resume(self) -> Iterator[Step]:
        """What comes of bytes that were kept back while the call before was being answered."""
        self._answering = False
        yield from self._advance()

    def occupy(self) -> None:
        """Somebody else has taken the call that came: what comes behind it is kept back until `resume`."""
        self._answering = True

    def put_back(self, data: bytes) -> Iterator[Step]:
        """What comes of a call that was taken, and is given back as it came."""
        self._answering = False
        if not self._over:
            self._held[:0] = data
            yield from self._advance()

    def end(self) -> None:
        """Reads nothing more."""
        self._over = True
        self._held.clear()

    def _advance(self) -> Iterator[Step]:
        while self._held and not self._over:
            step = self._next_step()
            if step is None:
                return
            if isinstance(step, Refused):
                self.end()
            yield step

    def _next_step(self) -> Step | None:
        if self._chunks is not None:
            return self._take_chunks(self._chunks)
        if self._length_left:
            return self._take_length()
        return None if self._answering else self._take_head()

    def _take_head(self) -> Opened | Refused | None:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return refuse_start(bytes(self._held), limits=self._limits)
        raw = bytes(self._held[: end + 4])
        head = read_head(raw, limits=self._limits)
        if isinstance(head, Refused):
            return head
        del self._held[: end + 4]
        self._answering = True
        self._length_left = head.length
        self._chunks = ChunkedBody(limits=self._limits) if head.chunked else None
        return Opened(head=head, raw=raw)

    def _take_length(self) -> Fed:
        raw = bytes(self._held[: self._length_left])
        del self._held[: len(raw)]
        self._length_left -= len(raw)
        return Fed(raw=raw)

    def _take_chunks(self, chunks: ChunkedBody) -> Fed | Refused | None:
        raw = chunks.take(self._held)
        if isinstance(raw, Refused):
            return raw
        if chunks.complete:
            self._chunks = None
        return Fed(raw=raw) if raw else None
