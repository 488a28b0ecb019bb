"""How long an agent's connection waits for its hold to settle, and what wakes it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from config.settings import OnGone, Settings
from policy.call import CallId
from policy.hold import OPEN, Hold, State, withdraw
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.doors.arrival import Client, Patience
from proxy.errors import BrokenPromise
from proxy.holds.store import HoldStore
from proxy.holds.wakeups import Wakeups

_UNSETTLED = OPEN | {State.RELEASING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Waits for holds on behalf of connected clients."""

    store: HoldStore
    wakeups: Wakeups
    ledger: Ledger
    settings: Settings
    monotonic: Callable[[], float] = time.monotonic
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def deadline(self, patience: Patience, *, upstream: str) -> float:
        """Until when this client is kept waiting, monotonic seconds.

        As long as it bears, less a margin in which the refusal reaches it, and never beyond the upstream's limit or the
        gate's. Where interim responses break the silence, only the time counts that the client bears altogether.
        """
        own = [up.max_wait_s for up in self.settings.upstreams if up.name == upstream and up.max_wait_s is not None]
        return self.monotonic() + min(self._bears_s(patience), self.settings.holds.max_wait_s, *own)

    def _bears_s(self, patience: Patience) -> float:
        bears_s = patience.total_s if patience.interim else patience.wait_s
        if bears_s is None:
            return math.inf if patience.interim else self.settings.holds.wait_s
        # A client in a hurry still gets a moment: half of what it announced beats a margin that eats it all.
        return max(bears_s - self.settings.holds.wait_margin_s, bears_s / 2)

    def stop(self) -> None:
        """Nobody is kept waiting any more. Holds stay in the store for other replicas, and for the next start."""
        self._stopping.set()
        self.wakeups.ring_all()

    async def until_settled(self, call: CallId, client: Client, *, deadline: float) -> Hold:
        """The hold once it is approved or ended; as it stands when the time is over, the client leaves, or we stop."""
        with self.wakeups.listen(call) as wakeup, client.leaving(wakeup.ring):
            # Between two looks nothing of the hold is kept: there may be many, and they may wait for long.
            while (hold := await self._settled(call, wakeup.told(), client, deadline)) is None:
                await wakeup.wait(deadline - self.monotonic())
            return hold

    async def _settled(self, call: CallId, told: Hold | None, client: Client, deadline: float) -> Hold | None:
        # What was told is as good as read: whatever follows from it is compared with the store once more.
        held = told or await self.store.read(call)
        if held is None:
            raise BrokenPromise(Reason.NO_SUCH_HOLD, "The hold of this call is gone from the store.")
        if held.state not in _UNSETTLED or self.monotonic() >= deadline or self._stopping.is_set():
            return held
        return None if client.present() else await self._left_alone(held)

    async def _left_alone(self, held: Hold) -> Hold:
        if self.settings.holds.on_client_gone is OnGone.KEEP or held.state not in OPEN:
            return held
        if self.wakeups.listeners(held.call.id) > 1:
            return held  # The same call, asked for again here, still waits.
        who = held.call.principal.agent
        gone = withdraw(held, who, who, "The agent went away.", await self.store.now())
        if isinstance(gone, Refused):
            return held
        kept = await self.store.keep(held, gone)
        if kept is not None:
            await self.ledger.record(record.moved(kept), Durability.SYNCED)
        return kept or held
