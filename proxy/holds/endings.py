"""Writes down how a released call ended: on the ledger, then in the store, with some patience for both.

How it ended is `proxy.holds.release`'s to say. Only the holder of the lease may say so: `policy.hold` sees to that
where the lease is known to be kept, and `renounce` where it is not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from policy import hold as moves
from policy.hold import Conclusion, Hold, State
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.errors import AssentryError, BrokenPromise
from proxy.holds.store import HoldStore
from proxy.meters import Meters
from proxy.tasks import Tasks

_log = logging.getLogger("assentry.release")
_PATIENCE_S = (0.2, 0.5, 1, 2, 5, 10, 10)
"""Pauses in an outage of the store. When they are over the lease runs out soon, and the hold becomes `unknown`."""


class End(NamedTuple):
    """How a call ended."""

    state: State
    reason: Reason
    detail: str
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Ends released calls."""

    store: HoldStore
    ledger: Ledger
    meters: Meters
    tasks: Tasks

    async def conclude(self, leased: Hold, end: End, started: float) -> Hold:
        """The hold as it ended, on the record. While the store is away it is tried again in the background."""
        took_ms = (time.monotonic() - started) * 1000
        self.meters.concluded(leased.call, end.reason, took_ms)
        done = record.concluded(
            leased.call.id, end.reason, state=end.state, upstream_status=end.status, latency_ms=took_ms
        )
        try:
            await self.ledger.record(done, Durability.SYNCED)
        except AssentryError as fault:
            _log.error("conclusion of %s not on the ledger: %s", leased.call.id, fault)
        try:
            return await self._keep(leased, end)
        except AssentryError:
            # What we know is worth some patience.
            self._later(leased, lambda: self._keep(leased, end))
            return leased

    def renounce(self, leased: Hold, end: End) -> None:
        """Ends a call that was not sent, under a lease of which nobody knows whether it was kept.

        Without it the hold would become `unknown`, and a person would have to look at what certainly did not happen.
        """
        self._later(leased, lambda: self._give_up(leased, end))

    def _later(self, leased: Hold, ending: Callable[[], Awaitable[object]]) -> None:
        self.tasks.spawn(self._patiently(leased, ending), name=f"conclude {leased.call.id}")

    async def _patiently(self, leased: Hold, ending: Callable[[], Awaitable[object]]) -> None:
        for delay_s in _PATIENCE_S:
            await asyncio.sleep(delay_s)
            try:
                await ending()
            except AssentryError as fault:
                _log.warning("conclusion of %s not kept yet: %s", leased.call.id, fault)
            else:
                return

    async def _keep(self, leased: Hold, end: End) -> Hold:
        at = await self.store.now()
        conclusion = Conclusion(reason=end.reason, detail=end.detail, upstream_status=end.status, at=at)
        after = moves.conclude(leased, end.state, conclusion, fence=leased.lease.fence if leased.lease else None)
        kept = None if isinstance(after, Refused) else await self.store.keep(leased, after, durable=True)
        return kept or await self._found(leased)

    async def _give_up(self, leased: Hold, end: End) -> None:
        # INVARIANT: another replica's lease may stand at this revision, and what it sends must not be called unsent.
        if (await self._found(leased)).lease != leased.lease:
            return
        ended = await self._keep(leased, end)
        if ended.state is end.state:
            await self.ledger.record(record.moved(ended), Durability.SYNCED)

    async def _found(self, leased: Hold) -> Hold:
        found = await self.store.read(leased.call.id)
        if found is None:
            raise BrokenPromise(Reason.NO_SUCH_HOLD, "The hold of this call is gone from the store.")
        return found
