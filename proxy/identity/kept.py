"""One remote document, kept: when it is fetched again, how long the last good one serves, who waits.

Decides freshness, single flight and cool-down; what the document is and how it is fetched is the owner's business.
All times are of a monotonic clock: a jump of the wall clock neither ages nor revives what is kept.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from policy.reasons import Reason
from proxy.errors import Outage

T = TypeVar("T")
Clock = Callable[[], float]

FRESH_S = 600
"""After this age a caller fetches again. Below the hour or day that issuers announce a rotation ahead."""
TEND_AT_S = 300
"""After this age `tend` fetches again, so that callers find it fresh."""
KEEP_S = 24 * 3600
"""How long the last good one serves while the issuer does not answer (threat J7)."""
COOL_DOWN_S = 30
"""Between two forced fetches, and between attempts while an older one serves (threat J7)."""
EMPTY_COOL_DOWN_S = 2
"""Between attempts while there is nothing to serve: short, since every caller is refused meanwhile."""


class Kept(Generic[T]):
    """The latest good copy of a document. One fetch at a time; a failed one hurts nobody who can do without."""

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], *, clock: Clock, failed: Callable[[Outage, float | None], None]
    ) -> None:
        """`fetch` raises Outage. `failed` hears of each failure, with the age of what is kept, seconds, or None."""
        self._fetch = fetch
        self._clock = clock
        self._failed = failed
        self._flight = asyncio.Lock()
        self._value: T | None = None
        self._fetched_at = -math.inf
        self._failed_at = -math.inf
        self._forced_at = -math.inf
        self._attempts = 0
        self._owed = False
        self._fault = Outage(Reason.ISSUER_UNAVAILABLE, "The issuer has not been asked yet.")

    @property
    def at_hand(self) -> T | None:
        """What may still be used, without waiting; None when there is nothing, or nothing young enough."""
        return self._value if self._age() < KEEP_S else None

    async def get(self) -> T:
        """What may be used now. Fetches when that is due. Raises Outage when there is nothing."""
        if self._value is not None and self._age() < FRESH_S:
            return self._value
        if self.at_hand is None or not (self._flight.locked() or self._resting()):
            await self._attempt()
        return self._or_outage()

    async def again(self) -> T:
        """As `get`, after a fetch forced by the caller, or one in the air; at most one in COOL_DOWN_S."""
        if self._flight.locked():
            await self._attempt()
        elif self._clock() - self._forced_at >= COOL_DOWN_S and not self._resting():
            self._forced_at = self._clock()
            self._owed = True
            await self._attempt()
        return self._or_outage()

    async def tend(self) -> None:
        """Fetches ahead of the callers. Also makes good a forced fetch whose caller left in the middle."""
        if self._owed or (self._age() >= TEND_AT_S and not self._resting()):
            await self._attempt()

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _resting(self) -> bool:
        pause_s = EMPTY_COOL_DOWN_S if self.at_hand is None else COOL_DOWN_S
        return self._clock() - self._failed_at < pause_s

    def _or_outage(self) -> T:
        if (value := self.at_hand) is not None:
            return value
        raise Outage(self._fault.reason, self._fault.detail) from self._fault

    async def _attempt(self) -> None:
        """Fetches, or waits for the fetch in the air. One that is cancelled counts as none: the next caller fetches."""
        seen = self._attempts
        async with self._flight:
            if self._attempts != seen or (self.at_hand is None and self._resting()):
                return
            try:
                self._value = await self._fetch()
                self._fetched_at = self._clock()
            except Outage as fault:
                self._failed_at = self._clock()
                self._fault = fault
                self._failed(fault, None if self.at_hand is None else self._age())
            self._owed = False
            self._attempts += 1
