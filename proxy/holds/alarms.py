"""One timer of the event loop for any number of waits.

Ten thousand held calls each have a time at which they look again; a timer for each would cost more than the waiting.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count


class Alarms:
    """Rings at the times it was told. For one event loop."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        """A heap. Whoever no longer waits is rung all the same, and ignores it: nothing is searched for here."""
        self._orders = count()
        self._timer: asyncio.TimerHandle | None = None

    def ring_in(self, seconds: float, ring: Callable[[], None]) -> None:
        """Calls `ring` once, in so many seconds or a little later."""
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.0, seconds)
        heapq.heappush(self._due, (at, next(self._orders), ring))
        if self._due[0][0] == at:
            self._arm(loop)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._due[0][0], self._ring, loop) if self._due else None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        self._timer = None
        self._arm(loop)
