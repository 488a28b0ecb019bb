"""What Cedar's type checker says of the rules of a bundle, and which of them it proves can never match.

The type checker looks at each policy once for each operation in its scope. Here one operation stands for all that it
cannot tell apart: those in the same action groups, with the same types in what the policy reads of their input. Which
text may be shown to Cedar at all is `policy.statements`' to say.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from cedarpy import Schema, validate_policies

from policy import schema
from policy.errors import Problem
from policy.operation import Operation
from policy.rules import Rule
from policy.slices import Shape, Vocabulary, inputs_read, shape

_MOST_COMPLAINTS = 3
"""So many different complaints about one policy are shown."""
_AT_ONCE = 48
"""Operations in one schema: few, so that policies on others do not pay for them, and the schema stays small."""

_Read = frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """All of a rule that says which operations it is looked at for, and which of them are alike."""

    actions: frozenset[str] | None
    read: _Read
    """Fields of the input that it reads."""
    mentions: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return self.mentions | (self.actions or frozenset())


@dataclass(slots=True, kw_only=True)
class _Finding:
    """What is known of one rule so far."""

    rule: Rule
    alive: bool = False
    complaints: dict[str, str] = field(default_factory=dict)
    """By the sentence without the action that it is true of: each is made once, however many actions there are."""

    def complain(self, text: str) -> None:
        said = re.sub(r'Action::"[^"]*"', "", text)
        self.complaints[said] = min(text, self.complaints.get(said, text))

    def worth_saying(self) -> Sequence[str]:
        # That no action is applicable follows from the other mistakes, if there are any.
        several = sorted(self.complaints.values())
        first_hand = [one for one in several if not one.startswith("unable to find an applicable action")]
        return (first_hand or several)[:_MOST_COMPLAINTS]

    def problems(self) -> Iterator[Problem]:
        statement = self.rule.statement
        for text in self.worth_saying():
            yield statement.problem(text, at=statement.offset_of(*_mentioned(text)), policy=self.rule.id)
        if not self.complaints and not self.alive:
            message = "this policy can never match: is an attribute behind `has` misspelt, or the scope impossible?"
            yield statement.problem(message, policy=self.rule.id)


@dataclass(slots=True, kw_only=True)
class _Check:
    """Rules, and the operations that they are looked at for together."""

    findings: list[_Finding] = field(default_factory=list)
    against: dict[str, Operation] = field(default_factory=dict)
    named: dict[str, Operation] = field(default_factory=dict)
    """Operations that stand in one of the rules."""

    def has_room_for(self, operations: Iterable[Operation]) -> bool:
        return len(self.against.keys() | {one.name for one in operations}) <= _AT_ONCE

    def add(self, findings: Sequence[_Finding], operations: Iterable[Operation], *, named: Iterable[Operation]) -> None:
        self.findings += findings
        self.against |= {one.name: one for one in operations}
        self.named |= {one.name: one for one in named}

    def carry_out(self, vocabulary: Vocabulary) -> None:
        made = Schema.from_str(self._schema(vocabulary), release_gil=True)
        for finding, text in _said(self.findings, made):
            finding.complain(text)
        # The type checker looks no further where it knows a policy to be false already: if this nonsense passes, it is.
        unproved = [one for one in self.findings if not one.complaints and not one.alive]
        for finding, _ in _said(unproved, made, and_also=" when { 1 < true }"):
            finding.alive = True

    def _schema(self, vocabulary: Vocabulary) -> str:
        bare = [one for name, one in self.named.items() if name not in self.against]
        return schema.whole(self.against.values(), quorum=vocabulary.quorums, labels=vocabulary.labels, named=bare)


class _Population:
    """The operations of a bundle, and which of them stand for others."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._by_name: dict[str, Operation] = {}
        self._by_scopes: defaultdict[frozenset[str], list[Operation]] = defaultdict(list)
        for one in operations:
            self._by_name[one.name] = one
            self._by_scopes[schema.scopes(one)].append(one)
        self._kinds: dict[tuple[frozenset[str], _Read], Sequence[Sequence[Operation]]] = {}

    def named(self, names: Iterable[str]) -> tuple[Operation, ...]:
        """The operations among these names."""
        return tuple(self._by_name[name] for name in sorted(names) if name in self._by_name)

    def standing_for(self, scope: _Scope) -> tuple[Operation, ...]:
        """One of each kind in the scope; what the conditions mention is like nothing else."""
        wide = (one for one in self._by_scopes if scope.actions is None or scope.actions & one)
        kinds = (self._kinds_in(one, scope.read) for one in wide)
        alike = (*_kinds(self.named(scope.actions or ()), scope.read), *chain.from_iterable(kinds))
        unmentioned = (next((one for one in kind if one.name not in scope.mentions), None) for kind in alike)
        return (*(one for one in unmentioned if one is not None), *self.named(scope.mentions))

    def _kinds_in(self, scopes: frozenset[str], read: _Read) -> Sequence[Sequence[Operation]]:
        found = self._kinds.get((scopes, read))
        if found is None:
            found = self._kinds[scopes, read] = _kinds(self._by_scopes[scopes], read)
        return found


def invalid(rules: Sequence[Rule], operations: Iterable[Operation], vocabulary: Vocabulary) -> Iterator[Problem]:
    """Everything that is wrong with the rules as far as types can tell, rule by rule."""
    findings = [_Finding(rule=rule) for rule in rules]
    for check in _checks(findings, _Population(operations)):
        check.carry_out(vocabulary)
    for finding in findings:
        yield from finding.problems()


def _checks(findings: Iterable[_Finding], population: _Population) -> Iterator[_Check]:
    by_scope: defaultdict[_Scope, list[_Finding]] = defaultdict(list)
    for one in findings:
        rule = one.rule
        scope = _Scope(actions=rule.actions, read=inputs_read(rule.reads), mentions=rule.mentions)
        by_scope[scope].append(one)
    check = _Check()
    for scope, alike in by_scope.items():
        for operations in _portions(population.standing_for(scope)):
            if check.findings and not check.has_room_for(operations):
                yield check
                check = _Check()
            check.add(alike, operations, named=population.named(scope.names))
    yield check


def _portions(operations: Sequence[Operation]) -> Iterator[Sequence[Operation]]:
    """At least one, though it may be empty: acts of people are in every schema."""
    for start in range(0, max(1, len(operations)), _AT_ONCE):
        yield operations[start : start + _AT_ONCE]


def _kinds(operations: Iterable[Operation], read: _Read) -> Sequence[Sequence[Operation]]:
    alike: defaultdict[tuple[frozenset[str], Shape], list[Operation]] = defaultdict(list)
    for one in operations:
        alike[schema.scopes(one), shape(one, read)].append(one)
    return tuple(alike.values())


def _said(findings: Sequence[_Finding], made: Schema, *, and_also: str = "") -> Iterator[tuple[_Finding, str]]:
    if not findings:
        return
    texts = (finding.rule.statement.text.rstrip(";") for finding in findings)
    joined = "\n".join(f"{text}{and_also};" for text in texts)
    for error in validate_policies(joined, made, release_gil=True).errors:
        number = int(error.policy_id.removeprefix("policy")) if error.policy_id.startswith("policy") else 0
        yield findings[number], re.sub(r"^for policy `policy\d+`[,:] ", "", error.error)


def _mentioned(complaint: str) -> Iterator[str]:
    for name in re.findall(r"`([^`]+)`", complaint):
        yield from re.findall(r'"([^"]*)"', name)
        yield name
        yield name.rpartition(".")[2]
