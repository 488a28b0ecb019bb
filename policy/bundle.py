"""Policy text made into law: parsed, checked, understood, cut into slices, and named by its digest.

A bundle is immutable and either whole or refused with every problem found. Types are checked by `policy.validation`,
the slices that calls are judged by are cut by `policy.slices`; which verdict they give is `policy.engine`'s to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson
from cedarpy import PolicySet, policies_to_json_str

from policy import schema
from policy.attempt import Act
from policy.errors import BundleRefused, Problem
from policy.facts import UNSCANNED
from policy.operation import Operation
from policy.rules import AGENT, Names, Rule, understand
from policy.slices import Cutter, Slice, Vocabulary
from policy.statements import Statement, locate, split
from policy.validation import invalid

_REVIEW = frozenset({"review", *(act.value for act in Act)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Policy text, and the name of the file it came from."""

    file: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The law in force: one text, one schema, one digest. Its slices belong to one thread at a time."""

    digest: str
    """SHA-256 (hex) of schema and policy text."""
    sources: tuple[Source, ...]
    rules: tuple[Rule, ...]
    by_id: Mapping[str, Rule]
    operations: Mapping[str, Operation]
    groups: Mapping[str, int]
    labels: frozenset[str]
    quorums: frozenset[str]
    _cutter: Cutter = field(compare=False, repr=False)
    _slices: dict[str, Slice] = field(default_factory=dict, compare=False, repr=False)

    @property
    def schema_text(self) -> str:
        """The schema that policies are written against, made anew each time: of a large catalogue it is megabytes."""
        return schema.whole(self.operations.values(), quorum=self.quorums, labels=self.labels)

    def slice(self, operation: str) -> Slice | None:
        """The law on one operation; None where the bundle does not know it."""
        made = self._slices.get(operation)
        if made is None:
            known = self.operations.get(operation)
            if known is None:
                return None
            made = self._slices[operation] = self._cutter.of(known)
        return made

    def review(self, act: Act) -> Slice:
        """The law on one act of a person."""
        # Names of operations hold a colon, names of acts do not, so one mapping holds both.
        made = self._slices.get(act.value)
        if made is None:
            made = self._slices[act.value] = self._cutter.of_act(act)
        return made

    def prepare(self) -> None:
        """What calls of many operations have in common is parsed now, so that no call waits long for its slice."""
        self._cutter.prepare(self.operations.values())
        for act in Act:
            _ = self.review(act).policies

    def prove(self) -> None:
        """Returns if Cedar takes every slice that a call could need. Raises ValueError otherwise.

        Takes a millisecond for every kind of operation, and keeps next to nothing.
        """
        self.prepare()
        self._cutter.prove(tuple(self.operations.values()))


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
    made, problems = _made(sources, operations=operations, groups=groups, labels=labels)
    vocabulary = Vocabulary(quorums=made.quorums, labels=made.labels)
    problems += invalid(_applicable(made), made.operations.values(), vocabulary)
    if problems:
        raise _refusal(problems, sources)
    return made


def restore(
    sources: Sequence[Source],
    *,
    operations: Sequence[Operation],
    groups: Mapping[str, int],
    labels: frozenset[str],
    digest: str,
) -> Bundle:
    """The bundle that `build` made of the same before, perhaps in another process. Raises BundleRefused if it is not.

    Types are not checked again: that takes most of the time, and the digest says that it was done.
    """
    made, problems = _made(sources, operations=operations, groups=groups, labels=labels)
    if not problems and made.digest != digest:
        problems = [Problem(file="policies", line=1, column=1, message="these are not the policies that were checked")]
    if problems:
        raise _refusal(problems, sources)
    return made


def _made(
    sources: Sequence[Source],
    *,
    operations: Sequence[Operation],
    groups: Mapping[str, int],
    labels: frozenset[str],
) -> tuple[Bundle, list[Problem]]:
    """The bundle, as far as the texts can be read, and what was wrong with the rest."""
    named = schema.with_unknown(operations)
    doubtful = _doubtful(named)
    if doubtful:
        raise BundleRefused(tuple(doubtful))
    every_label = labels.union({UNSCANNED}, *(_labels(one) for one in named))
    quorums = schema.quorums(groups)
    rules, problems = _rules(sources, names=_names(named))
    text = schema.whole(named, quorum=quorums, labels=every_label)
    bundle = Bundle(
        digest=_digest([text, *(source.text for source in sources)]),
        sources=tuple(sources),
        rules=tuple(rules),
        by_id=MappingProxyType({rule.id: rule for rule in rules}),
        operations=MappingProxyType({one.name: one for one in named}),
        groups=MappingProxyType(dict(groups)),
        labels=every_label,
        quorums=quorums,
        _cutter=Cutter(rules, Vocabulary(quorums=quorums, labels=every_label)),
    )
    return bundle, [*problems, *_repeated(rules)]


def _refusal(problems: Iterable[Problem], sources: Sequence[Source]) -> BundleRefused:
    order = {source.file: number for number, source in enumerate(sources)}
    return BundleRefused(tuple(sorted(problems, key=lambda one: (order.get(one.file, -1), one.line, one.column))))


def _rules(sources: Sequence[Source], *, names: Names) -> tuple[list[Rule], list[Problem]]:
    rules: list[Rule] = []
    problems: list[Problem] = []
    for source in sources:
        statements, guarded = split(source.file, source.text)
        problems += guarded
        before = len(problems)
        for statement in statements:
            rule, wrong = _read(statement, names=names)
            problems += wrong
            rules += [rule] if rule else []
        if len(problems) == before and not guarded and len(_parsed(source.text)) != len(statements):
            # INVARIANT: no text is law that Cedar counts otherwise than we do.
            message = "Cedar reads another number of policies here than are written"
            problems.append(Problem(file=source.file, line=1, column=1, message=message))
    return rules, problems


def _read(statement: Statement, *, names: Names) -> tuple[Rule | None, tuple[Problem, ...]]:
    if _complain(statement.text) is not None:
        return None, (locate(statement, _complain),)
    for token in statement.tokens:
        if token.text == "?":
            return None, (statement.problem("templates are not accepted in a bundle", at=token.offset),)
    try:
        forms = orjson.loads(policies_to_json_str(statement.text))["staticPolicies"]
        return understand(statement, forms["policy0"], names=names)
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


def _names(operations: Iterable[Operation]) -> Names:
    named = tuple(operations)
    return Names(
        actions=_REVIEW.union(schema.CLASSES, (one.name for one in named)),
        upstreams=frozenset(one.upstream for one in named),
    )


def _applicable(bundle: Bundle) -> tuple[Rule, ...]:
    """Rules with an action in their scope. A group may still be empty; Cedar calls that an error, we do not."""
    present = _REVIEW.union(bundle.operations, *map(schema.scopes, bundle.operations.values()))
    return tuple(
        rule
        for rule in bundle.rules
        if (rule.actions & present if rule.actions is not None else rule.principal != AGENT or bundle.operations)
    )


def _digest(parts: Iterable[str]) -> str:
    state = hashlib.sha256(b"assentry-bundle-1")
    for part in parts:
        raw = part.encode()
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()
