"""Carries a response from the task that sends a released call to the connection that may or may not still listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from proxy.upstream.pool import BrokeOff

_DEPTH = 8
"""Chunks in flight: enough to keep both sides busy, little enough that a slow agent slows the upstream down."""


class Pipe:
    """A bounded, one-way stream of chunks whose reader may leave at any time without stopping the writer."""

    def __init__(self, *, attended: bool) -> None:
        self.attended = attended
        """Whether anybody still reads."""
        self._chunks: asyncio.Queue[bytes | BrokeOff | None] = asyncio.Queue(_DEPTH)

    async def put(self, chunk: bytes) -> None:
        """Pass a chunk on, waiting while the reader is slow; dropped when nobody reads."""
        if self.attended:
            await self._chunks.put(chunk)

    async def end(self, fault: BrokeOff | None) -> None:
        """Close the stream: cleanly, or with what broke it off."""
        if self.attended:
            await self._chunks.put(fault)

    def abandon(self) -> None:
        """Stop reading. A writer that waits goes on at once."""
        self.attended = False
        while not self._chunks.empty():
            self._chunks.get_nowait()

    async def leave(self) -> None:
        """The same, as the ending of a stream that was never begun."""
        self.abandon()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Every chunk up to the end. Raises BrokeOff where the upstream broke off."""
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, BrokeOff):
                raise chunk
            yield chunk
