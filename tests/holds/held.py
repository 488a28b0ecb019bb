"""Holds to put into a store: each with an id of its own, opened at the store's time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from policy import fingerprint as prints
from policy.call import CallId
from policy.hold import Conclusion, Hold, Lease, State, conclude, expire, lease
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.holds.store import HoldStore, Opened
from tests.fakes.values import ROBOT, a_call, a_hold

_ids = itertools.count(1)


def call_id() -> CallId:
    return CallId(f"call_{next(_ids):026d}")


async def fresh(store: HoldStore, *, agent: str = "corp:robot", decide_s: float = 3600, **facts: Any) -> Hold:
    """A hold not yet in the store; `facts` go into its call."""
    now = await store.now()
    call = a_call(**{"id": call_id(), "principal": replace(ROBOT, agent=Identity(agent)), **facts})
    decide_by = now + decide_s
    return a_hold(
        call,
        likeness=prints.likeness(call),
        fingerprint=prints.fingerprint(call, bundle="b1", expires_at=int(decide_by)),
        opened_at=now,
        decide_by=decide_by,
    )


async def opened(store: HoldStore, body: bytes = b"body", **facts: Any) -> Hold:
    """A hold that the store has opened."""
    got = await store.open(await fresh(store, **facts), body)
    assert isinstance(got, Opened)
    assert not got.attached
    return got.hold


def approved(hold: Hold, now: float) -> Hold:
    """The hold approved, as the desk would."""
    return replace(hold, state=State.APPROVED, revision=hold.revision + 1, execute_by=now + hold.execute_within_s)


def leased(hold: Hold, now: float, *, fence: str = "1", until: float | None = None) -> Hold:
    taken = lease(hold, Lease(replica="r1", fence=fence, until=now + 300 if until is None else until), now)
    assert not isinstance(taken, Refused)
    return taken


def concluded(hold: Hold, now: float, state: State = State.EXECUTED) -> Hold:
    end = Conclusion(reason=Reason.EXECUTED, upstream_status=200, at=now)
    done = conclude(hold, state, end, fence=hold.lease.fence if hold.lease else None)
    assert not isinstance(done, Refused)
    return done


def expired(hold: Hold, now: float) -> Hold:
    gone = expire(hold, now)
    assert not isinstance(gone, Refused)
    return gone


async def kept(store: HoldStore, before: Hold, after: Hold | Refused) -> Hold:
    assert not isinstance(after, Refused)
    got = await store.keep(before, after)
    assert got is not None
    return got


async def executed(store: HoldStore, hold: Hold, *, at: float | None = None) -> Hold:
    """The hold taken through approval and release to its end."""
    now = await store.now()
    ready = await kept(store, hold, approved(hold, now))
    going = await kept(store, ready, leased(ready, now))
    return await kept(store, going, concluded(going, now if at is None else at))
