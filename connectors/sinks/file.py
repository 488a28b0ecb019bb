"""Ledger records in a file of their own, perhaps on another volume, perhaps shared by several workers."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from connectors.sinks.port import SinkUnavailable


class AppendedFile:
    """Appends whole batches under a lock; a batch that does not fit leaves nothing behind.

    The file is opened for every batch, so that it may be rotated away at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ship(self, lines: Sequence[bytes]) -> None:
        """See the port. The lines are on the disk when it returns."""
        await asyncio.to_thread(self._append, b"".join(lines))

    async def close(self) -> None:
        """Nothing is held open."""

    def _append(self, payload: bytes) -> None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                _append_whole(fd, payload)
            finally:
                os.close(fd)
        except OSError as exc:
            raise SinkUnavailable(f"{self._path}: {exc.strerror}") from exc


def _append_whole(fd: int, payload: bytes) -> None:
    size = os.fstat(fd).st_size
    # A worker that was killed in the middle of a line must not spoil the next one.
    torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    rest = b"\n" + payload if torn else payload
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise
