"""Opens the hold of a call that people must decide on, or finds the one that this call repeats."""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import Holds
from policy import fingerprint as prints
from policy.call import Call
from policy.hold import Hold
from policy.reasons import Reason
from policy.verdict import Ask, Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.errors import AssentryError
from proxy.holds.store import HoldStore
from proxy.meters import Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Opens holds and puts them on the ledger."""

    store: HoldStore
    ledger: Ledger
    meters: Meters
    settings: Holds

    async def open(self, call: Call, body: bytes, ask: Ask) -> Hold | Refused:
        """The live hold of this call, new or repeated; Refused beyond the caps or for a reused idempotency key.

        A new hold that cannot be recorded is withdrawn again, and the Outage raised: nothing is held off the record.
        """
        if len(body) > self.settings.body_bytes:
            most = f"A call that waits for approval may carry {self.settings.body_bytes} bytes at most."
            return Refused(reason=Reason.BODY_TOO_LARGE, detail=f"{most} This one is larger; ask for less at once.")
        opened = await self.store.open(self._hold(call, ask, await self.store.now()), body)
        if isinstance(opened, Refused):
            return opened
        if opened.attached:
            await self.ledger.record(record.attached(opened.hold, call), Durability.WRITTEN)
            return opened.hold
        try:
            await self.ledger.record(record.held(opened.hold), Durability.SYNCED)
        except AssentryError:
            await self.store.discard(opened.hold)
            raise
        self.meters.held(opened.hold)
        return opened.hold

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
