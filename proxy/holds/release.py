"""Sends an approved call: judged again, compared, leased, recorded, sent once, concluded.

Reliability rests on the order of `release`. Before the lease, giving up costs nothing. From the lease on, exactly one
replica goes on; if it dies, the lease runs out and the hold is `unknown`, never sent again. The task that sends is not
the connection's: the conclusion is written even if the agent has left.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never
from weakref import WeakValueDictionary

from policy import electorate
from policy import hold as moves
from policy.call import CallId
from policy.fingerprint import fingerprint
from policy.hold import Conclusion, Hold, Lease, State
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny, Refused, Verdict
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.doors.arrival import Relay
from proxy.errors import AssentryError, BrokenPromise
from proxy.holds.pipe import Pipe
from proxy.holds.store import HoldStore, KeptResponse, Seen
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


class _End(NamedTuple):
    state: State
    reason: Reason
    detail: str
    status: int | None = None


class _Ready(NamedTuple):
    leased: Hold
    body: bytes
    approvals: Approvals


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Releases approved holds. `replica` names this process in leases; `tasks` owns what outlives a connection."""

    replica: str
    store: HoldStore
    law: Law
    people: People
    denials: Denials
    keys: AgentKeys
    ledger: Ledger
    sender: Sender
    meters: Meters
    tasks: Tasks
    exchange_limit_s: float
    keep_response_bytes: int
    _lines: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    """By upstream."""
    _turns: WeakValueDictionary[CallId, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def release(self, held: Hold, *, detached: bool = False) -> Relay | Hold:
        """The upstream's response as it streams in; or the hold as it stands, when it was not ours to send."""
        # Whoever waits for this call wakes at the same moment. One after the other, lest each count it against limits.
        turn = self._turns.setdefault(held.call.id, asyncio.Lock())
        with ExitStack() as place:
            async with turn:
                await self._in_line(held.call.upstream, place)
                ready = await self._ready(held)
            if isinstance(ready, Hold):
                return ready
            sending = self._send(ready, place.pop_all(), detached=detached)
        return await asyncio.shield(self.tasks.spawn(sending, name=f"send {held.call.id}"))

    def under_way(self, call: CallId) -> bool:
        """Whether this replica is about to send the call, or waits in line to do so."""
        turn = self._turns.get(call)
        return turn is not None and turn.locked()

    async def _in_line(self, upstream: str, place: ExitStack) -> None:
        """Returns with a place among those that are sent to this upstream at once; `place` gives it back.

        Many approvals at once wait here, where nothing is promised yet, and not behind a lease, for a connection.
        """
        line = self._lines.setdefault(upstream, asyncio.Semaphore(self.sender.places(upstream)))
        await line.acquire()
        place.callback(line.release)

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
        leased = await self._lease(held, now)
        return await self._latest(held) if leased is None else _Ready(leased, body, approvals)

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

    async def _lease(self, held: Hold, now: float) -> Hold | None:
        until = now + self.exchange_limit_s + _LEASE_MARGIN_S
        leased = moves.lease(held, Lease(replica=self.replica, fence=fence(now), until=until), now)
        if isinstance(leased, Refused):
            return None
        return await self.store.keep(held, leased, not_after=held.execute_by, durable=True)

    async def _latest(self, held: Hold) -> Hold:
        return (await self._look(held, body=False)).hold

    async def _look(self, held: Hold, *, body: bool = True) -> Seen:
        seen = await self.store.look(held.call.id, body=body)
        if seen is None:
            raise BrokenPromise(Reason.NO_SUCH_HOLD, "The hold of this call is gone from the store.")
        return seen

    async def _send(self, ready: _Ready, place: ExitStack, *, detached: bool) -> Relay | Hold:
        started, leased = time.monotonic(), ready.leased
        with place:
            # INVARIANT: the intent is on the disk before the first byte; a connection may be dialled meanwhile.
            released = record.released(leased, ready.approvals, detached=detached)
            intent = self.tasks.spawn(self.ledger.record(released, Durability.SYNCED), name=f"intent {leased.call.id}")
            await asyncio.sleep(0)  # The intent takes longest, so it goes first.
            try:
                answered = await self.sender.send(leased.call, ready.body, fresh=True, cleared=intent)
            except BrokeOff as fault:
                return await self._conclude(leased, _End(State.UNKNOWN, fault.reason, fault.detail), started)
            except AssentryError as fault:
                return await self._conclude(leased, _End(State.FAILED, fault.reason, fault.detail), started)
            pipe = Pipe(attended=not detached)
            streaming = self._stream(leased, answered, pipe, started, place.pop_all())
            self.tasks.spawn(streaming, name=f"stream {leased.call.id}")
        whole = Ended(self._delivering(leased, pipe), unread=pipe.leave)
        return Relay(status=answered.status, headers=answered.headers, body=whole, call=leased.call.id)

    async def _stream(self, leased: Hold, answered: Answered, pipe: Pipe, started: float, place: ExitStack) -> None:
        with place:
            fault, kept = await self._poured(answered, pipe)
        if fault is None and len(kept) <= self.keep_response_bytes:
            await self._keep_response(leased, answered, kept)
        end = _End(State.EXECUTED, Reason.EXECUTED, fault.detail if fault else "", answered.status)
        await self._conclude(leased, end, started)
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

    async def _conclude(self, leased: Hold, end: _End, started: float) -> Hold:
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
            return await self._keep_end(leased, end)
        except AssentryError:
            self.tasks.spawn(self._keep_end_later(leased, end), name=f"conclude {leased.call.id}")
            return leased

    async def _keep_end(self, leased: Hold, end: _End) -> Hold:
        at = await self.store.now()
        conclusion = Conclusion(reason=end.reason, detail=end.detail, upstream_status=end.status, at=at)
        after = moves.conclude(leased, end.state, conclusion, fence=leased.lease.fence if leased.lease else None)
        kept = None if isinstance(after, Refused) else await self.store.keep(leased, after, durable=True)
        return kept or await self._latest(leased)

    async def _keep_end_later(self, leased: Hold, end: _End) -> None:
        # An outage of the store just after the upstream answered: what we know is worth some patience. When it runs
        # out, so has the lease, and the hold becomes `unknown`.
        for delay_s in (0.2, 0.5, 1, 2, 5, 10, 10):
            await asyncio.sleep(delay_s)
            try:
                await self._keep_end(leased, end)
            except AssentryError as fault:
                _log.warning("conclusion of %s not kept yet: %s", leased.call.id, fault)
            else:
                return

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
