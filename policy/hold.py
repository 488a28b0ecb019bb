"""The life of a held call: a table, and the moves that people and clocks may make.

Rule 1: a state changes only by a move that `MOVES` holds; every other move is refused and changes nothing.
Rule 2: time comes in as `now`, always the store's time. No clock here ever turns waiting into approval.
Rule 3: every function returns a new value with the next revision, or `Refused`; keeping it, by compare-and-set on the
revision, is `proxy.holds.store`'s work, and deciding who may vote is `policy.electorate`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from policy.call import Call
from policy.fingerprint import Fingerprint, Likeness
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Gate, Obligations, Refused


class State(StrEnum):
    """Where a held call stands."""

    PENDING = "pending"
    QUESTIONED = "questioned"
    APPROVED = "approved"
    RELEASING = "releasing"
    EXECUTED = "executed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    EXPIRED = "expired"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"


MOVES: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset(
        {State.PENDING, State.QUESTIONED, State.APPROVED, State.REJECTED, State.EXPIRED, State.WITHDRAWN}
    ),
    State.QUESTIONED: frozenset({State.PENDING, State.REJECTED, State.EXPIRED, State.WITHDRAWN}),
    State.APPROVED: frozenset({State.RELEASING, State.LAPSED, State.WITHDRAWN, State.PENDING, State.REJECTED}),
    State.RELEASING: frozenset({State.EXECUTED, State.FAILED, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.EXECUTED, State.FAILED}),
    State.EXECUTED: frozenset(),
    State.FAILED: frozenset(),
    State.REJECTED: frozenset(),
    State.EXPIRED: frozenset(),
    State.LAPSED: frozenset(),
    State.WITHDRAWN: frozenset(),
}
"""`approved` may still become `rejected`: a policy that denies at release beats every approval (docs/decisions)."""

FINAL = frozenset(state for state, nexts in MOVES.items() if not nexts)
OPEN = frozenset({State.PENDING, State.QUESTIONED})


class Vote(StrEnum):
    """What a ballot says."""

    APPROVE = "approve"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One person's vote on one hold, with what it rests on."""

    person: Identity
    name: str
    vote: Vote
    reason: str = ""
    channel: str
    authenticated_at: int | None = None
    methods: frozenset[str] = frozenset()
    shown: str
    """Digest of the brief the person saw."""
    fingerprint: Fingerprint
    cast_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The single permission to send, held by one replica until a time. `fence` never repeats."""

    replica: str
    fence: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """How a released call ended."""

    reason: Reason
    detail: str = ""
    upstream_status: int | None = None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A call kept back, everything that was decided about it, and where it stands."""

    call: Call
    likeness: Likeness
    fingerprint: Fingerprint
    bundle: str
    gates: tuple[Gate, ...]
    policies: tuple[str, ...]
    obligations: Obligations
    state: State = State.PENDING
    revision: int = 0
    ballots: tuple[Ballot, ...] = ()
    opened_at: float
    decide_by: float
    execute_by: float | None = None
    execute_within_s: int
    """How long an approval stays good once given."""
    settled_by: Identity | None = None
    """Who made the last deciding move: the last approver, the one who rejected or withdrew."""
    settled_name: str = ""
    lease: Lease | None = None
    conclusion: Conclusion | None = None

    @property
    def approvals(self) -> tuple[Ballot, ...]:
        """The ballots in favour, one a person."""
        return tuple(ballot for ballot in self.ballots if ballot.vote is Vote.APPROVE)


def count(hold: Hold, ballot: Ballot, now: float) -> Hold | Refused:
    """The hold with one more ballot: still pending for an approval, rejected for a rejection.

    Whether the approvals suffice is not decided here but by judging the call again with them as evidence.
    """
    if ballot.fingerprint != hold.fingerprint:
        return Refused(
            reason=Reason.FINGERPRINT_CHANGED,
            detail="What you were shown is not what is held now. Open the hold again and decide on what it shows.",
        )
    if hold.state not in OPEN:
        return _settled(hold)
    if now >= hold.decide_by:
        return Refused(reason=Reason.EXPIRED, detail="The time to decide on this call is over.")
    if ballot.vote is Vote.REJECT:
        rejected = _moved(hold, State.REJECTED)
        if isinstance(rejected, Refused):
            return rejected
        return replace(
            rejected,
            ballots=(*hold.ballots, ballot),
            settled_by=ballot.person,
            settled_name=ballot.name,
            conclusion=Conclusion(reason=Reason.REJECTED, detail=ballot.reason, at=now),
        )
    if any(held.person == ballot.person for held in hold.approvals):
        return Refused(
            reason=Reason.ALREADY_VOTED, detail="You have already approved this call; it needs someone else."
        )
    pending = _moved(hold, State.PENDING)
    return pending if isinstance(pending, Refused) else replace(pending, ballots=(*hold.ballots, ballot))


def approve(hold: Hold, ballot: Ballot, now: float) -> Hold | Refused:
    """The hold with its last ballot in, approved, and good until the execution expiry."""
    counted = count(hold, ballot, now)
    if isinstance(counted, Refused):
        return counted
    if State.APPROVED not in MOVES[counted.state] or ballot.vote is not Vote.APPROVE:
        return _settled(hold)
    return replace(
        counted,
        state=State.APPROVED,
        execute_by=now + hold.execute_within_s,
        settled_by=ballot.person,
        settled_name=ballot.name,
    )


def expire(hold: Hold, now: float) -> Hold | Refused:
    """The hold after its clock ran out: expired without a decision, lapsed without an execution."""
    if hold.state in OPEN and now >= hold.decide_by:
        return _ended(hold, State.EXPIRED, Reason.EXPIRED, "Nobody decided in time.", now)
    if hold.state is State.APPROVED and hold.execute_by is not None and now >= hold.execute_by:
        return _ended(hold, State.LAPSED, Reason.LAPSED, "It was approved, but not sent in time.", now)
    if hold.state is State.RELEASING and hold.lease is not None and now >= hold.lease.until:
        detail = "The replica that was sending it went away. It may have been carried out; a person has to look."
        return _ended(hold, State.UNKNOWN, Reason.OUTCOME_UNKNOWN, detail, now)
    return _settled(hold)


def withdraw(hold: Hold, by: Identity, name: str, reason: str, now: float) -> Hold | Refused:
    """The hold taken back, by its agent or by a person."""
    ended = _ended(hold, State.WITHDRAWN, Reason.WITHDRAWN, reason, now)
    return ended if isinstance(ended, Refused) else replace(ended, settled_by=by, settled_name=name)


def lease(hold: Hold, held: Lease, now: float) -> Hold | Refused:
    """The hold in the hands of the one replica that will send it."""
    if hold.state is State.APPROVED and hold.execute_by is not None and now >= hold.execute_by:
        return Refused(reason=Reason.LAPSED, detail="The approval is no longer good: it was not used in time.")
    moved = _moved(hold, State.RELEASING)
    return moved if isinstance(moved, Refused) else replace(moved, lease=held)


def reopen(hold: Hold, now: float, *, gates: tuple[Gate, ...], policies: tuple[str, ...]) -> Hold | Refused:
    """The hold back among the pending: judged again at release, it needs more than it has. Its ballots stay."""
    if now >= hold.decide_by:
        return _ended(hold, State.LAPSED, Reason.LAPSED, "It needs more approvals, and the time for them is over.", now)
    moved = _moved(hold, State.PENDING)
    return moved if isinstance(moved, Refused) else replace(moved, gates=gates, policies=policies, execute_by=None)


def deny(hold: Hold, reason: Reason, detail: str, now: float) -> Hold | Refused:
    """The hold refused by the law itself, before or after people assented."""
    return _ended(hold, State.REJECTED, reason, detail, now)


def conclude(hold: Hold, state: State, conclusion: Conclusion, *, fence: str | None) -> Hold | Refused:
    """The hold at its end: executed, failed, or unknown. Only the holder of the lease may say so.

    `fence=None` is a person who reconciles an unknown outcome.
    """
    reconciled = hold.state is State.UNKNOWN and fence is None
    if not reconciled and (hold.lease is None or hold.lease.fence != fence):
        return Refused(reason=Reason.CONFLICT, detail="Another replica holds the lease of this call.")
    moved = _moved(hold, state)
    return moved if isinstance(moved, Refused) else replace(moved, conclusion=conclusion)


def _moved(hold: Hold, state: State) -> Hold | Refused:
    if state not in MOVES[hold.state]:
        return _settled(hold)
    return replace(hold, state=state, revision=hold.revision + 1)


def _ended(hold: Hold, state: State, reason: Reason, detail: str, now: float) -> Hold | Refused:
    moved = _moved(hold, state)
    if isinstance(moved, Refused):
        return moved
    return replace(moved, conclusion=Conclusion(reason=reason, detail=detail, at=now))


def _settled(hold: Hold) -> Refused:
    who = f" by {hold.settled_name}" if hold.settled_name else ""
    return Refused(reason=Reason.ALREADY_DECIDED, detail=f"This call is already {hold.state.value}{who}.")
