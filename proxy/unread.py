"""A stream that ends properly also when nobody ever began to read it.

An async generator that was never begun runs no `finally` when it is closed. Whoever was to read an answer may leave
before its first piece, and an answer without a body is never read at all; what has to happen at the end (a record, a
connection given up) must happen then too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType


class Ended(AsyncGenerator[bytes, None]):
    """The pieces of a generator that has an ending of its own, and `unread` as the ending of one never begun."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], *, unread: Callable[[], Awaitable[None]]) -> None:
        self._pieces = pieces
        self._unread = unread
        self._begun = False

    async def asend(self, value: None) -> bytes:
        """The next piece."""
        self._begun = True
        return await self._pieces.asend(value)

    async def athrow(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        trace: TracebackType | None = None,
    ) -> bytes:
        """The fault, at the point where the stream is."""
        self._begun = True
        fault = kind if isinstance(kind, BaseException) else kind(value) if value is not None else kind()
        return await self._pieces.athrow(fault.with_traceback(trace) if trace else fault)

    async def aclose(self) -> None:
        """Ends the stream; the first time, with the ending it is due."""
        begun, self._begun = self._begun, True
        try:
            if not begun:
                await self._unread()
        finally:
            await self._pieces.aclose()
