"""How much of all bodies together may be in memory, so that many large uploads at once cannot exhaust it.

Counts what has arrived, not what was announced: who announces much and sends nothing takes no room from others.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from policy.reasons import Reason
from proxy.errors import Outage


class Room:
    """The memory for bodies of calls that are being read or carried."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.taken_bytes = 0
        """By every body there is."""

    def fits(self, more_bytes: int) -> bool:
        """Whether a body of this length would fit now."""
        return not more_bytes or self.taken_bytes + more_bytes <= self._limit_bytes

    def place(self, announced_bytes: int) -> Place:
        """A place for one body, until its block ends. Raises Outage where a body of this length would not fit now."""
        self._check(announced_bytes)
        return Place(self)

    def take(self, more_bytes: int) -> None:
        """Counts bytes that arrived. Raises Outage where they are too many."""
        self._check(more_bytes)
        self.taken_bytes += more_bytes

    def _check(self, more_bytes: int) -> None:
        if not self.fits(more_bytes):
            raise Outage(
                Reason.NO_ROOM,
                "The gate has too many large bodies in hand at the moment. Nothing was sent; try again in a moment.",
            )


class Place:
    """What one body takes of the room; given back when its block ends."""

    __slots__ = ("_bytes", "_room")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.taken_bytes -= self._bytes

    def grow_to(self, total_bytes: int) -> None:
        """The body has so many bytes by now. Raises Outage where they no longer fit."""
        self._room.take(total_bytes - self._bytes)
        self._bytes = total_bytes
