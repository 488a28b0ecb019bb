"""The path of a click: may this person, count it, keep it, record it, tell everyone.

A channel has already turned the raw click into a `Click` by a verified person. Who may act is decided by
`policy.electorate`, what a ballot does by `policy.hold`, whether the approvals suffice by judging the call again with
them as evidence. Sending is left to `proxy.holds.release`, which the kept move wakes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from policy import electorate
from policy import hold as moves
from policy.brief import Brief, brief
from policy.call import CallId
from policy.electorate import Act
from policy.fingerprint import Fingerprint
from policy.hold import Ballot, Hold, Vote
from policy.principal import Person
from policy.reasons import Reason
from policy.verdict import Allow, Ask, Deny, Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.audit.redact import redact
from proxy.holds.store import HoldStore
from proxy.identity.people import People
from proxy.law import Law
from proxy.meters import Meters

_MOST_CONFLICTS = 20
"""Lost races after which a click gives up: far more than people can cause."""


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
    people: People
    ledger: Ledger
    meters: Meters

    async def take(self, click: Click) -> Hold | Refused:
        """The hold after the click, or why the click does not count.

        Raises Outage when the store or the ledger does not answer: the click may then be repeated.
        """
        for _ in range(_MOST_CONFLICTS):
            held = await self.store.read(click.call)
            if held is None:
                return _no_such_hold(click.call)
            now = await self.store.now()
            after = self._not_theirs(held, click, now) or await self._counted(held, click, now)
            if isinstance(after, Refused):
                self.meters.clicked(click.act, after.reason)
                return after
            kept = await self.store.keep(held, after, not_after=held.decide_by, durable=True)
            if kept is not None:
                await self._tell(kept, click, now)
                return kept
        return Refused(reason=Reason.CONFLICT, detail="Others keep changing this call. Open it again and decide anew.")

    async def show(self, person: Person, call: CallId) -> Brief | Refused:
        """What this person may see of a hold."""
        held = await self.store.read(call)
        if held is None:
            return _no_such_hold(call)
        refused = electorate.may_act(self.law.current.engine, person, Act.VIEW, held, now=await self.store.now())
        # What someone may not see does not exist for them.
        return _no_such_hold(call) if refused else brief(held, await self.store.body(call), redact=redact)

    async def listing(self, person: Person, *, settled: bool = False, limit: int = 200) -> tuple[Brief, ...]:
        """The holds this person may see, most urgent first; settled ones latest first."""
        holds = await (self.store.recent(limit=limit) if settled else self.store.open_holds(limit=limit))
        now = await self.store.now()
        engine = self.law.current.engine
        seen = [held for held in holds if electorate.may_act(engine, person, Act.VIEW, held, now=now) is None]
        return tuple([brief(held, None, redact=redact) for held in seen])

    def _not_theirs(self, held: Hold, click: Click, now: float) -> Refused | None:
        if click.fingerprint != held.fingerprint:
            detail = "What you were shown is not what is held now. Open it again and decide on what it shows."
            return Refused(reason=Reason.FINGERPRINT_CHANGED, detail=detail)
        return electorate.may_act(
            self.law.current.engine, click.person, click.act, held, now=now, reason=click.reason, channel=click.channel
        )

    async def _counted(self, held: Hold, click: Click, now: float) -> Hold | Refused:
        match click.act:
            case Act.APPROVE:
                return await self._approved(held, _ballot(click, Vote.APPROVE, now), click.person, now)
            case Act.REJECT:
                return moves.count(held, _ballot(click, Vote.REJECT, now), now)
            case Act.WITHDRAW:
                return moves.withdraw(held, click.person.identity, click.person.name, click.reason, now)
            case Act.VIEW:
                return Refused(reason=Reason.NOT_ENTITLED, detail="Looking at a call changes nothing.")
            case _:
                assert_never(click.act)

    async def _approved(self, held: Hold, ballot: Ballot, person: Person, now: float) -> Hold | Refused:
        counted = moves.count(held, ballot, now)
        if isinstance(counted, Refused):
            return counted
        voters = frozenset(vote.person for vote in counted.approvals)
        people = {**await self.people.read(voters), person.identity: person}
        law = self.law.current
        approvals = electorate.evidence(law.engine, counted, people, now=now)
        match await self.law.judge(held.call, approvals, by=law, spend=False):
            case Allow():
                return moves.approve(held, ballot, now)
            case Ask() as ask:
                return replace(counted, gates=ask.gates, policies=ask.policies)
            case Deny() as deny:
                return moves.deny(held, deny.reason, "; ".join(deny.explanations), now)

    async def _tell(self, kept: Hold, click: Click, now: float) -> None:
        # Keeping the move has already woken the waiting replicas; channels amend their cards from the same wake-up.
        await self.ledger.record(record.clicked(kept, click), Durability.SYNCED)
        if kept.state not in moves.OPEN:
            await self.ledger.record(record.moved(kept), Durability.SYNCED)
            self.meters.settled(kept, now=now)
        self.meters.clicked(click.act, None)


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
