"""Reads one HTTP/1.1 answer from bytes, strictly, and says where it ends (RFC 9112 section 6).

Decides what is one well-formed answer and whether anything came after it. Knows no sockets, no limits of time and no
callers: bytes in, a head and pieces of body out. Header syntax and chunks are read by llhttp (httptools); everything
that llhttp lets through and two readers could take differently is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, assert_never

import httptools

HEAD_LIMIT_BYTES = 64 * 1024
"""Longest head, interim answers included, and longest stretch of chunk framing or trailers without any body."""
HEADERS_LIMIT = 200
"""Most header fields of an answer."""
REMEMBERED_BYTES = 2048
"""Longer heads are read anew each time."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})

Body = Literal["none", "counted", "chunked", "until-close"]


class Malformed(Exception):
    """What came is not one well-formed answer. Its text names the rule, never the bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """Status and header fields of a final answer, and how its body ends.

    The same head, come again, is the same object as long as it is remembered: what is made of it can be kept by it.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Names as they came, in order."""
    body: Body
    length: int
    """Bytes of a counted body; else 0."""
    reusable: bool
    """False when the connection must not carry another call after it."""


def whole_answer(arrived: bytes, method: str) -> tuple[Head, bytes] | None:
    """Head and body of an answer of known length that came in one piece, which most do; None: read it.

    Raises Malformed as `AnswerReader.feed` would.
    """
    end = arrived.find(b"\r\n\r\n") + 4
    if not 4 <= end <= REMEMBERED_BYTES:
        return None
    head = _known_head(arrived[:end], method == "HEAD")
    if head is None or head.body != "counted" or head.length != len(arrived) - end:
        return None
    return head, arrived[end:]


class AnswerReader:
    """One answer, read as it comes. Feed it, then look at `head`, `pieces` and `done`."""

    __slots__ = (
        "_buffer", "_left", "_parser", "_silent", "_skipped", "_without_body", "done", "head", "pieces", "reusable",
    )  # fmt: skip

    def __init__(self, method: str) -> None:
        self.head: Head | None = None
        self.pieces: list[bytes] = []
        """Body bytes read since whoever looks last emptied the list; chunk framing is gone."""
        self.done = False
        """True once the answer is whole."""
        self.reusable = True
        """False when the connection must not carry another call."""
        self._without_body = method == "HEAD"
        self._parser: httptools.HttpResponseParser | None = None
        """Of a chunked body."""
        self._buffer = b""
        self._skipped = 0
        self._left = 0
        self._silent = 0

    def feed(self, arrived: bytes) -> None:
        """Take what came. Raises Malformed; what was read before that stays readable."""
        rest = self._read_head(arrived) if self.head is None else arrived
        if rest and self.head is not None:
            self._read_body(self.head, rest)

    def close(self) -> bool:
        """True when the answer is whole now that the upstream has closed its side."""
        if self.head is not None and self.head.body == "until-close":
            self.done = True
        return self.done

    def _read_head(self, arrived: bytes) -> bytes:
        rest = self._buffer + arrived if self._buffer else arrived
        while self.head is None:
            end = rest.find(b"\r\n\r\n") + 4
            if end < 4:
                self._keep_partial(rest)
                return b""
            self._buffer = b""
            self._take_head(rest[:end])
            rest = rest[end:]
        return rest

    def _keep_partial(self, partial: bytes) -> None:
        if self._skipped + len(partial) > HEAD_LIMIT_BYTES:
            raise Malformed("the head is too long")
        # Without this, a head that ends its lines in bare LF would be waited for until the time limit.
        if b"\n" in partial and b"\n" in partial.replace(b"\r\n", b""):
            raise Malformed("a line of the head does not end in CRLF")
        self._buffer = partial

    def _take_head(self, raw: bytes) -> None:
        if self._skipped + len(raw) > HEAD_LIMIT_BYTES:
            raise Malformed("the head is too long")
        read = _known_head if len(raw) <= REMEMBERED_BYTES else _read_head
        head = read(raw, self._without_body)
        if head is None:
            self._skipped += len(raw)
            return
        self.head, self.reusable, self._left = head, head.reusable, head.length
        if head.body == "chunked":
            self._parser = httptools.HttpResponseParser(self)
            self._parser.feed_data(raw)
        self.done = head.body == "none" or (head.body == "counted" and head.length == 0)

    def _read_body(self, head: Head, raw: bytes) -> None:
        if self.done:
            self.reusable = False
            return
        match head.body:
            case "counted":
                self._count(raw)
            case "chunked":
                self._unchunk(raw)
            case "until-close":
                self.pieces.append(raw)
            case "none":
                self.reusable = False
            case _:
                assert_never(head.body)

    def _count(self, raw: bytes) -> None:
        if len(raw) > self._left:
            self.reusable = False
            raw = raw[: self._left]
        self.pieces.append(raw)
        self._left -= len(raw)
        if self._left == 0:
            self._finish()

    def _unchunk(self, raw: bytes) -> None:
        before = len(self.pieces)
        if self._parser is None:
            raise Malformed("there is more of it after its end")
        try:
            self._parser.feed_data(raw)
        except httptools.HttpParserError as exc:
            if not self.done:
                raise _wrong_syntax(exc) from exc
            self.reusable = False  # The answer is whole; what follows it is not one.
        # llhttp gathers a trailer until it ends, and skips chunk extensions of any length.
        self._silent = 0 if len(self.pieces) > before else self._silent + len(raw)
        if self._silent > HEAD_LIMIT_BYTES:
            raise Malformed("its chunk framing is too long")
        if self.done:
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self._parser = None  # It holds our methods: a ring that only the collector would free.

    # What llhttp calls. It reads the head once more, for the sake of the chunks, and no field of it, or of a trailer
    # (RFC 9110 section 6.5.1), is looked at.

    def on_message_begin(self) -> None:
        """Another answer begins: after the end of this one, it is nobody's."""
        if self.done:
            self.reusable = False

    def on_body(self, piece: bytes) -> None:
        """The inside of a chunk; of this answer, unless llhttp has gone on to read a second one."""
        if not self.done:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """The last chunk was read."""
        self.done = True


class _Fields:
    """What llhttp finds in a head."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name, value))


def _read_head(raw: bytes, without_body: bool) -> Head | None:
    """A whole head; None for an interim one (RFC 9110 section 15.2). Raises Malformed."""
    line = _STATUS_LINE.match(raw)
    if line is None:
        raise Malformed("the status line is not that of HTTP/1.0 or HTTP/1.1")
    status = int(line[2])
    if status == 101:
        # RFC 9110 section 15.2.2: only to an Upgrade that we sent, and we send none.
        raise Malformed("it switched protocols unasked")
    fields = _fields(raw)
    return None if status < 200 else _framed(status, fields, persistent=line[1] == b"1", without_body=without_body)


# An upstream says much the same from call to call: of most heads only the date changes, once a second.
_known_head = lru_cache(maxsize=512)(_read_head)


def _fields(raw: bytes) -> tuple[tuple[bytes, bytes], ...]:
    fields = _Fields()
    try:
        httptools.HttpResponseParser(fields).feed_data(raw)
    except httptools.HttpParserError as exc:
        raise _wrong_syntax(exc) from exc
    if len(fields.found) > HEADERS_LIMIT:
        raise Malformed("it has too many header fields")
    return tuple(fields.found)


def _framed(status: int, fields: tuple[tuple[bytes, bytes], ...], *, persistent: bool, without_body: bool) -> Head:
    framing = [(name.lower(), value) for name, value in fields if name.lower() in _FRAMING]
    lengths = [value for name, value in framing if name == b"content-length"]
    codings = [value.lower() for name, value in framing if name == b"transfer-encoding"]
    closing = any(name == b"connection" and b"close" in _members(value) for name, value in framing)
    length = _checked_length(lengths, codings, persistent=persistent)
    reusable = persistent and not closing
    body: Body = "until-close"
    if without_body or status in (204, 304):
        # A 204 that announces a body may yet send one (RFC 9112 section 6.3 rule 1): nothing is read after it.
        reusable = reusable and not (status == 204 and (codings or length))
        body = "none"
    elif codings:
        body = "chunked"
    elif length is not None:
        body = "counted"
    elif reusable:
        raise Malformed("it does not say where its body ends")
    counted = length if body == "counted" and length else 0
    return Head(status=status, headers=fields, body=body, length=counted, reusable=reusable)


def _checked_length(lengths: list[bytes], codings: list[bytes], *, persistent: bool) -> int | None:
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise Malformed("its Content-Length is not one number")
    if codings and (codings != [b"chunked"] or lengths or not persistent):
        raise Malformed("its Transfer-Encoding is not simply chunked")
    return int(lengths[0]) if lengths else None


def _wrong_syntax(exc: httptools.HttpParserError) -> Malformed:
    return Malformed(f"its syntax is wrong: {exc}")


def _members(value: bytes) -> list[bytes]:
    return [member.strip().lower() for member in value.split(b",")]
