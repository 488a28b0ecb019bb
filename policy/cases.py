"""Policy test cases: a call or a person's act, and what the law should say of it.

Builds the values from what the case names and sane defaults, asks the engine, and says where the answer differs. It
does no I/O: reading files and printing is the command line's. The form of the files is `policy.casefile`'s.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import product
from typing import ClassVar

from policy import electorate
from policy.attempt import Act
from policy.bundle import Bundle
from policy.call import AgentWords, Call, CallId, Input, Recent, Resource, Sensitivity, Target
from policy.engine import Engine
from policy.fingerprint import fingerprint, likeness
from policy.hold import Hold
from policy.operation import Operation
from policy.principal import Identity, Person, Principal
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny, Gate, Obligations, Refused, Verdict


class Ruling(StrEnum):
    """A verdict, by name alone."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


Way = frozenset[tuple[str, int]]
"""One way to lift every gate at once: groups, and how many of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """A call, as far as a case names it. What it leaves out is harmless: no labels, not sampled, a working day."""

    NOW: ClassVar[float] = 1_767_614_400
    """Monday, 5 January 2026, 12:00 UTC."""

    operation: str
    principal: Principal
    input: Input = field(default_factory=Input)
    now: float = NOW
    ip: str = "192.0.2.1"
    method: str | None = None
    path: str | None = None
    environment: str = "prod"
    sample: int = 9999
    body_length: int = 0
    method_override: bool = False
    resource_kind: str | None = None
    resource_id: str = "1"
    resource_owner: str | None = None
    labels: frozenset[str] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)
    words: AgentWords = AgentWords()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExpected:
    """What the law should say of a call. None: the case does not care."""

    ruling: Ruling
    policies: frozenset[str] | None = None
    reason: Reason | None = None
    needs: frozenset[Way] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActExpected:
    """What the law should say of a person's act."""

    permitted: bool
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCase:
    """A call and the expected verdict."""

    name: str
    circumstances: Circumstances
    approved_by: Mapping[Identity, frozenset[str]] = field(default_factory=dict)
    """Who has approved, with their groups. Taken as valid: that they may is what act cases are for."""
    approvals_age_s: float = 0
    recent: Recent = field(default_factory=Recent)
    expected: CallExpected


@dataclass(frozen=True, slots=True, kw_only=True)
class ActCase:
    """A person's act on a held call, and whether it should be permitted."""

    name: str
    circumstances: Circumstances
    act: Act
    person: Person
    sign_in_age_s: float | None = None
    says: str = ""
    channel: str = "api"
    now: float = Circumstances.NOW
    expected: ActExpected


Case = CallCase | ActCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a case went."""

    name: str
    said: str
    """What the law said, in a few words."""
    differences: tuple[str, ...] = ()
    """Where that is not what the case expects; empty: it passed."""

    @property
    def passed(self) -> bool:
        """Whether the law said what was expected."""
        return not self.differences


def run(engine: Engine, case: Case) -> Outcome:
    """The outcome of a case under a bundle."""
    operation = engine.bundle.operations.get(case.circumstances.operation)
    if operation is None:
        name = case.circumstances.operation
        near = difflib.get_close_matches(name, engine.bundle.operations, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return Outcome(name=case.name, said="nothing", differences=(f'there is no operation "{name}"{hint}',))
    call = the_call(case.circumstances, operation)
    return _run_call(engine, case, call) if isinstance(case, CallCase) else _run_act(engine, case, call)


def the_call(circumstances: Circumstances, operation: Operation) -> Call:
    """The call that a case describes."""
    some = circumstances
    kind = some.resource_kind or operation.resource_kind
    return Call(
        id=CallId("call_00000000000000000000000000"),
        upstream=operation.upstream,
        environment=some.environment,
        target=Target(
            method=some.method or (operation.method if operation.method.isalpha() else "POST"),
            path=some.path or operation.template or "/",
        ),
        body_digest="0" * 64,
        body_length=some.body_length,
        operation=operation,
        input=some.input,
        resource=Resource(kind=kind, id=f"{operation.upstream}/{kind}/{some.resource_id}", owner=some.resource_owner),
        sensitivity=Sensitivity(labels=some.labels | operation.labels, counts=some.counts),
        principal=some.principal,
        words=some.words,
        peer=some.ip,
        sample=some.sample,
        method_override=some.method_override,
        received_at=some.now,
    )


def approvals(bundle: Bundle, by: Mapping[Identity, frozenset[str]], *, age_s: float = 0) -> Approvals:
    """The evidence that these people's approvals would be, were all of them entitled."""
    members = Counter(group for groups in by.values() for group in groups)
    quorum = {f"{g}:{n}" for g, most in bundle.groups.items() for n in range(1, min(most, members[g]) + 1)}
    return Approvals(count=len(by), by=frozenset(by), quorum=frozenset(quorum), age_s=age_s)


def ways(gates: Iterable[Gate]) -> frozenset[Way]:
    """What it takes to lift all gates at once: every combination of their alternatives, the larger number of each."""
    found = set()
    for combination in product(*(gate.any_of for gate in gates)):
        people: dict[str, int] = {}
        for need in (need for alternative in combination for need in alternative.needs):
            people[need.group] = max(people.get(need.group, 0), need.people)
        found.add(frozenset(people.items()))
    return frozenset(found)


def _run_call(engine: Engine, case: CallCase, call: Call) -> Outcome:
    verdict = engine.judge(
        call,
        now=case.circumstances.now,
        recent=case.recent,
        approvals=approvals(engine.bundle, case.approved_by, age_s=case.approvals_age_s),
    )
    return Outcome(name=case.name, said=_said(verdict), differences=_call_differences(verdict, case.expected))


def _call_differences(verdict: Verdict, expected: CallExpected) -> tuple[str, ...]:
    found = []
    ruling = _ruling(verdict)
    if ruling is not expected.ruling:
        found.append(f"expected {expected.ruling.value}, got {_said(verdict)}")
    if expected.policies is not None and frozenset(verdict.policies) != expected.policies:
        found.append(f"expected it by {_listed(expected.policies)}, got it by {_listed(verdict.policies)}")
    reason = _reason(verdict)
    if expected.reason is not None and reason is not expected.reason:
        found.append(f"expected the reason {expected.reason.value}, got {reason.value}")
    actual = ways(verdict.gates) if isinstance(verdict, Ask) else None
    if expected.needs is not None and actual != expected.needs:
        found.append(f"expected it to need {_needs(expected.needs)}, it needs {_needs(actual or frozenset())}")
    return tuple(found)


def _run_act(engine: Engine, case: ActCase, call: Call) -> Outcome:
    signed_in = None if case.sign_in_age_s is None else int(case.now - case.sign_in_age_s)
    refused = electorate.may_act(
        engine,
        replace(case.person, authenticated_at=signed_in),
        case.act,
        _hold(engine, call, case.now),
        now=case.now,
        reason=case.says,
        channel=case.channel,
    )
    said = "permitted" if refused is None else f"refused: {refused.reason.value}"
    return Outcome(name=case.name, said=said, differences=_act_differences(refused, said, case.expected))


def _act_differences(refused: Refused | None, said: str, expected: ActExpected) -> tuple[str, ...]:
    wanted = "permitted" if expected.permitted else "refused"
    found = [f"expected {wanted}, got {said}"] if expected.permitted is not (refused is None) else []
    if expected.reason is not None and (refused is None or refused.reason is not expected.reason):
        found.append(f"expected the reason {expected.reason.value}, got {said}")
    return tuple(found)


def _hold(engine: Engine, call: Call, now: float) -> Hold:
    bundle = engine.bundle.digest
    return Hold(
        call=call,
        likeness=likeness(call),
        fingerprint=fingerprint(call, bundle=bundle, expires_at=int(now) + 3600),
        bundle=bundle,
        gates=(),
        policies=(),
        obligations=Obligations(),
        opened_at=now,
        decide_by=now + 3600,
        execute_within_s=600,
    )


def _ruling(verdict: Verdict) -> Ruling:
    match verdict:
        case Allow():
            return Ruling.ALLOW
        case Ask():
            return Ruling.ASK
        case Deny():
            return Ruling.DENY


def _reason(verdict: Verdict) -> Reason:
    match verdict:
        case Allow():
            return Reason.PERMITTED
        case Ask():
            return Reason.NEEDS_APPROVAL
        case Deny(reason=reason):
            return reason


def _said(verdict: Verdict) -> str:
    by = f" by {_listed(verdict.policies)}" if verdict.policies else ""
    match verdict:
        case Allow():
            return f"allow{by}"
        case Ask(gates=gates):
            return f"ask{by}, needing {_needs(ways(gates))}"
        case Deny(reason=reason):
            return f"deny ({reason.value}){by}"


def _needs(several: frozenset[Way]) -> str:
    shown = sorted(" and ".join(f"{n} of {group}" for group, n in sorted(way)) or "other conditions" for way in several)
    return " or ".join(shown) or "nobody"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "no policy"
