"""Breaks the silence of held calls: interim responses, again and again, to clients that are known to take them.

Which clients those are is `proxy.doors.clients`' to say, and whether the route allows it was decided with the client's
patience. Here only the writing: nothing once the answer itself begins, nothing to a client that does not read, and one
timer for all, because ten thousand calls may be held at once.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

from proxy.doors.arrival import Patience
from proxy.doors.connection import Connection
from proxy.doors.patience import sounding_s
from proxy.doors.replies import INTERIMS
from proxy.holds.alarms import Alarms


class Interims:
    """The interim responses of one door."""

    def __init__(self, *, every_s: float) -> None:
        self._every_s = every_s
        self._alarms = Alarms()

    def during(self, connection: Connection, patience: Patience) -> AbstractContextManager[None]:
        """While the block lasts, the client hears of us; nothing is written for it after that."""
        if patience.interim is None:
            return nullcontext()
        every_s = sounding_s(patience, longest_s=self._every_s)
        most = math.inf if patience.interims is None else patience.interims
        return _Sounding(connection, INTERIMS[patience.interim], every_s=every_s, most=most, alarms=self._alarms)


class _Sounding:
    """One held call's. A class, because a generator of each wait weighs more."""

    __slots__ = ("_alarms", "_connection", "_every_s", "_left", "_response")

    def __init__(self, connection: Connection, response: bytes, *, every_s: float, most: float, alarms: Alarms) -> None:
        self._connection: Connection | None = connection
        self._response = response
        self._left = most
        self._every_s = every_s
        self._alarms = alarms

    def __enter__(self) -> None:
        self._alarms.ring_in(self._every_s, self._sound)

    def __exit__(self, *_: object) -> None:
        # INVARIANT: from here on nothing interim is written, so the head of the answer comes after all of it.
        self._connection = None

    def _sound(self) -> None:
        transport = self._connection.transport if self._connection is not None else None
        if transport is None or transport.is_closing() or not self._left:
            return
        if not transport.get_write_buffer_size():
            transport.write(self._response)
            self._left -= 1
        self._alarms.ring_in(self._every_s, self._sound)
