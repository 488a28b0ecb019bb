"""Who waits for the answer to a held call, over all replicas.

Every exchange that waits says so for a while, again and again. So the last one to leave is known to be the last,
wherever the others waited, and those of a replica that died are forgotten soon. A client that asked to be told later is
never gone. What becomes of a hold that nobody waits for is `proxy.holds.departure`'s.
"""

from __future__ import annotations

import math

from policy.call import CallId
from policy.hold import Hold, State
from proxy.holds.connection import StoreConnection, load, text, whole

_ARRIVE = load("arrive")
_LEAVE = load("leave")

PRESENT_S = 90
"""How long one word of a waiting exchange counts: some four times the time between two looks at its hold."""
_LATER = "later"


def waiting_key(connection: StoreConnection, call: CallId) -> str:
    """Where it is kept who waits for a hold."""
    return connection.key(call, "waiting")


class Attendance:
    """Who waits, in the shared store. Raises `Outage`."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    async def arrive(self, call: CallId, waiter: CallId) -> State | None:
        """Notes for `PRESENT_S` that this exchange waits. Answers how the hold stands; None where there is none."""
        return await self._note(call, waiter, PRESENT_S)

    async def ask_later(self, hold: Hold) -> State | None:
        """Notes that somebody will ask for the answer, for as long as there may be one."""
        return await self._note(hold.call.id, _LATER, hold.decide_by - hold.opened_at + hold.execute_within_s)

    async def is_asked_later(self, call: CallId) -> bool:
        """Whether somebody will ask for the answer who does not wait for it now."""
        return await self._connection.command("ZSCORE", waiting_key(self._connection, call), _LATER) is not None

    async def leave(self, call: CallId, waiter: CallId) -> int:
        """Notes that this exchange waits no more. Answers how many others do."""
        key = waiting_key(self._connection, call)
        return whole(await self._connection.script(_LEAVE, keys=(key,), args=(waiter,)))

    async def _note(self, call: CallId, waiter: str, life_s: float) -> State | None:
        keys = (self._connection.key(call, "hold"), waiting_key(self._connection, call))
        state = await self._connection.script(_ARRIVE, keys=keys, args=(waiter, math.ceil(life_s)))
        return None if state is None else State(text(state))
