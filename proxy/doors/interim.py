"""Breaks the silence of held calls: interim responses, again and again, to clients that are known to take them.

Which clients those are is `proxy.doors.clients`' to say, and whether the route allows it was decided with the client's
patience. Here only the writing: nothing once the answer itself begins, nothing to a client that does not read, and one
timer for all, because ten thousand calls may be held at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from proxy.doors.arrival import Patience
from proxy.doors.connection import Connection
from proxy.doors.replies import INTERIMS
from proxy.holds.alarms import Alarms

_SHARE: Final = 3
"""A client that bears a little silence hears of us so often in that time: one interim response may come late."""
_SHORTEST_S = 0.2
"""Nobody is written to more often, whatever is announced."""


class Interims:
    """The interim responses of one door."""

    def __init__(self, *, every_s: float) -> None:
        self._every_s = every_s
        self._alarms = Alarms()

    def during(self, connection: Connection, patience: Patience) -> AbstractContextManager[None]:
        """While the block lasts, the client hears of us; nothing is written for it after that."""
        if patience.interim is None:
            return nullcontext()
        bears_s = patience.wait_s if patience.wait_s is not None else self._every_s * _SHARE
        every_s = max(_SHORTEST_S, min(self._every_s, bears_s / _SHARE))
        return _Sounding(connection, INTERIMS[patience.interim], every_s=every_s, alarms=self._alarms)


class _Sounding:
    """One held call's. A class, because a generator of each wait weighs more."""

    __slots__ = ("_alarms", "_connection", "_every_s", "_response")

    def __init__(self, connection: Connection, response: bytes, *, every_s: float, alarms: Alarms) -> None:
        self._connection: Connection | None = connection
        self._response = response
        self._every_s = every_s
        self._alarms = alarms

    def __enter__(self) -> None:
        self._alarms.ring_in(self._every_s, self._sound)

    def __exit__(self, *_: object) -> None:
        # INVARIANT: from here on nothing interim is written, so the head of the answer comes after all of it.
        self._connection = None

    def _sound(self) -> None:
        transport = self._connection.transport if self._connection is not None else None
        if transport is None or transport.is_closing():
            return
        if not transport.get_write_buffer_size():
            transport.write(self._response)
        self._alarms.ring_in(self._every_s, self._sound)
