"""Judges a call: Allow, Ask or Deny, under the policies of one bundle.

The order of a verdict: an error denies; a permit allows; nothing determining denies; a prohibition denies; gates alone
ask, if the call would be allowed without them. Cedar skips a policy that errors, prohibitions included, so an error is
never anything but a No. Approval is evidence in the context, never a way round this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cedarpy import Decision, Entities, PolicySet, is_authorized

from policy import facts, fitness, several
from policy.annotations import Kind, join
from policy.attempt import Act, Attempt
from policy.bundle import Bundle
from policy.call import Call, Recent
from policy.facts import Fact, Moment
from policy.operation import Operation
from policy.reasons import Reason
from policy.rules import Rule
from policy.slices import Slice
from policy.verdict import Allow, Approvals, Ask, Deny, Gate, Verdict

_CLOCK_LIFETIME_S = 1.0
"""How long a remembered verdict that rests on the clock is good."""
_MOST_CALLERS = 4096
"""Prepared sets of entities; some 7 KiB each."""
_MOST_ACTS = 1024
"""Verdicts on what people try: some two KiB each."""
_LONGEST_KEY = 2048
"""Bytes of context beyond which a verdict is not worth remembering; an agent could fill the memory with bodies."""
_NO_APPROVALS = Approvals()
_NO_CALLS = Recent()
_ANY = "*"
"""The id that stands for every object's where no policy tells objects apart by theirs."""
_UNREADABLE = (ValueError, TypeError, OverflowError, OSError)
"""What building a question may raise: lone surrogates, numbers beyond 64 bits, times beyond the calendar, bad ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A verdict, and all that led to it."""

    verdict: Verdict
    determining: tuple[Rule, ...]
    """The policies that decided, in the order of their text."""
    considered: tuple[Rule, ...]
    """The policies whose scope can match the operation."""
    reads: tuple[str, ...]
    """What of the context they look at."""
    seen: str
    """The context they were given, as JSON; empty where it could not be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of all calls of one operation before there is any."""

    operation: Operation
    part: Slice
    steady: bool
    by_id: bool
    """Whether a policy may treat two objects differently that have the same kind and owner."""
    telling: tuple[Fact, ...]
    """What makes two calls by one caller about one object different questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What Cedar is asked."""

    principal: dict[str, str]
    action: str
    resource: dict[str, str]
    context: bytes
    entities: Entities


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What Cedar said: whether it allows, by which policies, and what it could not evaluate."""

    allowed: bool
    rules: tuple[Rule, ...]
    errors: tuple[str, ...] = ()


_K = TypeVar("_K")
_V = TypeVar("_V")
_Caller = tuple[object, ...]
_Remembered = tuple[float, Allow | Deny]


class Engine:
    """One bundle at work. Belongs to one thread; a new bundle gets a new engine, and so starts with nothing cached."""

    def __init__(self, bundle: Bundle, *, cache_size: int = 50_000) -> None:
        self.bundle = bundle
        self._most = cache_size
        self._remembered: dict[tuple[object, ...], _Remembered] = {}
        self._entities: dict[tuple[object, ...], Entities] = {}
        self._known: dict[str, _Known] = {}
        self._acts: dict[tuple[Act, bytes, bytes | None], Allow | Deny] = {}

    def judge(
        self, call: Call, *, now: float, recent: Recent | None = None, approvals: Approvals = _NO_APPROVALS
    ) -> Verdict:
        """The verdict on a call at `now` (Unix seconds), with the approvals that count and the agent's counters.

        `recent` may be left out where `reads_recent` says that no policy looks at it. Of a call in parts, the strictest
        verdict on the whole and on each part.
        """
        if call.parts:
            found = [self.judge(one, now=now, recent=recent, approvals=approvals) for one in call.each()]
            return several.strictest(found, [part.operation.name for part in call.parts])
        known = self._know(call.operation.name)
        if known is None:
            return self._deny(Reason.NO_POLICY_PERMITS, f"No policy knows the operation {call.operation.name!r}.")
        part = known.part
        wrong = fitness.unfit(call, part.demands) if part.demands else None
        if wrong is not None:
            return self._deny(wrong.reason, wrong.detail)
        if part.reads_recent and recent is None:
            return self._deny(Reason.POLICY_ERROR, "A policy limits how often this is done; the counts are missing.")
        moment = self._moment(call, known=known.operation, now=now, recent=recent, approvals=approvals)
        try:
            if approvals is not _NO_APPROVALS and approvals != _NO_APPROVALS:
                return self._decide(part, self._question(known, moment))
            return self._recall(known, moment)
        except _UNREADABLE:
            return self._unevaluated(part.rules, ())

    def judge_act(self, attempt: Attempt) -> Allow | Deny:
        """Whether a person may do what they try to do about a hold. Used by `policy.electorate` alone.

        Of a call in parts, they have to be entitled to the whole and to each part.
        """
        if attempt.hold.call.parts:
            calls = attempt.hold.call.each()
            acts = (self.judge_act(replace(attempt, hold=replace(attempt.hold, call=one))) for one in calls)
            return several.strictest_act(tuple(acts))
        part = self.bundle.review(attempt.act)
        try:
            return self._recall_act(part, attempt)
        except _UNREADABLE:
            return self._unevaluated(part.rules, ())

    def _recall_act(self, part: Slice, attempt: Attempt) -> Allow | Deny:
        """The verdict on an act as remembered, or a fresh one: the same is asked from the look to the sending."""
        # The context is always made, so that what cannot be read is refused also where no policy reads it.
        context, entities = facts.act_context(attempt), facts.act_entities(attempt)
        told = facts.act_told(attempt, part.reads)
        key = (attempt.act, entities, told)
        found = self._acts.get(key)
        if found is not None:
            return found
        verdict = self._decide_act(part, attempt, context=context, entities=entities)
        erred = isinstance(verdict, Deny) and verdict.reason is Reason.POLICY_ERROR
        if told is not None and not erred and len(entities) + len(told) <= _LONGEST_KEY:
            _keep(self._acts, key, verdict, most=_MOST_ACTS)
        return verdict

    def _decide_act(self, part: Slice, attempt: Attempt, *, context: bytes, entities: bytes) -> Allow | Deny:
        question = _Question(
            principal=facts.entity("User", attempt.person.identity),
            action=attempt.act.value,
            resource=facts.entity("Held", attempt.hold.fingerprint),
            context=context,
            entities=Entities.from_json_str(entities.decode(), part.schema),
        )
        verdict = self._decide(part, question)
        # A gate has no meaning for an act: whatever is not allowed is denied.
        return self._deny(Reason.FORBIDDEN, policies=verdict.policies) if isinstance(verdict, Ask) else verdict

    def reads_recent(self, operation: str) -> bool:
        """Whether a policy on this operation looks at `context.recent`, so that the counters have to be fetched."""
        known = self._know(operation)
        return known is not None and known.part.reads_recent

    def steady(self, operation: str) -> bool:
        """Whether the verdict on one and the same call of this operation changes with the bundle only.

        The same call: by the same principal from the same address, with the same headers, target and body, named by the
        same catalogue, and judged without approvals. False where a policy looks at the clock, at the sample (drawn for
        each call id) or at counters, and for operations that the bundle does not know.
        """
        known = self._know(operation)
        return known is not None and known.steady

    def explain(
        self, call: Call, *, now: float, recent: Recent | None = None, approvals: Approvals = _NO_APPROVALS
    ) -> Explanation:
        """The verdict on a call and all that led to it. For people: slower than `judge`, same verdict."""
        verdict = self.judge(call, now=now, recent=recent, approvals=approvals)
        known = self._know(call.operation.name)
        if known is None:
            return Explanation(verdict=verdict, determining=(), considered=(), reads=(), seen="{}")
        part = known.part
        moment = self._moment(call, known=known.operation, now=now, recent=recent, approvals=approvals)
        return Explanation(
            verdict=verdict,
            determining=self._in_order(verdict.policies),
            considered=self._in_order(rule.id for rule in part.rules),
            reads=tuple(sorted(".".join(("context", *read)) for read in part.reads)),
            seen=_shown(part, moment),
        )

    def _in_order(self, names: Iterable[str]) -> tuple[Rule, ...]:
        wanted = frozenset(names)
        return tuple(rule for rule in self.bundle.rules if rule.id in wanted)

    def _know(self, operation: str) -> _Known | None:
        """What is known of an operation; None, and nothing kept, where the bundle does not know it."""
        known = self._known.get(operation)
        part = self.bundle.slice(operation) if known is None else None
        if part is not None:
            known = self._known[operation] = _Known(
                operation=self.bundle.operations[operation],
                part=part,
                steady=facts.repeats(part.seen),
                by_id=any(rule.singles_out for rule in part.rules),
                telling=facts.distinguishing(part.seen),
            )
        return known

    def _moment(
        self, call: Call, *, known: Operation, now: float, recent: Recent | None, approvals: Approvals
    ) -> Moment:
        return Moment(
            call=call,
            known=known,
            now=now,
            recent=recent or _NO_CALLS,
            approvals=approvals,
            labels=self.bundle.labels,
            quorums=self.bundle.quorums,
        )

    def _recall(self, known: _Known, moment: Moment) -> Verdict:
        """The verdict as remembered, or a fresh one. Ask and errors are never remembered."""
        call, part, now = moment.call, known.part, moment.now
        about = call.resource
        told = facts.values(known.telling, moment)
        named = about.id if known.by_id else _unnamed(about.id)
        key = (part.action, _caller(call), named, about.kind, about.owner, told)
        found = self._remembered.get(key)
        # A clock that went back (`now < since`) makes the memory worthless too.
        if found is not None and (not part.reads_clock or found[0] <= now < found[0] + _CLOCK_LIFETIME_S):
            return found[1]
        verdict = self._decide(part, self._question(known, moment))
        if isinstance(verdict, Ask) or (isinstance(verdict, Deny) and verdict.reason is Reason.POLICY_ERROR):
            return verdict
        if len(told) + len(named) + len(about.owner or "") <= _LONGEST_KEY:
            _keep(self._remembered, key, (now, verdict), most=self._most)
        return verdict

    def _question(self, known: _Known, moment: Moment) -> _Question:
        call, part = moment.call, known.part
        named = call.resource.id if known.by_id else _unnamed(call.resource.id)
        return _Question(
            principal=facts.entity("Agent", call.principal.agent),
            action=part.action,
            resource=facts.entity("Resource", named),
            context=facts.context(part.seen, moment),
            entities=self._with_object(part, call, named),
        )

    def _with_object(self, part: Slice, call: Call, named: str) -> Entities:
        """The caller, the upstream and the object. Kept where the agent has no say in them."""
        if named != _ANY or call.resource.owner is not None:
            return self._callers(part, call).with_added_json_str(facts.resource(call, named=named).decode())
        key = (part.action, _caller(call), call.resource.kind)
        whole = self._entities.get(key)
        if whole is None:
            whole = self._callers(part, call).with_added_json_str(facts.resource(call, named=named).decode())
            _keep(self._entities, key, whole, most=_MOST_CALLERS)
        return whole

    def _callers(self, part: Slice, call: Call) -> Entities:
        key = (part.action, _caller(call))
        callers = self._entities.get(key)
        if callers is None:
            # INVARIANT: every set of entities is built with the schema; without it Cedar knows no action groups.
            callers = Entities.from_json_str(facts.callers(call).decode(), part.schema)
            _keep(self._entities, key, callers, most=_MOST_CALLERS)
        return callers

    def _decide(self, part: Slice, question: _Question) -> Verdict:
        answer = self._ask(part, question, policies=part.policies)
        if answer.errors:
            return self._unevaluated(part.rules, answer.errors)
        if answer.allowed:
            return Allow(
                bundle=self.bundle.digest,
                policies=_ids(answer.rules),
                obligations=join(rule.obligations for rule in answer.rules),
            )
        if not answer.rules:
            return self._deny(Reason.NO_POLICY_PERMITS)
        prohibitions = tuple(rule for rule in answer.rules if rule.kind is Kind.PROHIBITION)
        if prohibitions:
            reasons = sorted({rule.reason for rule in prohibitions if rule.reason})
            return self._deny(Reason.FORBIDDEN, *reasons, policies=_ids(prohibitions))
        return self._beyond_gates(part, question, gates=answer.rules)

    def _beyond_gates(self, part: Slice, question: _Question, *, gates: tuple[Rule, ...]) -> Ask | Deny:
        """Ask, if approval could help: if the call would be allowed without its gates."""
        beneath = self._ask(part, question, policies=part.core)
        if beneath.errors:
            return self._unevaluated(tuple(rule for rule in part.rules if not rule.gate), beneath.errors)
        if not beneath.allowed:
            return self._deny(Reason.NO_POLICY_PERMITS, "Approval could not help: no policy permits this call.")
        rules = (*gates, *beneath.rules)
        return Ask(
            bundle=self.bundle.digest,
            policies=_ids(rules),
            gates=tuple(Gate(policy=rule.id, any_of=rule.any_of) for rule in sorted(gates, key=lambda rule: rule.id)),
            obligations=join(rule.obligations for rule in rules),
        )

    def _ask(self, part: Slice, question: _Question, *, policies: PolicySet) -> _Answer:
        asked = {
            "principal": question.principal,
            "action": {"type": "Action", "id": question.action},
            "resource": question.resource,
            "context": question.context.decode(),
        }
        said = is_authorized(asked, policies, question.entities, part.schema)
        found, decision, by_id = said.diagnostics, said.decision, self.bundle.by_id
        rules = tuple([by_id[name] for name in found.id_annotations_by_reason.values() if name in by_id])
        errors = tuple(found.errors)
        if decision is Decision.NoDecision and not errors:
            errors = ("Cedar reached no decision",)
        if len(rules) != len(found.reasons):
            errors = (*errors, "Cedar named a policy that is not in the bundle")
        return _Answer(allowed=decision is Decision.Allow, rules=rules, errors=errors)

    def _unevaluated(self, rules: Sequence[Rule], errors: Iterable[str]) -> Deny:
        """The No of not knowing. Cedar's words may quote what the call carries, so only the policies are named."""
        numbers = {int(number) for error in errors for number in re.findall(r"`policy(\d+)`", error)}
        broken = sorted(rules[number].id for number in numbers if number < len(rules))
        what = f"The policy {_listed(broken)}" if broken else "The law"
        return self._deny(Reason.POLICY_ERROR, f"{what} could not be evaluated for this call.", policies=tuple(broken))

    def _deny(self, reason: Reason, *explanations: str, policies: tuple[str, ...] = ()) -> Deny:
        return Deny(bundle=self.bundle.digest, reason=reason, policies=policies, explanations=explanations)


def _caller(call: Call) -> _Caller:
    who = call.principal
    return (who.agent, who.owner, who.groups, call.upstream, call.environment)


def _unnamed(name: str) -> str:
    """The id that stands for an object's own. Raises UnicodeEncodeError where Cedar could not have read that one."""
    if not name.isascii():
        name.encode()
    return _ANY


def _shown(part: Slice, moment: Moment) -> str:
    try:
        return facts.context(part.seen, moment).decode()
    except _UNREADABLE:
        return "{}"


def _ids(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(sorted(rule.id for rule in rules))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _keep(kept: dict[_K, _V], key: _K, value: _V, *, most: int) -> None:
    """The value under its key; the oldest goes where there would be too many."""
    if len(kept) >= most:
        kept.pop(next(iter(kept)), None)
    kept[key] = value
