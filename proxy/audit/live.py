"""The ledger as it is written, for whoever looks on: console, event streams, tests.

In-process and from now on only; what was written before is in the files. Whoever is too slow is let go: looking on
never slows a call down.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

WAITING_LINES = 1_000
"""Lines kept for a slow follower before it is dropped."""


class Follower:
    """One who looks on: an async iterator of lines, each with its newline.

    A wait that is cancelled loses nothing: the next one goes on where it was.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._lines:
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._lines.popleft()

    def offer(self, lines: Sequence[bytes]) -> bool:
        """Whether there was room. Without it the follower keeps what it has, and nothing more will come."""
        if len(self._lines) + len(lines) > WAITING_LINES:
            self.end()
            return False
        self._lines.extend(lines)
        self._news.set()
        return True

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._news.set()


class LiveFeed:
    """Hands every line on to all who follow."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    @property
    def followed(self) -> bool:
        """Whether anybody looks on: if not, nobody needs the lines one by one."""
        return bool(self._followers)

    def publish(self, lines: Sequence[bytes]) -> None:
        """Every follower has the lines, or is dropped because it did not read the last ones."""
        for follower in tuple(self._followers):
            if not follower.offer(lines):
                self._followers.discard(follower)

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        """Lines from now on, until the feed is closed or the reader is too slow."""
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """Ends every follower's iteration."""
        for follower in self._followers:
            follower.end()
        self._followers.clear()
