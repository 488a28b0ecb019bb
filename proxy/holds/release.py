"""Sends an approved call: judged again, compared, leased, recorded, sent once, concluded.

Reliability rests on one order: `_ready` or `_ready_already` (all that may say no), then `_begin` (the lease is kept,
then the intent is on the disk, then the first byte goes). Before the lease, giving up costs nothing. From the lease on,
exactly one replica goes on; if it dies, the lease runs out and the hold is `unknown`, never sent again. The task that
sends is not the connection's: the conclusion is written even if the agent has left.

Two ways lead there. `release` sends what was approved some time ago, perhaps elsewhere, perhaps under other policies.
`at_once` sends what is just being approved here while its agent waits here: approval and lease are then one write,
after everything that a release looks at was looked at.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, assert_never
from weakref import WeakValueDictionary

from policy import electorate
from policy import hold as moves
from policy.call import CallId
from policy.fingerprint import fingerprint
from policy.hold import Hold, Lease, State
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny, Refused, Verdict
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.audit.record import Record
from proxy.doors.arrival import Relay
from proxy.errors import AssentryError, BrokenPromise, CallerFault
from proxy.holds.endings import End, Endings
from proxy.holds.pipe import Pipe
from proxy.holds.store import HoldStore, KeptResponse, Seen
from proxy.holds.wakeups import Wakeups
from proxy.identity.agent_keys import AgentKeys
from proxy.identity.denials import Denials
from proxy.identity.people import People
from proxy.law import InForce, Law
from proxy.meters import Meters
from proxy.naming import name_again
from proxy.tasks import Tasks
from proxy.unread import Ended
from proxy.upstream.pool import BrokeOff
from proxy.upstream.sender import Answered, Sender

_log = logging.getLogger("assentry.release")
_LEASE_MARGIN_S = 30
"""Beyond the upstream's own limit: time to write the conclusion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assent:
    """An approval that suffices, not yet kept, and what the law's Allow for it rests on."""

    seen: Seen
    approved: Hold
    approvals: Approvals
    by: InForce
    barred: asyncio.Future[Deny | None] | None
    """What `ask_ahead` gave."""


class _Ready(NamedTuple):
    """A call that may be sent once `moves`, the last of which is its lease, are kept."""

    before: Hold
    moves: tuple[Hold, ...]
    not_after: float | None
    body: bytes
    approvals: Approvals

    @property
    def leased(self) -> Hold:
        return self.moves[-1]


class _Clearance(NamedTuple):
    kept: asyncio.Future[Hold | None]
    """The lease; None where somebody else was first."""
    recorded: asyncio.Future[None]
    """The intent, after the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Releases approved holds. `replica` names this process in leases; `tasks` owns what outlives a connection."""

    replica: str
    store: HoldStore
    wakeups: Wakeups
    law: Law
    people: People
    denials: Denials
    keys: AgentKeys
    ledger: Ledger
    sender: Sender
    endings: Endings
    meters: Meters
    tasks: Tasks
    exchange_limit_s: float
    keep_response_bytes: int
    _lines: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    """By upstream."""
    _turns: WeakValueDictionary[CallId, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    _untaken: dict[CallId, asyncio.Future[Relay | Hold]] = field(default_factory=dict)
    """What `at_once` began, until the agent's connection takes it."""

    async def release(self, held: Hold, *, detached: bool = False) -> Relay | Hold:
        """The upstream's response as it streams in; or the hold as it stands, when it was not ours to send."""
        with ExitStack() as place:
            # Whoever waits for this call wakes at the same moment. One after the other, lest each count it against
            # limits.
            async with self._turn(held.call.id):
                sent = self._untaken.pop(held.call.id, None)
                if sent is None:
                    await self._in_line(held.call.upstream, place)
                    ready = await self._ready(held)
                    if isinstance(ready, Hold):
                        return ready
                    clearance, sent = self._begin(ready, place.pop_all(), detached=detached)
                    await asyncio.wait({clearance.kept})
        return await asyncio.shield(sent)

    async def ask_ahead(self, held: Hold) -> asyncio.Future[Deny | None] | None:
        """What a release asks the store about who calls, under way; None where no agent waits here for this call."""
        if not self.wakeups.listeners(held.call.id):
            return None
        barred = self.tasks.spawn(self._barred(held), name=f"ask about {held.call.id}")
        await asyncio.sleep(0)  # Off it goes. While the store answers, the law is asked.
        return barred

    async def at_once(self, assent: Assent, *, told: Callable[[], Sequence[Record]]) -> bool:
        """Whether the call was approved and leased in one write, with `told` on the ledger, and is on its way.

        False: nothing was done, for want of an agent that waits here, of a place, or of certainty that a release would
        find the same as whoever assented; or somebody else moved the hold first. Raises Outage when the store or the
        ledger does not answer, and then nothing is sent.
        """
        call, upstream = assent.approved.call.id, assent.approved.call.upstream
        turn = self._turn(call)
        if assent.barred is None or turn.locked() or self._line(upstream).locked():
            return False
        with ExitStack() as place:
            async with turn:
                await self._in_line(upstream, place)
                ready = self._ready_already(assent)
                if await asyncio.shield(assent.barred) or ready is None or assent.by is not self.law.current:
                    return False
                clearance, sent = self._begin(ready, place.pop_all(), told=told)
                if await asyncio.shield(clearance.kept) is None:
                    return False
                self._leave_for_the_agent(call, sent)
        await asyncio.shield(clearance.recorded)
        return True

    def under_way(self, call: CallId) -> bool:
        """Whether this replica is about to send the call, or waits in line to do so."""
        turn = self._turns.get(call)
        return turn is not None and turn.locked()

    def _turn(self, call: CallId) -> asyncio.Lock:
        return self._turns.setdefault(call, asyncio.Lock())

    def _line(self, upstream: str) -> asyncio.Semaphore:
        return self._lines.setdefault(upstream, asyncio.Semaphore(self.sender.places(upstream)))

    async def _in_line(self, upstream: str, place: ExitStack) -> None:
        """Returns with a place among those that are sent to this upstream at once; `place` gives it back.

        Many approvals at once wait here, where nothing is promised yet, and not behind a lease, for a connection.
        """
        line = self._line(upstream)
        await line.acquire()
        place.callback(line.release)

    def _leave_for_the_agent(self, call: CallId, sent: asyncio.Future[Relay | Hold]) -> None:
        """The connection that waits here has been woken and takes it; where it is gone, the response is only kept."""

        def left(_: asyncio.Future[Relay | Hold]) -> None:
            if self._untaken.get(call) is not sent:
                return
            del self._untaken[call]
            if not sent.cancelled() and sent.exception() is None and isinstance(relay := sent.result(), Relay):
                self.tasks.spawn(relay.body.aclose(), name=f"leave {call}")

        self._untaken[call] = sent
        sent.add_done_callback(left)

    async def _ready(self, held: Hold) -> _Ready | Hold:
        # None of these depends on another, and each is a way to the store and back.
        seen, people, barred = await asyncio.gather(
            self._look(held), self.people.read({ballot.person for ballot in held.approvals}), self._barred(held)
        )
        if seen.hold.state is not State.APPROVED:
            return seen.hold
        if seen.hold.revision != held.revision:
            return await self._ready(seen.hold)  # Approved anew meanwhile, perhaps by others: these are asked for.
        held, body, now = seen.hold, seen.body or b"", seen.now
        law = self.law.current
        approvals = electorate.evidence(law.engine, held, people, now=now)
        ruling = barred or await self._judge_again(held, body, approvals, by=law)
        if not isinstance(ruling, Allow):
            return await self._second_thoughts(held, ruling, now)
        leased = self._leased(held, now)
        if leased is None:
            return await self._latest(held)
        return _Ready(held, (leased,), held.execute_by, body, approvals)

    def _ready_already(self, assent: Assent) -> _Ready | None:
        """The same of a call that was judged a moment ago, with whoever assents as who they are now.

        None where a release, which knows nothing of that, might find something else; then it has to look for itself.
        """
        held, body, now = assent.approved, assent.seen.body or b"", assent.seen.now
        same = (
            _is_what_was_approved(held, body)
            and name_again(held.call, body, law=assent.by) == held.call
            # Counting is a release's: what is counted is sent.
            and not assent.by.engine.reads_recent(held.call.operation.name)
        )
        leased = self._leased(held, now)
        if not same or leased is None or held.execute_by is None:
            return None
        return _Ready(assent.seen.hold, (held, leased), min(held.decide_by, held.execute_by), body, assent.approvals)

    async def _barred(self, held: Hold) -> Deny | None:
        if await self.denials.shut_out_now(held.call.principal):
            detail = "The agent, or someone it acts for, was shut out while the call was held."
            return self._denied(Reason.IDENTITY_REVOKED, detail)
        if await self.keys.revoked(held.call.principal):
            detail = "The agent key that this call came with was revoked while the call was held."
            return self._denied(Reason.IDENTITY_REVOKED, detail)
        return None

    async def _judge_again(self, held: Hold, body: bytes, approvals: Approvals, *, by: InForce) -> Verdict:
        if not _is_what_was_approved(held, body):
            return self._denied(Reason.FINGERPRINT_CHANGED, "What is kept is not what was approved; it is not sent.")
        call = name_again(held.call, body, law=by)
        if isinstance(call, Refused):
            return self._denied(call.reason, call.detail)
        return await self.law.judge(call, approvals, by=by)

    def _denied(self, reason: Reason, detail: str) -> Deny:
        return Deny(bundle=self.law.current.engine.bundle.digest, reason=reason, explanations=(detail,))

    async def _second_thoughts(self, held: Hold, ruling: Ask | Deny, now: float) -> Hold:
        match ruling:
            case Ask():
                after = moves.reopen(held, now, gates=ruling.gates, policies=ruling.policies)
            case Deny():
                after = moves.deny(held, ruling.reason, "; ".join(ruling.explanations), now)
            case _:
                assert_never(ruling)
        kept = None if isinstance(after, Refused) else await self.store.keep(held, after, durable=True)
        if kept is None:
            return await self._latest(held)
        await self.ledger.record(record.moved(kept), Durability.SYNCED)
        self.meters.settled(kept, now=now)
        return kept

    def _leased(self, held: Hold, now: float) -> Hold | None:
        until = now + self.exchange_limit_s + _LEASE_MARGIN_S
        leased = moves.lease(held, Lease(replica=self.replica, fence=fence(now), until=until), now)
        return None if isinstance(leased, Refused) else leased

    async def _latest(self, held: Hold) -> Hold:
        return (await self._look(held, body=False)).hold

    async def _look(self, held: Hold, *, body: bool = True) -> Seen:
        seen = await self.store.look(held.call.id, body=body)
        if seen is None:
            raise BrokenPromise(Reason.NO_SUCH_HOLD, "The hold of this call is gone from the store.")
        return seen

    def _begin(
        self, ready: _Ready, place: ExitStack, *, told: Callable[[], Sequence[Record]] = tuple, detached: bool = False
    ) -> tuple[_Clearance, asyncio.Future[Relay | Hold]]:
        """What has to be there first, and the sending, all under way. `told` goes on the ledger with the intent.

        INVARIANT: the lease is kept, then the intent is on the disk, then the first byte goes. Meanwhile a connection
        may be dialled, no more.
        """
        name, keep = ready.leased.call.id, self.store.keep
        keeping = keep(ready.before, *ready.moves, not_after=ready.not_after, durable=True)
        kept = self.tasks.spawn(keeping, name=f"lease {name}")
        intent = partial(record.released, ready.leased, ready.approvals, detached=detached)
        recorded = self.tasks.spawn(self._recorded(kept, lambda: (*told(), intent())), name=f"intent {name}")
        clearance = _Clearance(kept, recorded)
        sending = self._send(ready, clearance, place, detached=detached)
        return clearance, self.tasks.spawn(sending, name=f"send {name}")

    async def _recorded(self, kept: asyncio.Future[Hold | None], records: Callable[[], Sequence[Record]]) -> None:
        lines = [self.ledger.encode(one) for one in records()]  # While the store is busy.
        if await asyncio.shield(kept) is None:
            raise CallerFault(Reason.CONFLICT, "Somebody else moved the call first; nothing was sent from here.")
        await self.ledger.sync(*lines)

    async def _send(self, ready: _Ready, clearance: _Clearance, place: ExitStack, *, detached: bool) -> Relay | Hold:
        started, leased = time.monotonic(), ready.leased
        with place:
            try:
                cleared = asyncio.shield(clearance.recorded)
                answered = await self.sender.send(leased.call, ready.body, fresh=True, cleared=cleared)
            except BrokeOff as fault:
                return await self.endings.conclude(leased, End(State.UNKNOWN, fault.reason, fault.detail), started)
            except AssentryError as fault:
                return await self._not_sent(leased, clearance, fault, started)
            pipe = Pipe(attended=not detached)
            streaming = self._stream(leased, answered, pipe, started, place.pop_all())
            self.tasks.spawn(streaming, name=f"stream {leased.call.id}")
        whole = Ended(self._delivering(leased, pipe), unread=pipe.leave)
        return Relay(status=answered.status, headers=answered.headers, body=whole, call=leased.call.id)

    async def _not_sent(self, leased: Hold, clearance: _Clearance, fault: AssentryError, started: float) -> Hold:
        # An upstream may turn out to be missing before the lease is there, and what ends a call follows its intent.
        end = End(State.FAILED, fault.reason, fault.detail)
        try:
            kept = await asyncio.shield(clearance.kept)
        except AssentryError:
            self.endings.renounce(leased, end)
            raise
        if kept is None:
            return await self._latest(leased)
        await asyncio.wait({clearance.recorded})
        return await self.endings.conclude(leased, end, started)

    async def _stream(self, leased: Hold, answered: Answered, pipe: Pipe, started: float, place: ExitStack) -> None:
        with place:
            fault, kept = await self._poured(answered, pipe)
        if fault is None and len(kept) <= self.keep_response_bytes:
            await self._keep_response(leased, answered, kept)
        end = End(State.EXECUTED, Reason.EXECUTED, fault.detail if fault else "", answered.status)
        await self.endings.conclude(leased, end, started)
        await pipe.end(fault)

    async def _poured(self, answered: Answered, pipe: Pipe) -> tuple[BrokeOff | None, bytes]:
        """What broke the answer off, and as much of it as may be kept, and a byte more where there was more."""
        kept = bytearray()
        fault: BrokeOff | None = None
        async with aclosing(answered.chunks()) as chunks:
            try:
                async for chunk in chunks:
                    kept += chunk[: self.keep_response_bytes + 1 - len(kept)]
                    await pipe.put(chunk)
                    if not pipe.attended and len(kept) > self.keep_response_bytes:
                        break  # Nobody reads it and nobody will: the upstream has answered, that is enough.
            except BrokeOff as broken:
                fault = broken
        return fault, bytes(kept)

    async def _keep_response(self, leased: Hold, answered: Answered, body: bytes) -> None:
        answer = KeptResponse(status=answered.status, headers=answered.headers, body=body)
        try:
            await self.store.keep_response(leased.call.id, answer)
        except AssentryError as fault:
            _log.error("response of %s not kept: %s", leased.call.id, fault)

    async def _delivering(self, leased: Hold, pipe: Pipe) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in pipe.chunks():
                yield chunk
        finally:
            pipe.abandon()
        await self.store.delivered(leased)

    async def kept_answer(self, held: Hold) -> Relay | None:
        """The stored response of a call that was carried out, marked as a replay; None where none is kept."""
        answer = await self.store.response(held.call.id) if held.state is State.EXECUTED else None
        if answer is None:
            return None
        return Relay(
            status=answer.status,
            headers=answer.headers,
            body=self._replaying(held, answer),
            call=held.call.id,
            replayed=True,
        )

    async def _replaying(self, held: Hold, answer: KeptResponse) -> AsyncGenerator[bytes, None]:
        yield answer.body
        await self.store.delivered(held)


def fence(now: float) -> str:
    """A text that never repeats, and sorts by `now`. It names the winner of a compare-and-set, no more."""
    return f"{now * 1_000_000:016.0f}-{secrets.token_hex(8)}"


def _is_what_was_approved(held: Hold, body: bytes) -> bool:
    # INVARIANT: what is sent is what was approved. The digest is taken over the very bytes that will be sent.
    carried = replace(held.call, body_digest=hashlib.sha256(body).hexdigest())
    return fingerprint(carried, bundle=held.bundle, expires_at=int(held.decide_by)) == held.fingerprint
