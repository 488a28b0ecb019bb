"""Policy text made into law: parsed, checked, understood, cut into slices, and named by its digest.

A bundle is immutable and either whole or refused with every problem found. Which verdict its policies give is
`policy.engine`'s to say. Beside the engine, this is the only module that speaks Cedar.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson
from cedarpy import PolicySet, Schema, policies_to_json_str, validate_policies

from policy import schema
from policy.attempt import Act
from policy.errors import BundleRefused, Problem
from policy.expressions import Path, covers
from policy.facts import UNSCANNED, View, view
from policy.fitness import Demands, demands
from policy.operation import Operation
from policy.rules import AGENT, USER, Rule, understand
from policy.statements import Statement, locate, split

_REVIEW = frozenset({"review", *(act.value for act in Act)})
_MOST_COMPLAINTS = 3
"""Validation repeats itself once per action; so many different ones of one policy are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Policy text, and the name of the file it came from."""

    file: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The policies that can match one action, and the schema it is judged with."""

    action: str
    rules: tuple[Rule, ...]
    policies: PolicySet
    core: PolicySet
    """The same without the gates."""
    schema: Schema
    reads: frozenset[Path]
    seen: View
    steady: View
    """`seen` without what changes by itself as time goes on."""
    reads_clock: bool
    reads_recent: bool
    demands: Demands | None
    """What the operation's calls have to bring; None for acts of people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The law in force: one text, one schema, one digest."""

    digest: str
    """SHA-256 (hex) of schema and policy text."""
    sources: tuple[Source, ...]
    rules: tuple[Rule, ...]
    by_id: Mapping[str, Rule]
    operations: Mapping[str, Operation]
    groups: Mapping[str, int]
    labels: frozenset[str]
    quorums: frozenset[str]
    schema_text: str
    _slices: dict[str, Slice] = field(default_factory=dict, compare=False, repr=False)

    def slice(self, operation: str) -> Slice | None:
        """The law on one operation; None where the bundle does not know it."""
        made = self._slices.get(operation)
        if made is None:
            known = self.operations.get(operation)
            if known is None:
                return None
            # Two threads may both build it; the first one kept is everyone's, and both are equal.
            made = self._slices.setdefault(operation, _slice_of_operation(self, known))
        return made

    def review(self, act: Act) -> Slice:
        """The law on one act of a person."""
        # Names of operations hold a colon, names of acts do not, so one mapping holds both.
        made = self._slices.get(act.value)
        return made or self._slices.setdefault(act.value, _slice_of_act(self, act))


def build(
    sources: Sequence[Source],
    *,
    operations: Sequence[Operation],
    groups: Mapping[str, int],
    labels: frozenset[str],
) -> Bundle:
    """The bundle of these texts. Raises BundleRefused with every problem found.

    `groups` maps each configured group to its largest quorum. An operation `<upstream>:unknown` is added for every
    upstream; `unscanned` and the labels of operations and fields are added to `labels`.
    """
    named = schema.with_unknown(operations)
    every_label = labels.union({UNSCANNED}, *(_labels(one) for one in named))
    quorums = schema.quorums(groups)
    text = schema.whole(named, quorum=quorums, labels=every_label)
    problems = _doubtful(named)
    if problems:
        raise BundleRefused(tuple(problems))
    checked = Schema.from_str(text, release_gil=True)
    rules, problems = _rules(sources, actions=_actions(named))
    problems += _repeated(rules)
    problems += _invalid(tuple(rule for rule in rules if _applies_to_any(rule, named)), checked)
    if problems:
        raise BundleRefused(tuple(sorted(problems, key=lambda p: (_order(sources, p.file), p.line, p.column))))
    return Bundle(
        digest=_digest([text, *(source.text for source in sources)]),
        sources=tuple(sources),
        rules=tuple(rules),
        by_id=MappingProxyType({rule.id: rule for rule in rules}),
        operations=MappingProxyType({one.name: one for one in named}),
        groups=MappingProxyType(dict(groups)),
        labels=every_label,
        quorums=quorums,
        schema_text=text,
    )


def _rules(sources: Sequence[Source], *, actions: frozenset[str]) -> tuple[list[Rule], list[Problem]]:
    rules: list[Rule] = []
    problems: list[Problem] = []
    for source in sources:
        statements, guarded = split(source.file, source.text)
        problems += guarded
        before = len(problems)
        for statement in statements:
            rule, wrong = _read(statement, actions=actions)
            problems += wrong
            rules += [rule] if rule else []
        if len(problems) == before and not guarded and len(_parsed(source.text)) != len(statements):
            # INVARIANT: no text is law that Cedar counts otherwise than we do.
            message = "Cedar reads another number of policies here than are written"
            problems.append(Problem(file=source.file, line=1, column=1, message=message))
    return rules, problems


def _read(statement: Statement, *, actions: frozenset[str]) -> tuple[Rule | None, tuple[Problem, ...]]:
    if _complain(statement.text) is not None:
        return None, (locate(statement, _complain),)
    for token in statement.tokens:
        if token.text == "?":
            return None, (statement.problem("templates are not accepted in a bundle", at=token.offset),)
    try:
        forms = orjson.loads(policies_to_json_str(statement.text))["staticPolicies"]
        return understand(statement, forms["policy0"], actions=actions)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, (statement.problem("this policy is too deep, or of a form that cannot be examined"),)


def _complain(text: str) -> str | None:
    try:
        PolicySet.from_str(text, release_gil=True)
    except ValueError as wrong:
        return str(wrong)
    return None


def _parsed(text: str) -> PolicySet:
    return PolicySet.from_str(text, release_gil=True)


def _repeated(rules: Iterable[Rule]) -> Iterator[Problem]:
    first: dict[str, Rule] = {}
    for rule in rules:
        earlier = first.setdefault(rule.id, rule).statement
        if earlier is not rule.statement:
            message = f'@id("{rule.id}") is already used at {earlier.file}:{earlier.line}'
            at = rule.statement.offset_of(rule.id)
            yield rule.statement.problem(message, at=at, policy=rule.id)


def _invalid(rules: Sequence[Rule], checked: Schema) -> Iterator[Problem]:
    """What the type checker says, and the policies that it proves can never match."""
    said = _validated((rule.statement.text for rule in rules), checked)
    # The type checker looks no further where it knows that a policy is already false: if this nonsense passes, it is.
    nonsense = _validated((rule.statement.text.rstrip(";") + " when { 1 < true };" for rule in rules), checked)
    for number, rule in enumerate(rules):
        complaints = said.get(number, ())
        for text in complaints:
            at = rule.statement.offset_of(*_mentioned(text))
            yield rule.statement.problem(text, at=at, policy=rule.id)
        if not complaints and number not in nonsense:
            message = "this policy can never match: is an attribute behind `has` misspelt, or the scope impossible?"
            yield rule.statement.problem(message, policy=rule.id)


def _validated(texts: Iterable[str], checked: Schema) -> dict[int, tuple[str, ...]]:
    """Complaints by the number of the policy, each sentence once, whatever the number of actions it is true of."""
    joined = "\n".join(texts)
    by_number: dict[int, dict[str, str]] = {}
    for error in validate_policies(joined, checked, release_gil=True).errors:
        number = int(error.policy_id.removeprefix("policy")) if error.policy_id.startswith("policy") else 0
        text = re.sub(r"^for policy `policy\d+`[,:] ", "", error.error)
        by_number.setdefault(number, {}).setdefault(re.sub(r'Action::"[^"]*"', "", text), text)
    return {number: _worth_saying(tuple(texts.values())) for number, texts in by_number.items()}


def _worth_saying(complaints: tuple[str, ...]) -> tuple[str, ...]:
    # That no action is applicable follows from the other mistakes, if there are any.
    first_hand = tuple(one for one in complaints if not one.startswith("unable to find an applicable action"))
    return (first_hand or complaints)[:_MOST_COMPLAINTS]


def _mentioned(complaint: str) -> Iterator[str]:
    for name in re.findall(r"`([^`]+)`", complaint):
        yield from re.findall(r'"([^"]*)"', name)
        yield name
        yield name.rpartition(".")[2]


def _doubtful(operations: Iterable[Operation]) -> list[Problem]:
    """What is wrong with the catalogue, as far as the law depends on it."""
    seen: set[str] = set()
    problems = []
    for one in operations:
        if ":" not in one.name or one.name in seen:
            wrong = "is named twice" if one.name in seen else "is not named <upstream>:<operation>"
            message = f'the operation "{one.name}" {wrong}'
            problems.append(Problem(file=f"catalogue of {one.upstream}", line=1, column=1, message=message))
        seen.add(one.name)
    return problems


def _labels(operation: Operation) -> frozenset[str]:
    return operation.labels.union(*(one.labels for one in operation.fields))


def _actions(operations: Iterable[Operation]) -> frozenset[str]:
    return _REVIEW.union(schema.CLASSES, (one.name for one in operations))


def _applies_to_any(rule: Rule, operations: Sequence[Operation]) -> bool:
    """Whether any action is in the rule's scope. A group may still be empty; Cedar calls that an error, we do not."""
    if rule.actions is None:
        return rule.principal != AGENT or bool(operations)
    if rule.actions & _REVIEW:
        return True
    return any(rule.actions & _scopes(one) for one in operations)


def _scopes(operation: Operation) -> frozenset[str]:
    """The action and every group that it is in, directly or not."""
    groups = schema.classes(operation)
    return groups.union({operation.name}, (up for name in groups if (up := schema.CLASSES[name])))


def _slice_of_operation(bundle: Bundle, operation: Operation) -> Slice:
    rules = _matching(bundle.rules, scopes=_scopes(operation), principal=AGENT)
    reads = frozenset().union(*(rule.reads for rule in rules))
    seen = view(operation, reads)
    text = schema.of_operation(operation, seen, quorum=bundle.quorums, labels=bundle.labels)
    return _slice(operation.name, rules, text=text, seen=seen, operation=operation)


def _slice_of_act(bundle: Bundle, act: Act) -> Slice:
    rules = _matching(bundle.rules, scopes=frozenset({"review", act.value}), principal=USER)
    text = schema.of_review(quorum=bundle.quorums, labels=bundle.labels)
    return _slice(act.value, rules, text=text, seen=View(facts=(), records=()))


def _matching(rules: Iterable[Rule], *, scopes: frozenset[str], principal: str) -> tuple[Rule, ...]:
    return tuple(
        rule
        for rule in rules
        if (rule.actions is None or rule.actions & scopes) and rule.principal in {None, principal}
    )


def _slice(action: str, rules: tuple[Rule, ...], *, text: str, seen: View, operation: Operation | None = None) -> Slice:
    reads = frozenset().union(*(rule.reads for rule in rules))
    return Slice(
        action=action,
        rules=rules,
        policies=_parsed("\n".join(rule.statement.text for rule in rules)),
        core=_parsed("\n".join(rule.statement.text for rule in rules if not rule.gate)),
        schema=Schema.from_str(text),
        reads=reads,
        seen=seen,
        steady=View(facts=tuple(fact for fact in seen.facts if not fact.moves), records=seen.records),
        reads_clock=any(fact.moves for fact in seen.facts),
        reads_recent=any(covers(read, ("recent",)) for read in reads),
        demands=demands(operation, reads) if operation else None,
    )


def _order(sources: Sequence[Source], file: str) -> int:
    return next((number for number, source in enumerate(sources) if source.file == file), -1)


def _digest(parts: Iterable[str]) -> str:
    state = hashlib.sha256(b"assentry-bundle-1")
    for part in parts:
        raw = part.encode()
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()
