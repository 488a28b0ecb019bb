"""Finding the end of a chain again after its worker stopped, however it stopped.

A killed process leaves a torn last line, a power cut perhaps a damaged tail that was never synced: both are moved
aside, byte for byte, and the chain goes on before them. Damage to what a checkpoint already counts is no crash: such a
chain is not continued, because that would hide it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from policy.reasons import Reason
from proxy.audit import segments
from proxy.audit.chain import Tip, grown, leaf, read, root
from proxy.audit.checkpoint import Checkpoint, NoteRefused, notes, opened
from proxy.audit.redact import Facts
from proxy.audit.segments import Segment
from proxy.errors import OperatorFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Torn:
    """Bytes that were moved aside."""

    file: str
    offset: int
    length: int
    sha256: str
    kept_in: str

    @property
    def facts(self) -> Facts:
        """What the `healed` record says of them."""
        return {
            "file": self.file,
            "offset": self.offset,
            "length": self.length,
            "sha256": self.sha256,
            "kept_in": self.kept_in,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Where a chain goes on."""

    tip: Tip = field(default_factory=Tip)
    segment: int | None = None
    """`first` of the file to append to; None: there is no file yet."""
    offset: int = 0
    torn: tuple[Torn, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replayed:
    tip: Tip
    offset: int
    """Behind the last line that stands."""


def recover(directory: Path, *, chain: str, checkpoint: Checkpoint | None) -> Recovered:
    """The end of the chain, with what was torn moved aside.

    Raises OperatorFault if checkpointed records are damaged, and OSError.
    """
    counted = checkpoint.size if checkpoint else 0
    torn: list[Torn] = []
    for segment in reversed(segments.of_chain(directory)):
        replayed = _replay(segment, chain=chain, checkpoint=checkpoint)
        if (replayed.tip.size if replayed else segment.first) < counted:
            raise _damaged(directory, f"{segment.path.name} no longer holds all {counted} records that were counted")
        offset = replayed.offset if replayed else 0
        if segment.path.stat().st_size > offset:
            torn.append(_moved_aside(segment.path, offset))
        if replayed:
            return Recovered(tip=replayed.tip, segment=segment.first, offset=offset, torn=tuple(torn))
        segment.path.unlink()
    if counted:
        raise _damaged(directory, f"the {counted} records that were counted are gone")
    return Recovered(torn=tuple(torn))


def last_checkpoint(directory: Path, *, key: Ed25519PublicKey) -> Checkpoint | None:
    """What the newest checkpoint states. A torn last note is moved aside. Raises OperatorFault, OSError."""
    path = directory / segments.CHECKPOINTS
    if not path.exists():
        return None
    written = path.read_bytes()
    text = written.decode("utf-8", "surrogateescape")
    newest, end = None, 0
    try:
        for note in notes(text):
            newest, end = note, end + len(note.encode("utf-8", "surrogateescape")) + 1
    except NoteRefused as exc:
        # A write that was cut off lacks its end; anything else was changed.
        if written.endswith(b"\n\n"):
            raise _damaged(directory, "its checkpoints file was changed") from exc
        _moved_aside(path, end)
    try:
        return opened(newest, key) if newest else None
    except NoteRefused as exc:
        raise _damaged(directory, f"its last checkpoint is not ours: {exc}") from exc


def _replay(segment: Segment, *, chain: str, checkpoint: Checkpoint | None) -> _Replayed | None:
    tip: Tip | None = None
    offset = 0
    for line in segments.lines(segment.path):
        if not line.whole:
            break
        try:
            link = read(line.raw)
        except ValueError:
            break
        if tip is None and link.edge is not None and link.seq == segment.first:
            tip = Tip(size=link.seq, last=link.prev, edge=link.edge)
        if tip is None or (link.chain, link.seq, link.prev) != (chain, tip.size, tip.last):
            break
        tip = grown(tip, (leaf(line.raw),))
        offset = line.end
        if checkpoint and tip.size == checkpoint.size and root(tip) != checkpoint.root:
            raise _damaged(segment.path.parent, "its records are not those that were checkpointed")
    return _Replayed(tip=tip, offset=offset) if tip is not None and offset else None


def _moved_aside(path: Path, offset: int) -> Torn:
    with path.open("r+b") as file:
        file.seek(offset)
        rest = file.read()
        kept = _kept_in(path, offset)
        with kept.open("xb") as aside:
            aside.write(rest)
            aside.flush()
            os.fsync(aside.fileno())
        file.truncate(offset)
        os.fsync(file.fileno())
    digest = hashlib.sha256(rest).hexdigest()
    return Torn(file=path.name, offset=offset, length=len(rest), sha256=digest, kept_in=kept.name)


def _kept_in(path: Path, offset: int) -> Path:
    attempt = 0
    while (kept := path.with_name(f"{path.name}.{offset}.{attempt}.torn")).exists():
        attempt += 1
    return kept


def _damaged(directory: Path, what: str) -> OperatorFault:
    return OperatorFault(
        Reason.LEDGER_UNAVAILABLE,
        f"Chain {directory.name} is damaged: {what}. Run `assentry audit verify`, keep the folder for whoever looks "
        "into it, and move it away; a new chain begins then.",
    )
