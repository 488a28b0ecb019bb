"""How long a connection may take to send a head. What becomes of one that takes longer is the connection's business."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Owing(Protocol):
    """A connection on which a head is due."""

    def out_of_time(self) -> None:
        """The head has not come."""
        ...


class HeadClock:
    """One sweep over all connections that owe a head, instead of a timer for each.

    All deadlines are equally far away, so connections stand in the order in which they run out.
    """

    def __init__(self, *, timeout_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self._timeout_s = timeout_s
        self._loop = loop
        self._deadlines: dict[Owing, float] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def start(self, connection: Owing) -> None:
        """From now the head must be complete in time. Asked again before that, changes nothing."""
        self._deadlines.setdefault(connection, self._loop.time() + self._timeout_s)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._timeout_s / 4, self._sweep)

    def stop(self, connection: Owing) -> None:
        """The head is there."""
        self._deadlines.pop(connection, None)

    def end(self) -> None:
        """Sweeps no more."""
        self._deadlines.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep(self) -> None:
        now = self._loop.time()
        late = []
        for connection, deadline in self._deadlines.items():
            if deadline > now:
                break
            late.append(connection)
        for connection in late:
            self.stop(connection)
            connection.out_of_time()
        self._sweeping = self._loop.call_later(self._timeout_s / 4, self._sweep) if self._deadlines else None
