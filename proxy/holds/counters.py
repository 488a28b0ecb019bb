"""How often an agent asked for an operation lately, and for how much: what velocity rules read.

Counts first and tells afterwards, in one script, so two calls at once cannot both be the last one under a limit; a call
that is not let through is taken back. What the figures mean for a call is the law's.

Windows slide in buckets: a minute of 10 s, an hour of 1 min, a day of 1 h. The oldest bucket counts whole until it has
left the window altogether, so a figure is never too low; it covers at most one bucket more than its name says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from policy.call import Recent
from policy.principal import Identity
from proxy.holds.connection import StoreConnection, listed, load, whole

_COUNT = load("count")
_UNCOUNT = load("uncount")

_WINDOWS: Final = ("minute", 10, 7, "hour", 60, 61, "day", 3600, 25)
"""Name, seconds in a bucket, buckets: one more than fit the window, for the part of the oldest that is still in it."""
_KEPT_S: Final = 26 * 3600
_LARGEST_AMOUNT: Final = 2**50
"""Above any money there is; below it, sums stay exact in the server's numbers (53 bits) and far from overflow."""
_LARGEST_LONG: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A call that was counted, the figures with it included, and what is needed to take it back."""

    agent: Identity
    operation: str
    amount_minor: int
    """As it was added to the sums."""
    at: int
    """Store seconds."""
    recent: Recent


class Counters:
    """The counters of this namespace. Raises `Outage`."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    async def add(self, agent: Identity, operation: str, amount_minor: int) -> Counted:
        """Counts a call and answers the windows with it included. A negative amount counts as 0: it lowers no sum."""
        amount = _within(amount_minor)
        at, figures = await self._figures(agent, operation, calls=1, amount=amount)
        recent = _recent(figures, calls=0, amount=0)
        return Counted(agent=agent, operation=operation, amount_minor=amount, at=at, recent=recent)

    async def foretell(self, agent: Identity, operation: str, amount_minor: int) -> Recent:
        """What `add` would tell now. Counts nothing: whoever looks at the same time sees no more than there is."""
        _, figures = await self._figures(agent, operation, calls=0, amount=0)
        return _recent(figures, calls=1, amount=_within(amount_minor))

    async def _figures(self, agent: Identity, operation: str, *, calls: int, amount: int) -> tuple[int, list[int]]:
        reply = await self._connection.script(
            _COUNT, keys=(self._key(agent, operation),), args=(calls, amount, _KEPT_S, *_WINDOWS)
        )
        at, *figures = (whole(figure) for figure in listed(reply))
        return at, figures

    async def take_back(self, counted: Counted) -> None:
        """Uncounts a call that was not let through. Taking the same one back twice uncounts another."""
        await self._connection.script(
            _UNCOUNT,
            keys=(self._key(counted.agent, counted.operation),),
            args=(-counted.amount_minor, counted.at, *_WINDOWS),
        )

    def _key(self, agent: Identity, operation: str) -> str:
        digest = hashlib.sha256(f"{agent}\0{operation}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._connection.key(digest, "recent")


def _within(amount_minor: int) -> int:
    return min(max(amount_minor, 0), _LARGEST_AMOUNT)


def _recent(figures: list[int], *, calls: int, amount: int) -> Recent:
    counts = [min(figure + calls, _LARGEST_LONG) for figure in figures[0::2]]
    sums = [min(figure + amount, _LARGEST_LONG) for figure in figures[1::2]]
    return Recent(
        calls_minute=counts[0],
        calls_hour=counts[1],
        calls_day=counts[2],
        sum_minute=sums[0],
        sum_hour=sums[1],
        sum_day=sums[2],
    )
