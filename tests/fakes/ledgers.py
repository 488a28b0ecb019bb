"""A ledger that runs for the length of a test, what verification finds of it, and a sink that can be made to fail."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from config.settings import Ledger as Settings
from connectors.sinks.port import Sink, SinkUnavailable
from policy.call import CallId
from policy.reasons import Reason
from proxy.audit import record
from proxy.audit.keys import PUBLIC_KEY, public_key
from proxy.audit.ledger import Ledger
from proxy.audit.record import Record
from proxy.audit.spool import Disk
from proxy.audit.verify import Finding, verify

PATIENCE_S = 20.0


@asynccontextmanager
async def running(
    directory: Path,
    *,
    worker: str = "w1",
    sinks: Mapping[str, Sink] | None = None,
    disk: Disk | None = None,
    **settings: Any,
) -> AsyncIterator[Ledger]:
    """The ledger, open and writing; closed at the end."""
    ledger = Ledger(Settings(**settings), directory=directory, worker=worker, sinks=sinks, disk=disk)
    async with asyncio.TaskGroup() as group:
        group.create_task(ledger.run())
        await until(lambda: ledger.ready)
        try:
            yield ledger
        finally:
            await ledger.close()


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def findings(directory: Path) -> list[Finding]:
    """Everything that verification finds wrong."""
    reports = verify(directory, key=public_key(directory / PUBLIC_KEY))
    return [finding for report in reports for finding in report.findings]


def lines(directory: Path, worker: str = "w1") -> list[bytes]:
    """Every line of a chain."""
    return [line for path in sorted((directory / worker).glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def a_record(number: int = 0) -> Record:
    """A small record that says its number."""
    return record.concluded(CallId(f"call_{number:026d}"), Reason.EXECUTED, upstream_status=200, latency_ms=1.5)


class Collector:
    """A sink that keeps what it gets, and fails while it is told to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.offered = 0
        self.broken = False
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def ship(self, lines: Sequence[bytes]) -> None:
        """Takes the lines, or not."""
        self.offered += 1
        await self.gate.wait()
        if self.broken:
            raise SinkUnavailable("told to fail")
        self.lines += lines

    async def close(self) -> None:
        """Noted."""
        self.closed = True


class FailingDisk:
    """A disk that writes and syncs really, until it is told to fail."""

    def __init__(self) -> None:
        self.write_error: int | None = None
        self.sync_error: int | None = None
        self.partial = 0
        """Bytes that still get through of a write that fails."""
        self.syncs = 0

    @property
    def disk(self) -> Disk:
        """For the spool."""
        return Disk(write=self._write, sync=self._sync)

    def _write(self, fd: int, payload: memoryview) -> int:
        if self.write_error is None:
            return os.write(fd, payload)
        if self.partial:
            sent, self.partial = os.write(fd, payload[: self.partial]), 0
            return sent
        raise OSError(self.write_error, os.strerror(self.write_error))

    def _sync(self, fd: int) -> None:
        self.syncs += 1
        if self.sync_error is not None:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        os.fsync(fd)


EIO, ENOSPC = errno.EIO, errno.ENOSPC
