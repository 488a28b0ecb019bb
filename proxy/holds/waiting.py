"""How long an agent's connection waits for its hold to settle, and what wakes it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from config.settings import Settings
from policy.call import CallId
from policy.hold import OPEN, Hold, State
from policy.reasons import Reason
from proxy.doors.arrival import Client, Held, Patience
from proxy.doors.patience import sounding_s
from proxy.errors import BrokenPromise
from proxy.holds.departure import Departure
from proxy.holds.store import HoldStore
from proxy.holds.wakeups import Wakeups

_UNSETTLED = OPEN | {State.RELEASING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Waits for holds on behalf of connected clients."""

    store: HoldStore
    wakeups: Wakeups
    departure: Departure
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
        holds = self.settings.holds
        if patience.interim is None:
            return holds.wait_s if patience.wait_s is None else self._less_a_margin(patience.wait_s)
        bears_s = math.inf if patience.total_s is None else self._less_a_margin(patience.total_s)
        if patience.interims is None:
            return bears_s
        # Once it has had as many as it takes, it is left to its silence.
        silent_s = 0 if patience.wait_s is None else self._less_a_margin(patience.wait_s)
        return min(bears_s, patience.interims * sounding_s(patience, longest_s=holds.interim_every_s) + silent_s)

    def _less_a_margin(self, bears_s: float) -> float:
        # A client in a hurry still gets a moment: half of what it announced beats a margin that eats it all.
        return max(bears_s - self.settings.holds.wait_margin_s, bears_s / 2)

    def stop(self) -> None:
        """Nobody is kept waiting any more. Holds stay in the store for other replicas, and for the next start."""
        self._stopping.set()
        self.wakeups.ring_all()

    async def until_settled(self, waiting: Held, client: Client) -> Hold:
        """The hold once it is approved or ended; as it stands when the time is over, the client leaves, or we stop."""
        call, deadline = waiting.hold, waiting.deadline
        with self.wakeups.listen(call) as wakeup, client.leaving(wakeup.ring):
            # Between two looks nothing of the hold is kept: there may be many, and they may wait for long.
            looked = False
            while (hold := await self._settled(call, wakeup.told(), client, deadline)) is None:
                if looked:  # Before that, its coming was noted.
                    await self.store.attendance.arrive(call, waiting.id)
                looked = True
                await wakeup.wait(deadline - self.monotonic())
        if client.present() and hold.state not in OPEN:
            return hold  # It goes on waiting, for what comes of the approval.
        return await self._without(waiting, client, hold)

    async def _settled(self, call: CallId, told: Hold | None, client: Client, deadline: float) -> Hold | None:
        # What was told is as good as read: whatever follows from it is compared with the store once more.
        held = told or await self.store.read(call)
        if held is None:
            raise BrokenPromise(Reason.NO_SUCH_HOLD, "The hold of this call is gone from the store.")
        over = self.monotonic() >= deadline or self._stopping.is_set() or not client.present()
        return held if over or held.state not in _UNSETTLED else None

    async def _without(self, waiting: Held, client: Client, held: Hold) -> Hold:
        others = await self.store.attendance.leave(waiting.hold, waiting.id)
        if client.present() or others or held.state not in OPEN or not self.departure.ends(held):
            return held  # One whose time is over was told to come back.
        return await self.departure.withdraw(held) or held
