"""Server-sent events (HTML Living Standard, section 9.2), read without guessing and written in one form.

A stream is taken apart and put together again, so that its reader cannot find another event in it than was looked at.
Comments do not travel as they are: they say nothing but that there is a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A CR at the end of what there is may be half of a CRLF."""
_BREAK = re.compile(r"\r\n|\n|\r")
_ID = re.compile(r"[\x20-\x7e]{0,512}")
_RETRY = re.compile(r"[0-9]{1,8}")
_BOM = b"\xef\xbb\xbf"


class TooLong(Exception):
    """An event is longer than any that is read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the kind `message`."""

    data: str
    id: str | None = None
    retry: str | None = None
    """Milliseconds after which a client that lost the stream comes back."""

    def written(self) -> bytes:
        """The event on the wire."""
        lines = [f"id: {self.id}"] if self.id is not None else []
        lines += [f"retry: {self.retry}"] if self.retry is not None else []
        lines += ["event: message", *(f"data: {line}" for line in _BREAK.split(self.data))]
        return ("\n".join(lines) + "\n\n").encode("utf-8")


class Events:
    """A stream as it comes in."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = bytearray()
        self._begun = False
        self._size = 0
        self._lines: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that end in this chunk. Raises TooLong, and UnicodeDecodeError for what is not UTF-8."""
        ends = b"\n" in chunk or b"\r" in chunk or self._held.endswith(b"\r")
        self._held += chunk
        if not ends and self._begun:
            self._check(len(self._held))
            return
        if not self._begun and len(self._held) >= len(_BOM):
            self._begun = True
            if self._held.startswith(_BOM):
                del self._held[: len(_BOM)]
        *lines, rest = _LINE_END.split(bytes(self._held))
        self._held = bytearray(rest)
        for line in lines:
            if line:
                self._add(line)
            elif (event := self._ended()) is not None:
                yield event
        self._check(len(self._held))

    def _add(self, line: bytes) -> None:
        self._size += len(line)
        self._check(0)
        self._lines.append(line)

    def _check(self, more: int) -> None:
        if self._size + more > self._limit:
            raise TooLong

    def _ended(self) -> Event | None:
        lines, self._lines, self._size = self._lines, [], 0
        return _event([line.decode("utf-8") for line in lines])


def comment(words: str) -> bytes:
    """A line that says that the stream is alive, and nothing to its reader."""
    return f": {words}\n\n".encode("ascii")


def _event(lines: list[str]) -> Event | None:
    fields: dict[str, str] = {}
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        else:
            fields[name] = value
    # An event of another kind is none of this protocol's; the old transport's `endpoint` would lead clients elsewhere.
    if fields.get("event", "message") not in ("", "message"):
        return None
    ident, retry = fields.get("id"), fields.get("retry")
    ident = ident if ident is not None and _ID.fullmatch(ident) else None
    retry = retry if retry is not None and _RETRY.fullmatch(retry) else None
    if not data and ident is None and retry is None:
        return None
    return Event(data="\n".join(data), id=ident, retry=retry)
