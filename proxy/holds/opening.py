"""Opens the hold of a call that people must decide on, or finds the one that this call repeats."""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import Holds
from policy import fingerprint as prints
from policy.call import Call, CallId
from policy.hold import Hold, State
from policy.reasons import Reason
from policy.verdict import Ask, Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.errors import AssentryError, Outage
from proxy.holds.store import HoldStore
from proxy.meters import Meters

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """How a call came."""

    sent_again: bool = False
    """Whether its client says that it sent it before."""
    stays: bool = True
    """Whether its client waits for the answer; else it asks later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Opens holds and puts them on the ledger."""

    store: HoldStore
    ledger: Ledger
    meters: Meters
    settings: Holds

    async def open(self, call: Call, body: bytes, ask: Ask, *, coming: Coming = Coming()) -> Hold | Refused:
        """The live hold of this call, new or repeated; Refused beyond the caps or for a reused idempotency key.

        A new hold that cannot be recorded is withdrawn again, and the Outage raised: nothing is held off the record.
        From here on somebody waits for it: the exchange of this call, or whoever asks later.
        """
        if call.body_length > self.settings.body_bytes:
            most = f"A call that waits for approval may carry {self.settings.body_bytes} bytes at most."
            return Refused(reason=Reason.BODY_TOO_LARGE, detail=f"{most} This one is larger; ask for less at once.")
        for _ in range(_TRIES):
            opened = await self.store.open(
                self._hold(call, ask, await self.store.now()), body, sent_again=coming.sent_again
            )
            if isinstance(opened, Refused):
                return opened
            if not opened.attached:
                return await self._begun(opened.hold, coming)
            if await self._comes(opened.hold, call.id, coming) is not State.WITHDRAWN:
                await self.ledger.record(record.attached(opened.hold, call), Durability.WRITTEN)
                return opened.hold
            # Its last client left in the same moment, and it went with it. So this call is nobody's repeat.
        raise Outage(Reason.STORE_UNAVAILABLE, "The call was withdrawn each time it was asked for. Try again.")

    async def _begun(self, hold: Hold, coming: Coming) -> Hold:
        try:
            await self._comes(hold, hold.call.id, coming)
            await self.ledger.record(record.held(hold), Durability.SYNCED)
        except AssentryError:
            await self.store.discard(hold)
            raise
        self.meters.held(hold)
        return hold

    async def _comes(self, hold: Hold, waiter: CallId, coming: Coming) -> State | None:
        attendance = self.store.attendance
        return await (attendance.arrive(hold.call.id, waiter) if coming.stays else attendance.ask_later(hold))

    def _hold(self, call: Call, ask: Ask, now: float) -> Hold:
        decide_by = now + (ask.obligations.timeout_s or self.settings.decide_within_s)
        return Hold(
            call=call,
            likeness=prints.likeness(call),
            fingerprint=prints.fingerprint(call, bundle=ask.bundle, expires_at=int(decide_by)),
            bundle=ask.bundle,
            gates=ask.gates,
            policies=ask.policies,
            obligations=ask.obligations,
            opened_at=now,
            decide_by=decide_by,
            execute_within_s=self.settings.execute_within_s,
        )
