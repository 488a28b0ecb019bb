"""Who may act on which hold, and which of the votes on it still count.

Acting is itself an action under policy: Cedar decides, with the person as principal and the hold as resource. This
module asks, puts a No into words, and recounts. The life of the hold is `policy.hold`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from policy.attempt import Act, Attempt
from policy.engine import Engine
from policy.hold import Ballot, Hold
from policy.principal import Identity, Person
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Deny, Refused

__all__ = ["FOUR_EYES", "Act", "evidence", "may_act"]

FOUR_EYES = "base-four-eyes"
"""Id of the shipped policy that keeps people from approving what they asked for."""


def may_act(  # noqa: PLR0913 - one sentence: this person, this act, this hold, now, for this reason, over this channel
    engine: Engine, person: Person, act: Act, hold: Hold, *, now: float, reason: str = "", channel: str = "api"
) -> Refused | None:
    """None where the law permits the act, else why it does not. `now` in Unix seconds, the store's time."""
    signed_in = person.authenticated_at
    attempt = Attempt(
        person=person,
        act=act,
        hold=hold,
        now=now,
        reason=reason,
        channel=channel,
        sign_in_age_s=None if signed_in is None else now - signed_in,
    )
    verdict = engine.judge_act(attempt)
    return _refused(verdict, act) if isinstance(verdict, Deny) else None


def evidence(engine: Engine, hold: Hold, people: Mapping[Identity, Person], *, now: float) -> Approvals:
    """The approvals of a hold that count at `now`: each voter is authorized again, as who they are today.

    `people` holds what is known today; whoever is absent is not counted. A vote rests on the sign-in, the reason and
    the channel it was cast with, so these are judged as they were. Quorums are counted in distinct people, and only
    for the groups that the bundle was built with.
    """
    counted: dict[Identity, float] = {}
    for ballot in hold.approvals:
        person = people.get(ballot.person)
        if person is not None and person.identity == ballot.person and _stands(engine, hold, ballot, person, now=now):
            counted[ballot.person] = max(ballot.cast_at, counted.get(ballot.person, ballot.cast_at))
    if not counted:
        return Approvals()
    members = Counter(group for one in counted for group in people[one].groups)
    return Approvals(
        count=len(counted),
        by=frozenset(counted),
        quorum=frozenset(
            f"{group}:{n}"
            for group, most in engine.bundle.groups.items()
            for n in range(1, min(most, members[group]) + 1)
        ),
        age_s=max(0.0, now - max(counted.values())),
    )


def _stands(engine: Engine, hold: Hold, ballot: Ballot, person: Person, *, now: float) -> bool:
    if ballot.fingerprint != hold.fingerprint:
        return False
    signed_in = ballot.authenticated_at
    attempt = Attempt(
        person=replace(person, authenticated_at=signed_in, methods=ballot.methods),
        act=Act.APPROVE,
        hold=hold,
        now=now,
        reason=ballot.reason,
        channel=ballot.channel,
        sign_in_age_s=None if signed_in is None else ballot.cast_at - signed_in,
    )
    return isinstance(engine.judge_act(attempt), Allow)


def _refused(verdict: Deny, act: Act) -> Refused:
    if FOUR_EYES in verdict.policies:
        detail = "You asked for this call, or answer for the agent that makes it; somebody else has to approve it."
        return Refused(reason=Reason.OWN_CALL, detail=detail)
    if verdict.reason is Reason.FORBIDDEN:
        why = " ".join(verdict.explanations) or f"Forbidden by {', '.join(verdict.policies)}."
        return Refused(reason=Reason.NOT_ENTITLED, detail=f"You may not {act.value} this call. {why}")
    if verdict.reason is Reason.POLICY_ERROR:
        detail = f"Whether you may {act.value} this call could not be evaluated, so the answer is no."
        return Refused(reason=Reason.NOT_ENTITLED, detail=detail)
    detail = f"No policy lets you {act.value} this call. Whoever writes the policies can say who may."
    return Refused(reason=Reason.NOT_ENTITLED, detail=detail)
