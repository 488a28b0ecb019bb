"""Doubting a ledger: whether every record is there, unchanged, in order, and as many as the checkpoints count.

Offline and read-only: it needs the directory and, better from elsewhere, the public key and a checkpoint that a sink
kept. Says exactly what is wrong, in which file, at which line; repairs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from proxy.audit import segments
from proxy.audit.chain import Link, Tip, grown, leaf, read, root
from proxy.audit.checkpoint import Checkpoint, NoteRefused, notes, opened, origin
from proxy.audit.segments import Line, Segment

MOST_FINDINGS = 100
"""Findings reported of one chain; a file that is not ours at all would give one a line."""


class Fault(StrEnum):
    """What may be wrong."""

    TORN = "torn"
    UNREADABLE = "unreadable"
    EDITED = "edited"
    REMOVED = "removed"
    REPEATED = "repeated"
    REORDERED = "reordered"
    FORKED = "forked"
    FOREIGN = "foreign"
    TRUNCATED = "truncated"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, and where."""

    fault: Fault
    file: Path
    line: int
    """From 1; 0: the file as a whole."""
    seq: int
    """The record it concerns, or the first of them."""
    detail: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.fault.value}: record {self.seq}: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What was found of one chain."""

    chain: str
    records: int
    checkpoints: int
    counted: int
    """Records that the newest valid checkpoint counts; later ones are bound to their neighbours only."""
    findings: tuple[Finding, ...]
    writing: bool
    """A process is writing it now."""


@dataclass(slots=True)
class _Doubts:
    """What is known while a chain is read. The one mutable value here, because a chain may not fit into memory."""

    directory: Path
    stated: Mapping[int, Checkpoint]
    findings: list[Finding] = field(default_factory=list)
    tip: Tip = field(default_factory=Tip)
    whole: bool = True
    """No record was missing or changed so far, so that roots can be compared."""
    before: Line | None = None
    before_prev: str = ""
    noted: list[tuple[Line, Path, Link]] = field(default_factory=list)

    def find(self, fault: Fault, file: Path, line: int, detail: str, *, seq: int | None = None) -> None:
        self.whole = self.whole and fault in (Fault.CHECKPOINT, Fault.TORN)
        if len(self.findings) < MOST_FINDINGS:
            place = self.tip.size if seq is None else seq
            self.findings.append(Finding(fault=fault, file=file, line=line, seq=place, detail=detail))


def verify(directory: Path, *, key: Ed25519PublicKey, witnessed: Iterable[str] = ()) -> tuple[ChainReport, ...]:
    """A report for every chain below the directory. `witnessed`: notes that were kept elsewhere. Raises OSError."""
    kept = tuple(witnessed)
    named = {path.name: path for path in segments.chains(directory)}
    lost = _lost_chains(directory, kept, known=frozenset(named), key=key)
    return (*(_verified(path, key=key, witnessed=kept) for path in named.values()), *lost)


def _verified(directory: Path, *, key: Ed25519PublicKey, witnessed: tuple[str, ...]) -> ChainReport:
    writing = _is_being_written(directory)
    # Read first: what is checkpointed now is in the files when they are read.
    doubts = _Doubts(directory=directory, stated={})
    doubts.stated = _stated(doubts, key=key, witnessed=witnessed)
    for segment in segments.of_chain(directory):
        _read_segment(doubts, segment, writing=writing)
    _check_tail(doubts)
    _check_notes(doubts, key=key)
    return ChainReport(
        chain=directory.name,
        records=doubts.tip.size,
        checkpoints=len(doubts.stated),
        counted=max(doubts.stated, default=0),
        findings=tuple(doubts.findings),
        writing=writing,
    )


def _stated(doubts: _Doubts, *, key: Ed25519PublicKey, witnessed: tuple[str, ...]) -> dict[int, Checkpoint]:
    path = doubts.directory / segments.CHECKPOINTS
    stated: dict[int, Checkpoint] = {}
    latest = 0
    for number, note in _kept_notes(doubts, path):
        checkpoint = _opened(doubts, path, number, note, key=key)
        if checkpoint is None:
            continue
        if checkpoint.size < latest:
            doubts.find(Fault.CHECKPOINT, path, number, "checkpoints are out of order", seq=checkpoint.size)
        latest = max(latest, checkpoint.size)
        _state(doubts, path, stated, checkpoint)
    for note in witnessed:
        if note.split("\n", 1)[0] == origin(doubts.directory.name):
            checkpoint = _opened(doubts, path, 0, note, key=key)
            if checkpoint is not None:
                _state(doubts, path, stated, checkpoint)
    return stated


def _state(doubts: _Doubts, path: Path, stated: dict[int, Checkpoint], checkpoint: Checkpoint) -> None:
    if stated.setdefault(checkpoint.size, checkpoint) != checkpoint:
        detail = "two signed checkpoints of this size have different roots: the chain was forked"
        doubts.find(Fault.FORKED, path, 0, detail, seq=checkpoint.size)


def _kept_notes(doubts: _Doubts, path: Path) -> Iterator[tuple[int, str]]:
    if not path.exists():
        return
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    number = 0
    try:
        for number, note in enumerate(notes(text), start=1):
            yield number, note
    except NoteRefused as exc:
        doubts.find(Fault.CHECKPOINT, path, number + 1, f"note {number + 1}: {exc}")


def _whole_notes(path: Path) -> Iterator[str]:
    # Read again: a note may have come since the first reading. What is malformed was reported then.
    with contextlib.suppress(NoteRefused, FileNotFoundError):
        yield from notes(path.read_bytes().decode("utf-8", "surrogateescape"))


def _opened(doubts: _Doubts, path: Path, number: int, note: str, *, key: Ed25519PublicKey) -> Checkpoint | None:
    try:
        checkpoint = opened(note, key)
    except NoteRefused as exc:
        doubts.find(Fault.CHECKPOINT, path, number, f"note {number}: {exc}")
        return None
    if checkpoint.origin != origin(doubts.directory.name):
        doubts.find(Fault.CHECKPOINT, path, number, f"note {number} is of another chain, {checkpoint.origin!r}")
        return None
    return checkpoint


def _read_segment(doubts: _Doubts, segment: Segment, *, writing: bool) -> None:
    if segment.first != doubts.tip.size:
        _find_jump(doubts, segment.path, 0, segment.first)
        doubts.tip = Tip(size=segment.first, last="", edge=())
    for line in segments.lines(segment.path):
        if line.whole:
            _read_line(doubts, segment, line)
        elif not writing:
            detail = "the last line has no end: a crash (the next start heals that), or somebody cut it"
            doubts.find(Fault.TORN, segment.path, line.number, detail)


def _read_line(doubts: _Doubts, segment: Segment, line: Line) -> None:
    try:
        link = read(line.raw)
    except ValueError:
        doubts.find(Fault.UNREADABLE, segment.path, line.number, "this line is not a record")
        doubts.tip, doubts.before = Tip(size=doubts.tip.size + 1, last=leaf(line.raw).hex()), None
        return
    _check_place(doubts, segment, line, link)
    _check_edge(doubts, segment, line, link)
    follows = doubts.tip if link.seq == doubts.tip.size else Tip(size=link.seq)
    doubts.tip = grown(follows, (leaf(line.raw),)) if doubts.whole else _unrooted(link, line)
    doubts.before, doubts.before_prev = line, link.prev
    if link.note is not None:
        doubts.noted.append((line, segment.path, link))
    _check_root(doubts, segment, line)


def _unrooted(link: Link, line: Line) -> Tip:
    return Tip(size=link.seq + 1, last=leaf(line.raw).hex())


def _check_place(doubts: _Doubts, segment: Segment, line: Line, link: Link) -> None:
    path, tip = segment.path, doubts.tip
    if link.chain != doubts.directory.name:
        doubts.find(Fault.FOREIGN, path, line.number, f"it belongs to chain {link.chain!r}", seq=link.seq)
    if doubts.before is not None and doubts.before.raw == line.raw:
        doubts.find(Fault.REPEATED, path, line.number, "the line before stands here again", seq=link.seq)
    elif link.seq == tip.size - 1 and link.prev == doubts.before_prev:
        detail = "it follows the same record as the line before: the chain was forked"
        doubts.find(Fault.FORKED, path, line.number, detail, seq=link.seq)
    elif link.seq != tip.size:
        _find_jump(doubts, path, line.number, link.seq)
    elif tip.last and link.prev != tip.last:
        detail = "it was changed after it was written: the record that follows names another hash"
        doubts.find(Fault.EDITED, path, max(1, line.number - 1), detail, seq=max(0, link.seq - 1))


def _find_jump(doubts: _Doubts, path: Path, number: int, seq: int) -> None:
    expected = doubts.tip.size
    if seq > expected:
        doubts.find(Fault.REMOVED, path, number, f"records {expected} to {seq - 1} are not here", seq=expected)
    else:
        doubts.find(Fault.REORDERED, path, number, f"record {expected} should stand here", seq=seq)


def _check_edge(doubts: _Doubts, segment: Segment, line: Line, link: Link) -> None:
    if (line.number == 1) != (link.edge is not None):
        detail = "a file begins with a segment record, and no other line is one"
        doubts.find(Fault.FOREIGN, segment.path, line.number, detail, seq=link.seq)
    elif link.edge is not None and doubts.whole and link.edge != doubts.tip.edge:
        detail = "its edge is not that of the records before it"
        doubts.find(Fault.EDITED, segment.path, line.number, detail, seq=link.seq)


def _check_root(doubts: _Doubts, segment: Segment, line: Line) -> None:
    checkpoint = doubts.stated.get(doubts.tip.size)
    if doubts.whole and checkpoint is not None and root(doubts.tip) != checkpoint.root:
        detail = (
            f"the checkpoint over {checkpoint.size} records has another root: since the checkpoint before it, a record "
            "was changed and the rest of the chain made to fit"
        )
        doubts.find(Fault.EDITED, segment.path, line.number, detail, seq=doubts.tip.size - 1)


def _check_tail(doubts: _Doubts) -> None:
    counted = max(doubts.stated, default=0)
    if counted > doubts.tip.size:
        existing = segments.of_chain(doubts.directory)
        path = existing[-1].path if existing else doubts.directory
        detail = f"a checkpoint counts {counted} records, and only {doubts.tip.size} are here: the tail was cut off"
        doubts.find(Fault.TRUNCATED, path, doubts.before.number if doubts.before else 0, detail)


def _check_notes(doubts: _Doubts, *, key: Ed25519PublicKey) -> None:
    """Each checkpoint that the chain itself carries must be in the checkpoints file."""
    path = doubts.directory / segments.CHECKPOINTS
    kept = frozenset(_whole_notes(path))
    for line, file, link in doubts.noted:
        note = link.note or ""
        if _opened(doubts, file, line.number, note, key=key) and note not in kept:
            detail = "its checkpoint is missing from the checkpoints file"
            doubts.find(Fault.CHECKPOINT, file, line.number, detail, seq=link.seq)


def _lost_chains(
    directory: Path, witnessed: tuple[str, ...], *, known: frozenset[str], key: Ed25519PublicKey
) -> Iterator[ChainReport]:
    prefix = origin("")
    for path in sorted(path for path in directory.iterdir() if path.is_dir() and path.name not in known):
        if (path / segments.CHECKPOINTS).exists():
            yield _verified(path, key=key, witnessed=witnessed)
    named = {note.split("\n", 1)[0].removeprefix(prefix) for note in witnessed if note.startswith(prefix)}
    for chain in sorted(name for name in named if not (directory / name).exists()):
        finding = Finding(
            fault=Fault.TRUNCATED, file=directory / chain, line=0, seq=0, detail="the whole chain is missing"
        )
        yield ChainReport(chain=chain, records=0, checkpoints=0, counted=0, findings=(finding,), writing=False)


def _is_being_written(directory: Path) -> bool:
    try:
        with (directory / segments.LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
