"""The path of a call: identify, name, judge; then refuse it, send it, or hold it until people have decided.

Each step is one line of `carry` or of the three endings below it. What a step does is decided elsewhere: who is
calling in `proxy.identity`, what is asked in `connectors.apis`, what may be done in `policy`. A call that got past
judgement leaves only by `proxy.upstream.sender`, after its intent was recorded. Approved calls are sent by
`proxy.holds.release`. `proxy.express` takes these very steps in one go for allowed calls that need no waiting.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from policy.call import Call, CallId
from policy.hold import FINAL, OPEN, Hold, State
from policy.principal import Principal
from policy.reasons import Reason
from policy.verdict import Allow, Ask, Deny, Refused, Verdict
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.doors.arrival import Answer, Arrival, BearerText, Client, Held, Pending, Refusal, Relay
from proxy.errors import AssentryError
from proxy.holds.opening import Coming, Opening
from proxy.holds.release import Release
from proxy.holds.store import HoldStore
from proxy.holds.waiting import Waiting
from proxy.identity.admission import Admission
from proxy.law import Law
from proxy.meters import Meters
from proxy.naming import name_call
from proxy.unread import Ended
from proxy.upstream.pool import BrokeOff, Passed, Upload
from proxy.upstream.sender import Answered, Sender


class _Sent(NamedTuple):
    """A call on its way: since when, and what has passed of a body that nobody reads."""

    call: Call
    started: float
    passed: Callable[[], Passed] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Carries calls. Its parts are made by `proxy.wiring`."""

    admission: Admission
    law: Law
    ledger: Ledger
    sender: Sender
    opening: Opening
    waiting: Waiting
    release: Release
    store: HoldStore
    meters: Meters
    status_url: Callable[[CallId], str]
    sample: Callable[[CallId], int]
    """0 to 9999 for a call id, from a keyed hash."""
    always_async: bool = False

    async def carry(self, arrival: Arrival) -> Answer | Held:
        """The answer to one call: the upstream's own, or a refusal that says why; or that it is held: `settle` it.

        Never raises for what a caller, an upstream or an outage may cause; every such end is a recorded refusal.
        """
        try:
            principal = await self.admission.caller(arrival)
            law = self.law.current
            call = name_call(arrival, principal, law=law, sample=self.sample(arrival.id))
            if isinstance(call, Refused):
                return await self._turn_away(arrival, call.reason, call.detail, principal)
            verdict = await self.law.judge(call, by=law)
            return await self._carry_out(verdict, call, arrival)
        except AssentryError as fault:
            return await self._turn_away(arrival, fault.reason, fault.detail)

    async def _carry_out(self, verdict: Verdict, call: Call, arrival: Arrival) -> Answer | Held:
        self.meters.judged(call, verdict)
        match verdict:
            case Deny():
                return await self._deny(call, verdict)
            case Allow():
                return await self._forward(call, arrival, verdict)
            case Ask():
                return await self._hold(call, arrival, verdict)
            case _:
                assert_never(verdict)

    # Ending 1: No.

    async def _deny(self, call: Call, verdict: Deny) -> Refusal:
        await self.ledger.record(record.judged(call, verdict), Durability.WRITTEN)
        detail = "; ".join(verdict.explanations) or _WORDS[verdict.reason]
        return _refusal(call, verdict.reason, detail, policies=verdict.policies)

    # Ending 2: sent now. The intent is on the ledger before the first byte; the conclusion follows the last.

    async def _forward(self, call: Call, arrival: Arrival, verdict: Allow) -> Answer:
        await self.ledger.record(record.judged(call, verdict), Durability.WRITTEN)
        return await self.send(call, arrival.upload or arrival.body)

    async def send(self, call: Call, body: bytes | Upload) -> Answer:
        """The answer to a call whose intent is on the ledger."""
        started, passed = time.monotonic(), body.passed if isinstance(body, Upload) else None
        try:
            answered = await self.sender.send(call, body)
        except AssentryError as fault:
            return await self.failed(call, fault, started=started, passed=passed)
        return self.relay(call, answered, started=started, passed=passed)

    async def failed(
        self, call: Call, fault: AssentryError, *, started: float, passed: Callable[[], Passed] | None = None
    ) -> Refusal:
        """The answer where there is none of the upstream's. `started` is of the monotonic clock."""
        await self._conclude(_Sent(call, started, passed), fault.reason)
        return _refusal(call, fault.reason, fault.detail)

    def relay(
        self, call: Call, answered: Answered, *, started: float, passed: Callable[[], Passed] | None = None
    ) -> Relay:
        """The upstream's answer on its way to the agent; concluded when it is through. `started`: as above."""
        sent = _Sent(call, started, passed)
        stream = Ended(
            self._stream(sent, answered),
            unread=lambda: self._conclude(sent, Reason.EXECUTED, status=answered.status),
        )
        return Relay(status=answered.status, headers=answered.headers, body=stream, call=call.id)

    async def _stream(self, sent: _Sent, answered: Answered) -> AsyncGenerator[bytes, None]:
        reason = Reason.EXECUTED  # Also when the agent leaves in the middle: the upstream has answered.
        try:
            async with aclosing(answered.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk
        except BrokeOff as fault:
            reason = fault.reason
            raise
        finally:
            await self._conclude(sent, reason, status=answered.status)

    async def _conclude(self, sent: _Sent, reason: Reason, *, status: int | None = None) -> None:
        took_ms = (time.monotonic() - sent.started) * 1000
        self.meters.concluded(sent.call, reason, took_ms)
        passed = sent.passed() if sent.passed else None
        done = record.concluded(sent.call.id, reason, upstream_status=status, latency_ms=took_ms, passed=passed)
        await self.ledger.record(done, Durability.QUEUED)

    # Ending 3: held. The agent waits as long as its client can bear; the hold outlives the wait. Two steps, because
    # everything of the first one, the call and its body above all, is gone from memory during the second.

    async def _hold(self, call: Call, arrival: Arrival, ask: Ask) -> Answer | Held:
        stays = not (arrival.patience.respond_async or self.always_async)
        coming = Coming(sent_again=arrival.sent_again, stays=stays)
        held = await self.opening.open(call, arrival.body, ask, coming=coming)
        if isinstance(held, Refused):
            await self.ledger.record(record.refused(call.id, held.reason, held.detail), Durability.WRITTEN)
            return _refusal(call, held.reason, held.detail, policies=ask.policies)
        if not stays:
            return self._pending(held)
        return Held(
            id=arrival.id,
            hold=held.call.id,
            upstream=arrival.upstream,
            peer=arrival.peer,
            deadline=self.waiting.deadline(arrival.patience, upstream=arrival.upstream),
            patience=arrival.patience,
        )

    async def settle(self, held: Held, client: Client) -> Answer:
        """The answer to a call that was held: sent once people assented, refused, or not decided in time.

        Never raises, as `carry`.
        """
        try:
            return await self._settled(held, client)
        except AssentryError as fault:
            return await self._turn_away(held, fault.reason, fault.detail)

    async def _settled(self, waiting: Held, client: Client) -> Answer:
        held = await self.waiting.until_settled(waiting, client)
        while held.state is State.APPROVED and client.present():
            sent = await self.release.release(held)
            if isinstance(sent, Relay):
                return sent
            # Another replica was first, or the law had second thoughts: go by what the hold says now.
            held = await self.waiting.until_settled(waiting, client)
        # An approved call whose client is gone is sent by `proxy.holds.expiry`, if it may go without one.
        return await self._ended(held)

    async def _ended(self, held: Hold) -> Answer:
        if held.state in OPEN or held.state in {State.APPROVED, State.RELEASING}:
            return self._still_pending(held)
        return await self.release.kept_answer(held) or _told_end(held)

    # GET /v1/calls/{id}: what became of a call, for the agent that made it.

    async def status(self, bearer: BearerText | None, call: CallId) -> Answer:
        """The stored response, 202 while undecided, or the refusal. Nobody else's call exists."""
        try:
            principal = await self.admission.agent(bearer)
            held = await self.store.read(call)
        except AssentryError as fault:
            return Refusal(reason=fault.reason, detail=fault.detail, call=call)
        if held is None or not _is_theirs(held, principal):
            return Refusal(reason=Reason.NO_SUCH_HOLD, detail="There is no held call of yours with this id.", call=call)
        if held.state not in FINAL and held.state is not State.UNKNOWN:
            return self._pending(held)
        return await self.release.kept_answer(held) or _told_end(held)

    async def refuse(self, refusal: Refusal, peer: str) -> None:
        """Put a refusal that the door itself made on the ledger. Raises Outage when that is impossible."""
        self.meters.refused(refusal.reason)
        await self.ledger.record(
            record.refused(refusal.call, refusal.reason, refusal.detail, peer=peer), Durability.WRITTEN
        )

    async def _turn_away(
        self, arrival: Arrival | Held, reason: Reason, detail: str, principal: Principal | None = None
    ) -> Refusal:
        self.meters.refused(reason)
        refusal = Refusal(reason=reason, detail=detail, call=arrival.id, upstream=arrival.upstream)
        try:
            written = record.refused(arrival.id, reason, detail, peer=arrival.peer, principal=principal)
            await self.ledger.record(written, Durability.WRITTEN)
        except AssentryError as fault:
            return Refusal(reason=fault.reason, detail=fault.detail, call=arrival.id, upstream=arrival.upstream)
        return refusal

    # Answers.

    def _still_pending(self, held: Hold) -> Refusal:
        stands = "Nobody has decided yet." if held.state in OPEN else "It has been approved and is being sent."
        return Refusal(
            reason=Reason.APPROVAL_PENDING,
            call=held.call.id,
            upstream=held.call.upstream,
            operation=held.call.operation.name,
            policies=held.policies,
            fingerprint=held.fingerprint,
            detail=f"{stands} Send the same call again to go on waiting for it, or ask for its status.",
            status_url=self.status_url(held.call.id),
        )

    def _pending(self, held: Hold) -> Pending:
        return Pending(
            call=held.call.id,
            status_url=self.status_url(held.call.id),
            fingerprint=held.fingerprint,
            operation=held.call.operation.name,
        )


def _is_theirs(held: Hold, principal: Principal) -> bool:
    # An agent that serves several people must not hand the answer for one of them to another.
    asked = held.call.principal
    return (asked.agent, asked.subject) == (principal.agent, principal.subject)


def _refusal(call: Call, reason: Reason, detail: str, *, policies: tuple[str, ...] = ()) -> Refusal:
    return Refusal(
        reason=reason,
        detail=detail,
        call=call.id,
        upstream=call.upstream,
        operation=call.operation.name,
        policies=policies,
    )


def _told_end(held: Hold) -> Refusal:
    end = held.conclusion
    reason = end.reason if end else Reason.CONFLICT
    return Refusal(
        reason=reason,
        detail=_told(held, reason),
        call=held.call.id,
        upstream=held.call.upstream,
        operation=held.call.operation.name,
        policies=held.policies,
        decided_by=held.settled_name or None,
        decision_reason=end.detail if end and reason is Reason.REJECTED else None,
        fingerprint=held.fingerprint,
    )


_WORDS = {
    Reason.FORBIDDEN: "A policy forbids this call.",
    Reason.NO_POLICY_PERMITS: "No policy permits this call, and an approval would not help.",
    Reason.POLICY_ERROR: "The policies could not be evaluated for this call, so it is refused.",
    Reason.INPUT_UNREADABLE: "A policy depends on input that could not be read, so the call is refused.",
    Reason.INPUT_MISSING: "A required part of the input is missing.",
}


def _told(held: Hold, reason: Reason) -> str:
    end = held.conclusion
    words = end.detail if end and end.detail else ""
    if reason is Reason.REJECTED:
        return f"{held.settled_name or 'A reviewer'} rejected this call" + (f": {words}" if words else ".")
    if reason is Reason.EXECUTED:
        return "This call was carried out, but its response is no longer kept. Do not send it again."
    return words or f"This call ended: {reason.value}."
