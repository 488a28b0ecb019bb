"""Ledger records on standard output, for whoever collects the output of containers."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator, Sequence

from connectors.sinks.port import SinkUnavailable

_ATOMIC_BYTES = 4096
"""PIPE_BUF on Linux: writes up to this size are whole, and never block after POLLOUT."""


class StandardOutput:
    """Writes lines to a file descriptor and never waits longer than `timeout_s` for its reader."""

    def __init__(self, *, timeout_s: float, fd: int = 1) -> None:
        self._timeout_s = timeout_s
        self._fd = fd

    async def ship(self, lines: Sequence[bytes]) -> None:
        """See the port. A reader that does not read is SinkUnavailable after the timeout."""
        await asyncio.to_thread(self._write, lines)

    async def close(self) -> None:
        """Nothing to let go of: the descriptor is the process's."""

    def _write(self, lines: Sequence[bytes]) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            for chunk in _chunks(lines):
                rest = chunk
                while rest:
                    if not poll.poll(self._timeout_s * 1000):
                        raise SinkUnavailable("nobody reads standard output")
                    rest = rest[os.write(self._fd, rest) :]
        except OSError as exc:
            raise SinkUnavailable(f"standard output: {exc.strerror}") from exc


def _chunks(lines: Sequence[bytes]) -> Iterator[bytes]:
    chunk = b""
    for line in lines:
        if chunk and len(chunk) + len(line) > _ATOMIC_BYTES:
            yield chunk
            chunk = b""
        chunk += line
        while len(chunk) > _ATOMIC_BYTES:
            yield chunk[:_ATOMIC_BYTES]
            chunk = chunk[_ATOMIC_BYTES:]
    if chunk:
        yield chunk
