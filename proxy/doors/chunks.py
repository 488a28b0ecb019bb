"""A strict reading of the chunked coding (RFC 9112 section 7.1), rewritten so that nothing optional is left in it.

aiohttp's parser takes extensions of any length and remembers trailers (3.14.5). It is handed the canonical form that
comes out of here: bare sizes, no extensions, no trailers.
"""

from __future__ import annotations

import re

from config.settings import Limits
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.hygiene import body_too_large

# RFC 9112 section 7.1.1 asks recipients to limit extensions; threats.md F4 says how far.
_LINE_BYTES = 1024
_TRAILER_BYTES = 8192
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\x20-\x7e\t]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\x20-\x7e\x80-\xff\t]*")


class ChunkedBody:
    """The state of one chunked body. After a refusal it must not be asked again."""

    def __init__(self, *, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self._left = 0
        self._ends_chunk = False
        self._trailers: int | None = None
        self.complete = False

    def take(self, held: bytearray) -> bytes | Refused:
        """The canonical form of what could be taken off the front of `held`; empty when more is needed first."""
        taken = bytearray()
        while held and not self.complete:
            before = len(held)
            refused = self._step(held, taken)
            if refused:
                return refused
            if len(held) == before:
                break
        return bytes(taken)

    def _step(self, held: bytearray, taken: bytearray) -> Refused | None:
        if self._left:
            self._copy(held, taken)
            return None
        if self._ends_chunk:
            return self._end_chunk(held, taken)
        line = _take_line(held)
        if line is None or isinstance(line, Refused):
            return line
        if self._trailers is None:
            return self._begin_chunk(line, taken)
        return self._pass_trailer(line, taken)

    def _copy(self, held: bytearray, taken: bytearray) -> None:
        piece = held[: self._left]
        del held[: len(piece)]
        taken += piece
        self._left -= len(piece)
        self._ends_chunk = self._left == 0

    def _end_chunk(self, held: bytearray, taken: bytearray) -> Refused | None:
        if not b"\r\n".startswith(held[:2]):
            return _malformed("A chunk is not as long as it says.")
        if len(held) >= 2:
            del held[:2]
            taken += b"\r\n"
            self._ends_chunk = False
        return None

    def _begin_chunk(self, line: bytes, taken: bytearray) -> Refused | None:
        size_line = _SIZE_LINE.fullmatch(line)
        if size_line is None:
            return _malformed("A chunk does not begin with its size in hexadecimal digits.")
        size = int(size_line[1], 16)
        self._total += size
        if self._total > self._limits.body_bytes:
            return body_too_large(self._limits)
        if size == 0:
            self._trailers = 0
            return None
        taken += b"%x\r\n" % size
        self._left = size
        return None

    def _pass_trailer(self, line: bytes, taken: bytearray) -> Refused | None:
        if not line:
            taken += b"0\r\n\r\n"
            self.complete = True
            return None
        # RFC 9110 section 6.5.1: trailers may be discarded, and merging them into the head is how credentials and
        # lengths are smuggled (threats.md F5).
        self._trailers = (self._trailers or 0) + len(line)
        if self._trailers > _TRAILER_BYTES:
            return Refused(reason=Reason.HEADERS_TOO_LARGE, detail="The trailers are too long. Send none.")
        return None if _TRAILER.fullmatch(line) else _malformed("A trailer line is not a name, a colon and a value.")


def _take_line(held: bytearray) -> bytes | Refused | None:
    end = held.find(b"\n", 0, _LINE_BYTES)
    if end < 0:
        return _malformed("A line between chunks is too long.") if len(held) >= _LINE_BYTES else None
    if held[end - 1 : end] != b"\r":
        return _malformed("A line between chunks ends without CR.")
    line = bytes(held[: end - 1])
    del held[: end + 1]
    return line


def _malformed(detail: str) -> Refused:
    return Refused(reason=Reason.BODY_MALFORMED, detail=f"{detail} Send the body with a Content-Length instead.")
