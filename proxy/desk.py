"""The path of a click: may this person, count it, keep it, record it, tell everyone.

A channel has already turned the raw click into a `Click` by a verified person. Who may act is decided by
`policy.electorate`, what a ballot does by `policy.hold`, whether the approvals suffice by judging the call again with
them as evidence. Sending is left to `proxy.holds.release`: where the agent waits here it takes the last approval and
begins at once, elsewhere the kept move wakes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import assert_never

from policy import electorate
from policy import hold as moves
from policy.brief import Brief, brief, hidden_bytes
from policy.call import CallId
from policy.electorate import Act
from policy.fingerprint import Fingerprint
from policy.hold import Ballot, Hold, Vote
from policy.operation import Tier
from policy.principal import Person
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny, Refused
from proxy.audit import record
from proxy.audit.ledger import Ledger
from proxy.audit.record import Record
from proxy.errors import Outage
from proxy.holds.release import Assent, Release
from proxy.holds.store import HoldStore, Seen
from proxy.identity.people import People
from proxy.law import Law
from proxy.meters import Meters

_MOST_CONFLICTS = 20
"""Lost races after which a click gives up: far more than people can cause."""
MOST_LISTED = 200
"""Holds in one list: more than a person reads."""
_MOST_LOOKED_AT = 1_000
"""Holds looked at for one list. Others' holds must not crowd a person's own out of it, nor one list stall the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Click:
    """What a person did to a hold."""

    person: Person
    act: Act
    call: CallId
    fingerprint: Fingerprint
    """What the person was shown; a decision on anything else is refused."""
    shown: str = ""
    """Digest of the brief the person saw."""
    reason: str = ""
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Takes clicks. Its parts are made by `proxy.wiring`."""

    law: Law
    store: HoldStore
    release: Release
    people: People
    ledger: Ledger
    meters: Meters
    redact: Callable[[str], str]
    """Replaces secrets in what people are shown."""

    async def take(self, click: Click) -> Seen | Refused:
        """The hold as the click left it, or why the click does not count.

        Raises Outage when the store or the ledger does not answer: the click may then be repeated.
        """
        if not self.ledger.ready:
            raise Outage(Reason.LEDGER_UNAVAILABLE, "Decisions cannot be recorded now, so none is taken. Try again.")
        for _ in range(_MOST_CONFLICTS):
            seen = await self.store.look(click.call, body=click.act is Act.APPROVE)
            if seen is None or self._unseen(seen.hold, click.person, seen.now):
                return _no_such_hold(click.call)
            held, now = seen.hold, seen.now
            after = (
                self._not_theirs(held, click, now) or self._not_shown(seen, click) or await self._counted(seen, click)
            )
            if isinstance(after, Refused):
                self.meters.clicked(click.act, after.reason)
                return after
            kept = await self._kept(held, after, click)
            if kept is not None:
                self._measured(kept, click, now)
                return replace(seen, hold=kept, body=None if kept.state in moves.FINAL else seen.body)
        return Refused(reason=Reason.CONFLICT, detail="Others keep changing this call. Open it again and decide anew.")

    async def show(self, person: Person, call: CallId, *, whole: bool = False) -> Brief | Refused:
        """What this person may see of a hold. `whole`: a long body to its end."""
        seen = await self.store.look(call)
        if seen is None or self._unseen(seen.hold, person, seen.now):
            return _no_such_hold(call)
        if seen.hold.state in moves.OPEN:
            # Who looks may decide next. The law's answer is then remembered, and nobody waits for it a second time.
            electorate.may_act(self.law.current.engine, person, Act.APPROVE, seen.hold, now=seen.now)
        return await self.brief_of(seen, whole=whole)

    async def brief_of(self, seen: Seen, *, whole: bool = False) -> Brief:
        """What somebody who may see this hold is shown of it."""
        approvals = (await self._evidence((seen.hold,), seen.now))[seen.hold.call.id]
        left = not seen.waiting
        return brief(seen.hold, seen.body, redact=self.redact, approvals=approvals, whole=whole, client_left=left)

    async def listing(self, person: Person, *, settled: bool = False, limit: int = MOST_LISTED) -> tuple[Brief, ...]:
        """The holds this person may see, without their bodies.

        Open ones by severity, then the soonest to expire first; decided ones the latest opened first.
        """
        most = _MOST_LOOKED_AT
        holds = await (self.store.recent(limit=most) if settled else self.store.open_holds(limit=most))
        now = await self.store.now()
        seen = [
            held for held in holds if (held.state in moves.OPEN) is not settled and not self._unseen(held, person, now)
        ]
        listed = seen[:limit] if settled else sorted(seen, key=_urgency)[:limit]
        approvals = await self._evidence(listed, now)
        return tuple([brief(held, None, redact=self.redact, approvals=approvals[held.call.id]) for held in listed])

    async def _evidence(self, holds: Iterable[Hold], now: float) -> dict[CallId, Approvals]:
        """The approvals that count now, by call. Known only for holds that somebody may still vote on."""
        voted = {held.call.id: held for held in holds if held.state in moves.OPEN and held.ballots}
        people = await self.people.read({vote.person for held in voted.values() for vote in held.approvals})
        engine = self.law.current.engine
        return {
            held.call.id: electorate.evidence(engine, held, people, now=now) if held.call.id in voted else Approvals()
            for held in holds
        }

    def _unseen(self, held: Hold, person: Person, now: float) -> bool:
        # What someone may not see does not exist for them.
        return electorate.may_act(self.law.current.engine, person, Act.VIEW, held, now=now) is not None

    def _not_shown(self, seen: Seen, click: Click) -> Refused | None:
        """A No to an approval of more than was shown (threats A10)."""
        held, body = seen.hold, seen.body
        if click.act is not Act.APPROVE or held.state not in moves.OPEN:
            return None
        if not hidden_bytes(body):
            return None
        if click.shown == brief(held, body, redact=self.redact, whole=True).shown:
            return None
        detail = "The call sends more than was shown to you. Open the whole of it, and decide on that."
        return Refused(reason=Reason.NOT_SHOWN_WHOLE, detail=detail)

    def _not_theirs(self, held: Hold, click: Click, now: float) -> Refused | None:
        if click.fingerprint != held.fingerprint:
            detail = "What you were shown is not what is held now. Open it again and decide on what it shows."
            return Refused(reason=Reason.FINGERPRINT_CHANGED, detail=detail)
        return electorate.may_act(
            self.law.current.engine, click.person, click.act, held, now=now, reason=click.reason, channel=click.channel
        )

    async def _counted(self, seen: Seen, click: Click) -> Assent | Hold | Refused:
        held, now = seen.hold, seen.now
        match click.act:
            case Act.APPROVE:
                return await self._approved(seen, _ballot(click, Vote.APPROVE, now), click.person)
            case Act.REJECT:
                return moves.count(held, _ballot(click, Vote.REJECT, now), now)
            case Act.WITHDRAW:
                return moves.withdraw(held, click.person.identity, click.person.name, click.reason, now)
            case Act.VIEW:
                return Refused(reason=Reason.NOT_ENTITLED, detail="Looking at a call changes nothing.")
            case _:
                assert_never(click.act)

    async def _approved(self, seen: Seen, ballot: Ballot, person: Person) -> Assent | Hold | Refused:
        held, now = seen.hold, seen.now
        counted = moves.count(held, ballot, now)
        if isinstance(counted, Refused):
            return counted
        # Who clicks was let in a moment ago; the others are asked for as they are today.
        barred = await self.release.ask_ahead(held)
        others = {vote.person for vote in counted.approvals} - {person.identity}
        people = {**await self.people.read(others), person.identity: person}
        law = self.law.current
        approvals = electorate.evidence(law.engine, counted, people, now=now)
        match await self.law.judge(held.call, approvals, by=law, spend=False):
            case Allow():
                approved = moves.approve(held, ballot, now)
                if isinstance(approved, Refused):
                    return approved
                return Assent(seen=seen, approved=approved, approvals=approvals, by=law, barred=barred)
            case Ask() as ask:
                return replace(counted, gates=ask.gates, policies=ask.policies)
            case Deny() as deny:
                return moves.deny(held, deny.reason, "; ".join(deny.explanations), now)

    async def _kept(self, held: Hold, after: Assent | Hold, click: Click) -> Hold | None:
        """The move, kept and on the record; None when somebody else moved the hold first."""
        if isinstance(after, Assent):
            if await self.release.at_once(after, told=partial(_records, after.approved, click)):
                return after.approved
            after = after.approved
        kept = await self.store.keep(held, after, not_after=held.decide_by, durable=True)
        if kept is not None:
            # Keeping the move has already woken the waiting replicas; channels amend their cards from the same wake-up.
            # In one go: what follows from the decision is not written down before it.
            await self.ledger.sync(*map(self.ledger.encode, _records(kept, click)))
        return kept

    def _measured(self, kept: Hold, click: Click, now: float) -> None:
        if kept.state not in moves.OPEN:
            self.meters.settled(kept, now=now)
        self.meters.clicked(click.act, None)


_SEVERITIES = {Tier.HIGH: 0, Tier.MEDIUM: 1, Tier.LOW: 2}


def _urgency(held: Hold) -> tuple[int, float]:
    return _SEVERITIES[held.obligations.severity or held.call.operation.tier], held.decide_by


def _records(kept: Hold, click: Click) -> tuple[Record, ...]:
    clicked = record.clicked(kept, click)
    return (clicked,) if kept.state in moves.OPEN else (clicked, record.moved(kept))


def _ballot(click: Click, vote: Vote, now: float) -> Ballot:
    person = click.person
    return Ballot(
        person=person.identity,
        name=person.name,
        vote=vote,
        reason=click.reason,
        channel=click.channel,
        authenticated_at=person.authenticated_at,
        methods=person.methods,
        shown=click.shown,
        fingerprint=click.fingerprint,
        cast_at=now,
    )


def _no_such_hold(call: CallId) -> Refused:
    return Refused(reason=Reason.NO_SUCH_HOLD, detail=f"There is no held call {call!r} that you may see.")
