"""Runs the clocks of held calls, and sends approved calls whose clients are gone.

Every replica runs it over the same store; compare-and-set lets exactly one of them make each move.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from policy.call import CallId
from policy.hold import State, expire
from policy.verdict import Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.errors import AssentryError
from proxy.holds.departure import Departure
from proxy.holds.release import Release
from proxy.holds.store import HoldStore
from proxy.meters import Meters

_log = logging.getLogger("assentry.holds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """Looks at what is due, again and again."""

    store: HoldStore
    release: Release
    departure: Departure
    ledger: Ledger
    meters: Meters
    detached_after_s: float
    every_s: float = 0.5

    async def run(self) -> None:
        """Look until cancelled. An outage of the store is logged and waited out; the clocks run in the store's time."""
        while True:
            try:
                await self.look()
            except AssentryError as fault:
                _log.warning("holds not looked at: %s", fault)
            await asyncio.sleep(self.every_s)

    async def look(self) -> None:
        """Make every move that is due now."""
        now = await self.store.now()
        for call in await self.store.due(now):
            await self._expire(call, now)
        for call in await self.store.approved(before=now - self.detached_after_s):
            if not self.release.under_way(call):
                self.release.tasks.spawn(self._send_detached(call), name=f"detached {call}")
        self.meters.held_now(await self.store.held_now())

    async def _expire(self, call: CallId, now: float) -> None:
        held = await self.store.read(call)
        after = expire(held, now) if held is not None else None
        if held is None or after is None or isinstance(after, Refused):
            return
        kept = await self.store.keep(held, after, durable=True)
        if kept is not None:
            await self.ledger.record(record.moved(kept), Durability.SYNCED)
            self.meters.settled(kept, now=now)

    async def _send_detached(self, call: CallId) -> None:
        held = await self.store.read(call)
        if held is None or held.state is not State.APPROVED:
            return
        if self.departure.ends(held) and not await self.store.attendance.is_asked_later(call):
            # INVARIANT: not sent without its client. One that waits elsewhere after all has it sent there.
            await self.departure.withdraw(held)
            return
        await self.release.release(held, detached=True)
