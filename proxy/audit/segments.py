"""The files of a chain: their names, their lines, and reading on from a place in them.

Read-only, and in no opinion about what the lines say: `recovery` and `verify` judge them, `spool` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(\d{16})\.jsonl")
CHECKPOINTS = "checkpoints"
LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file of a chain."""

    path: Path
    first: int
    """`seq` of its first record, which its name says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a file, without its newline."""

    raw: bytes
    number: int
    """From 1."""
    offset: int
    whole: bool
    """False: the newline is missing."""

    @property
    def end(self) -> int:
        """Offset of the byte after it."""
        return self.offset + len(self.raw) + self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place between two records."""

    segment: int
    """`first` of the segment it is in."""
    offset: int
    seq: int
    """`seq` of the record that comes next."""


BEGINNING = Place(segment=0, offset=0, seq=0)


def path_of(directory: Path, first: int) -> Path:
    """Where the segment that begins with this `seq` is kept."""
    return directory / f"{first:016d}.jsonl"


def of_chain(directory: Path) -> tuple[Segment, ...]:
    """All segments of a chain, in order."""
    named = ((path, _NAME.fullmatch(path.name)) for path in directory.iterdir())
    return tuple(sorted((Segment(path=p, first=int(m.group(1))) for p, m in named if m), key=lambda s: s.first))


def chains(directory: Path) -> tuple[Path, ...]:
    """The folders below a ledger's directory that hold a chain."""
    return tuple(sorted(path for path in directory.iterdir() if path.is_dir() and of_chain(path)))


def lines(path: Path) -> Iterator[Line]:
    """Every line, split at the newline byte and nowhere else."""
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            whole = raw.endswith(b"\n")
            yield Line(raw=raw[:-1] if whole else raw, number=number, offset=offset, whole=whole)
            offset += len(raw)


def read_on(directory: Path, start: Place, until: Place, *, limit_bytes: int) -> tuple[tuple[bytes, ...], Place]:
    """The next whole lines (with newlines) from `start`, at least one if there is one before `until`; the place after.

    Raises OSError, and LookupError where the place is in no file.
    """
    place = start
    while place.seq < until.seq:
        end = until.offset if place.segment == until.segment else None
        found = _lines_from(path_of(directory, place.segment), place.offset, end=end, limit_bytes=limit_bytes)
        if found:
            size = sum(len(line) for line in found)
            after = Place(segment=place.segment, offset=place.offset + size, seq=place.seq + len(found))
            return found, after
        if place.segment == until.segment or not path_of(directory, place.seq).exists():
            raise LookupError(f"record {place.seq} of {directory.name} is not where it should be")
        place = Place(segment=place.seq, offset=0, seq=place.seq)
    return (), place


def _lines_from(path: Path, offset: int, *, end: int | None, limit_bytes: int) -> tuple[bytes, ...]:
    found: list[bytes] = []
    with path.open("rb") as file:
        file.seek(offset)
        size = 0
        for line in file:
            offset += len(line)
            if not line.endswith(b"\n") or (end is not None and offset > end):
                break
            found.append(line)
            size += len(line)
            if size >= limit_bytes:
                break
    return tuple(found)
