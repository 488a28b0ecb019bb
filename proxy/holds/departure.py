"""What becomes of a hold that nobody waits for any more: it goes on, or it ends with its client.

Its gates say so (`@on_client_gone`), else the settings. A hold that ends with its client is withdrawn when the last one
leaves, on whichever replica that is, and is never sent without one: not even where a replica died with its clients.
"""

from __future__ import annotations

from dataclasses import dataclass

from config.settings import OnGone
from policy.hold import Hold, withdraw
from policy.verdict import Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.holds.store import HoldStore
from proxy.meters import Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Ends holds with their clients, where that is asked for."""

    store: HoldStore
    ledger: Ledger
    meters: Meters
    otherwise: OnGone
    """Where no gate says what is to happen."""

    def ends(self, held: Hold) -> bool:
        """Whether this hold is to end with its client."""
        said = held.obligations.on_client_gone
        return (OnGone(said) if said else self.otherwise) is OnGone.WITHDRAW

    async def withdraw(self, held: Hold) -> Hold | None:
        """The hold withdrawn, on the record; None where it has moved, or somebody waits for it after all."""
        who, now = held.call.principal.agent, await self.store.now()
        gone = withdraw(held, who, who, "The agent went away.", now)
        kept = None if isinstance(gone, Refused) else await self.store.keep(held, gone, alone=True)
        if kept is not None:
            await self.ledger.record(record.moved(kept), Durability.SYNCED)
            self.meters.settled(kept, now=now)
        return kept
