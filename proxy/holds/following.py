"""Keeps the indexes where the holds are: a moment behind them, many moves in one go, healed after whatever went wrong.

A move stands once the hold itself was written (`proxy.holds.store`). What has to find it by index may learn of it a few
milliseconds later, so nobody who waits for a move waits for the indexes too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from policy.call import CallId
from policy.hold import Hold
from proxy.errors import Outage
from proxy.holds.connection import StoreConnection
from proxy.holds.indexes import Indexes

log = logging.getLogger("assentry.holds")

_PAUSE_S = 0.005
"""How long moves are gathered: what a click or a release does next goes first."""
_MOST_AT_ONCE = 500


class Following:
    """What the indexes have not been told yet, and what they may have got wrong."""

    def __init__(
        self, connection: StoreConnection, indexes: Indexes, *, heal: Callable[[CallId], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._indexes = indexes
        self._heal = heal
        self._behind: dict[CallId, Hold] = {}
        self._suspect: set[CallId] = set()
        """Ids whose entries may be wrong: a write of theirs failed, or broke off."""
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Tells the indexes until cancelled. An outage leaves suspects, which the next `mend` looks at."""
        while True:
            await self._news.wait()
            await asyncio.sleep(_PAUSE_S)
            await self.catch_up()

    def moved(self, hold: Hold) -> None:
        """The indexes are to follow this move, which stands."""
        self._behind[hold.call.id] = hold
        self._news.set()

    @contextmanager
    def suspecting(self, call: CallId) -> Iterator[None]:
        """Has the next `mend` look at a call whose writes broke off in the middle."""
        try:
            yield
        except BaseException:  # also a cancelled task
            self._suspect.add(call)
            raise

    async def catch_up(self) -> None:
        """Returns when the indexes know every move of this process so far, or are suspected not to."""
        if not self._behind and not self._turn.locked():
            return
        async with self._turn:
            while self._behind:
                await self._tell(tuple(self._behind)[:_MOST_AT_ONCE])
            self._news.clear()

    async def _tell(self, some: tuple[CallId, ...]) -> None:
        puts = [self._indexes.follow(self._behind.pop(call)) for call in some]
        try:
            await self._connection.together(*puts)
        except Outage:
            self._suspect.update(some)  # The moves stand without their entries.
        except BaseException:
            self._suspect.update(some)
            raise

    async def mend(self) -> None:
        """Heals the entries of every suspect. Raises Outage, and the rest stay suspects."""
        await self.catch_up()
        for call in tuple(self._suspect):
            await self._heal(call)
            self._suspect.discard(call)
