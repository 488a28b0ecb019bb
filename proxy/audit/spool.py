"""One chain on one disk: appends that happen wholly or not at all, syncs, new files when a file is full.

Blocking, and called from the ledger's threads: one that appends, one that syncs; only `append_at_once` is called from
the loop's own. Whatever the disk refuses becomes an
`Outage`, and the next attempt begins by putting right what the last one left. Who waits for what is `ledger`'s.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from policy.reasons import Reason
from proxy.audit import segments
from proxy.audit.chain import Entry, Stamped, Tip, root, string
from proxy.audit.checkpoint import Checkpoint, origin, signed
from proxy.audit.record import Kind
from proxy.audit.recovery import last_checkpoint, recover
from proxy.audit.redact import Facts, Redactor
from proxy.audit.segments import Place
from proxy.errors import AssentryError, OperatorFault, Outage

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The calls that a disk fails with, and the time they take. Given from outside: a bad disk can be stood in for."""

    write: Callable[[int, memoryview], int] = os.write
    sync: Callable[[int], None] = field(default=getattr(os, "fdatasync", os.fsync))
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


class _End(NamedTuple):
    """Where the chain ends, in one value: a thread that reads it never sees half of a change."""

    tip: Tip
    segment: int
    offset: int

    @property
    def place(self) -> Place:
        return Place(segment=self.segment, offset=self.offset, seq=self.tip.size)


class Spool:
    """The open end of a chain. One process at a time: a lock file says so."""

    def __init__(self, directory: Path, *, key: Ed25519PrivateKey, redactor: Redactor, segment_bytes: int) -> None:
        self.chain = directory.name
        self._directory = directory
        self._key = key
        self._redactor = redactor
        self._segment_bytes = segment_bytes
        self._disk = Disk()
        # Order of taking: appending, then syncing. Only what changes the file descriptor takes both.
        self._appending = Lock()
        self._syncing = Lock()
        self._lock_fd = self._fd = -1
        self._end = _End(Tip(), 0, 0)
        self._durable = segments.BEGINNING
        self._broken = False
        self._checkpointed = 0

    @property
    def size(self) -> int:
        """Records in the chain."""
        return self._end.tip.size

    @property
    def checkpointed(self) -> int:
        """Records that the newest checkpoint counts."""
        return self._checkpointed

    def open(self, *, now: float, disk: Disk | None = None) -> None:
        """Takes the chain's lock, heals what a crash left, and stands ready. Raises OperatorFault, Outage."""
        self._disk = disk or self._disk
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = lock(self._directory)
            self._recover(now)
        except OSError as exc:
            self._release()
            raise _outage(exc) from exc
        except AssentryError:
            self._release()
            raise

    def append(self, entries: Sequence[Stamped]) -> bytes:
        """The entries as lines of the chain, all of them, in the operating system's hands.

        Raises Outage, and then none of them is in the chain.
        """
        try:
            with self._appending:
                self._mend()
                if self._end.offset >= self._segment_bytes:
                    self._begin_segment(entries[0][1])
                return self._put(entries)
        except OSError as exc:
            raise _outage(exc) from exc

    def append_at_once(self, entries: Sequence[Stamped]) -> bytes | None:
        """As `append`, but None, and nothing is done, where it might wait: for a new file, for mending, for a sync.

        A file system may let a write wait until a sync of the same file is over.
        """
        if self._broken or self._end.offset >= self._segment_bytes or self._syncing.locked():
            return None
        if not self._appending.acquire(blocking=False):
            return None
        try:
            return self._put(entries)
        except OSError as exc:
            raise _outage(exc) from exc
        finally:
            self._appending.release()

    def sync(self) -> Place:
        """The place up to which every record survives a power cut. Raises Outage."""
        try:
            if self._broken:
                with self._appending:
                    self._mend()
            self._sync_end()
        except OSError as exc:
            raise _outage(exc) from exc
        return self._durable

    def checkpoint(self) -> str:
        """A signed note over every record so far, kept in the checkpoints file. Raises Outage."""
        tip = self._end.tip
        self.sync()  # INVARIANT: a checkpoint never counts what a power cut could take back.
        stated = Checkpoint(origin=origin(self.chain), size=tip.size, root=root(tip))
        note = signed(stated, self._key)
        try:
            self._keep_note(note)
        except OSError as exc:
            raise _outage(exc) from exc
        self._checkpointed = tip.size
        return note

    def close(self) -> None:
        """Lets go of the chain. What was not synced is left to the operating system."""
        with self._appending, self._syncing:
            self._release()

    def _recover(self, now: float) -> None:
        counted = last_checkpoint(self._directory, key=self._key.public_key())
        self._checkpointed = counted.size if counted else 0
        found = recover(self._directory, chain=self.chain, checkpoint=counted)
        self._end = _End(found.tip, 0, 0)
        if found.segment is None:
            self._begin_segment(now)
        else:
            self._end = _End(found.tip, found.segment, found.offset)
            self._fd = os.open(segments.path_of(self._directory, found.segment), _APPEND, 0o600)
        for torn in found.torn:
            self._put([self._own(Kind.HEALED, torn.facts, now)])
        self._sync_end()

    def _put(self, entries: Sequence[Stamped]) -> bytes:
        self._check_file()
        end = self._end
        strung = string(end.tip, entries, chain=self.chain)
        try:
            self._write(self._fd, strung.payload)
        except OSError:
            self._cut_back()
            raise
        self._end = _End(strung.tip, end.segment, end.offset + len(strung.payload))
        return strung.payload

    def _write(self, fd: int, payload: bytes) -> None:
        rest = memoryview(payload)
        while (done := self._disk.write(fd, rest)) < len(rest):
            rest = rest[done:]

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._end.offset)
        except OSError:
            self._broken = True

    def _check_file(self) -> None:
        kept = os.fstat(self._fd)
        if kept.st_nlink == 0 or kept.st_size != self._end.offset:
            raise OSError(f"the file of chain {self.chain} was changed or removed by somebody else")

    def _sync_end(self) -> None:
        with self._syncing:
            # Read before the sync begins: what is appended meanwhile may or may not be covered.
            reached = self._end.place
            if reached == self._durable:
                return
            try:
                self._disk.sync(self._fd)
            except OSError:
                self._broken = True
                raise
            self._durable = reached

    def _mend(self) -> None:
        """After a failed write or sync: the file ends at the last record, and what was unsynced is written again.

        The kernel reports a failed sync once and then counts the pages as clean: only writing them again makes the
        next sync mean something.
        """
        if not self._broken:
            return
        end = self._end.place
        synced = self._durable.offset if self._durable.segment == end.segment else 0
        path = segments.path_of(self._directory, end.segment)
        with self._syncing, path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < end.offset:
                raise OSError(f"records of chain {self.chain} are gone from {path.name}")
            file.truncate(end.offset)
            file.seek(synced)
            unsynced = file.read(end.offset - synced)
            file.seek(synced)
            file.write(unsynced)
            file.flush()
            self._disk.sync(file.fileno())
            self._durable = end
            self._broken = False

    def _begin_segment(self, at: float) -> None:
        tip = self._end.tip
        head = self._own(Kind.SEGMENT, {"edge": [digest.hex() for digest in tip.edge]}, at)
        strung = string(tip, [head], chain=self.chain)
        if self._fd >= 0:
            self._sync_end()
        # Whatever is in a file of this name was never acknowledged: its first record is only now written.
        fd = os.open(segments.path_of(self._directory, tip.size), _APPEND | os.O_TRUNC, 0o600)
        try:
            self._write(fd, strung.payload)
            self._disk.sync(fd)
            self._sync_directory()
        except OSError:
            os.close(fd)
            raise
        with self._syncing:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = fd
            self._end = _End(strung.tip, tip.size, len(strung.payload))
            self._durable = self._end.place

    def _own(self, kind: Kind, facts: Facts, at: float) -> Entry:
        return Entry(json=self._redactor.encode({"kind": kind.value, **facts}), at=at)

    def _keep_note(self, note: str) -> None:
        fd = os.open(self._directory / segments.CHECKPOINTS, _APPEND, 0o600)
        try:
            before = os.fstat(fd).st_size
            try:
                self._write(fd, f"{note}\n".encode())
                self._disk.sync(fd)
            except OSError:
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)

    def _sync_directory(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _release(self) -> None:
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1


def lock(directory: Path) -> int:
    """The handle that keeps every other process off this chain until it is closed. Raises OperatorFault, OSError."""
    fd = os.open(directory / segments.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise OperatorFault(
            Reason.LEDGER_UNAVAILABLE, f"Chain {directory.name} is being written by another process."
        ) from exc
    return fd


def _outage(exc: OSError) -> Outage:
    return Outage(Reason.LEDGER_UNAVAILABLE, f"The ledger cannot be written ({exc.strerror or exc}). Nothing was sent.")
