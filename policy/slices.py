"""The law cut for single operations: what of it can match a call, made once for all operations that are alike.

Operations are alike when no policy can tell their calls apart but by what the calls themselves say: they are in the
same action groups, no policy names them, and the fields of their input that policies read have the same types. Their
calls are judged as one action. Decides nothing: `policy.engine` judges with what it gets here.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from weakref import ref

from cedarpy import PolicySet, Schema

from policy import schema
from policy.attempt import Act
from policy.expressions import Path, covers
from policy.facts import View, view
from policy.fitness import Demands, demands
from policy.operation import FieldType, Operation
from policy.rules import AGENT, USER, Rule

Shape = tuple[tuple[str, FieldType, bool], ...]
"""Fields of an input: name, type, and whether it is required."""

_MOST_KIB = 128 * 1024
"""Of what Cedar made for single operations, so much is kept ready: some 1,000 operations that policies name, or as
many kinds of operations that they do not. What is put away is made again in about a millisecond."""
_SCHEMA_KIB, _POLICY_KIB, _COPY_KIB = 90.0, 4.7, 1.25
"""What a schema of one action takes, a policy that was parsed, and one taken over from another set (Cedar 4.12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What every schema of one bundle lists."""

    quorums: frozenset[str]
    labels: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The policies that can match one action, and how its calls are looked at."""

    action: str
    """What Cedar is told that is done: the operation, or the first one like it."""
    rules: tuple[Rule, ...]
    """In the order in which Cedar numbers them; `core` has the same order."""
    reads: frozenset[Path]
    seen: View
    steady: View
    """`seen` without what changes by itself as time goes on."""
    reads_clock: bool
    reads_recent: bool
    stock: Stock
    demands: Demands | None = None
    """What the operation's calls have to bring; None for acts of people."""

    @property
    def policies(self) -> PolicySet:
        """The rules, parsed. Raises ValueError where Cedar refuses: never, in a bundle that was proved."""
        return self.stock.made.policies

    @property
    def core(self) -> PolicySet:
        """The same without the gates."""
        return self.stock.made.core

    @property
    def schema(self) -> Schema:
        """What calls are judged with: this action, and only what its policies read."""
        return self.stock.made.schema


class Ground:
    """Policies that match whole groups of actions, parsed once for every operation in these groups."""

    __slots__ = ("_core", "_policies", "gates", "inputs", "reads", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        plain, self.gates = _parted(rules)
        self.rules = plain + self.gates
        self.reads = reads_of(rules)
        self.inputs = inputs_read(self.reads)
        self._core: PolicySet | None = None
        self._policies: PolicySet | None = None

    @property
    def core(self) -> PolicySet:
        """Those that are not gates."""
        if self._core is None:
            plain = self.rules[: len(self.rules) - len(self.gates)]
            self._core = PolicySet.from_str(_text(plain), release_gil=True)
        return self._core

    @property
    def policies(self) -> PolicySet:
        """All of them."""
        if self._policies is None:
            self._policies = _more(self.core, self.gates)
        return self._policies


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    policies: PolicySet
    core: PolicySet
    schema: Schema


class Stock:
    """What Cedar makes of a slice: made when it is first asked for, and again after the shelf has put it away."""

    __slots__ = ("__weakref__", "_gates", "_ground", "_made", "_plain", "_shelf", "_text")

    def __init__(self, ground: Ground, own: Sequence[Rule], *, text: Callable[[], str], shelf: Shelf) -> None:
        self._ground, self._text, self._shelf = ground, text, shelf
        self._plain, self._gates = _parted(own)
        self._made: _Made | None = None

    @property
    def made(self) -> _Made:
        """All of it, ready. Raises ValueError where Cedar refuses: never, in a bundle that was proved."""
        made = self._made
        if made is None:
            made = self._made = self._make()
            self._shelf.take(self)
        return made

    @property
    def ready(self) -> bool:
        """Whether it is made at the moment."""
        return self._made is not None

    @property
    def kib(self) -> float:
        """Roughly what it takes, beside what it shares with others."""
        if not self._plain and not self._gates:
            return _SCHEMA_KIB
        copied = 2 * len(self._ground.rules) * _COPY_KIB
        return _SCHEMA_KIB + copied + 2 * (len(self._plain) + len(self._gates)) * _POLICY_KIB

    def put_away(self) -> None:
        """Nothing is ready any more."""
        self._made = None

    def _make(self) -> _Made:
        core = _more(self._ground.core, self._plain)
        own = _more(self._ground.policies, (*self._plain, *self._gates))
        return _Made(policies=own, core=core, schema=Schema.from_str(self._text()))


class Shelf:
    """Keeps what Cedar made within a limit: where there would be more, what was made first is put away."""

    __slots__ = ("_kept", "_kib", "_most_kib")

    def __init__(self, *, most_kib: float) -> None:
        self._most_kib = most_kib
        self._kib = 0.0
        # Weakly: a circle would keep a law that was replaced, and all of Cedar in it, until the next full collection.
        self._kept: deque[tuple[ref[Stock], float]] = deque()

    def take(self, stock: Stock) -> None:
        """What was just made has its place here."""
        self._kept.append((ref(stock), stock.kib))
        self._kib += stock.kib
        while self._kib > self._most_kib and len(self._kept) > 1:
            found, kib = self._kept.popleft()
            self._kib -= kib
            oldest = found()
            if oldest is not None:
                oldest.put_away()


class Cutter:
    """Cuts slices of one bundle's rules. Belongs to one thread at a time."""

    def __init__(self, rules: Sequence[Rule], vocabulary: Vocabulary, *, most_kib: float = _MOST_KIB) -> None:
        self._rules = rules
        self._vocabulary = vocabulary
        self._shelf = Shelf(most_kib=most_kib)
        self._places = _places(rules)
        self._named = frozenset(name for rule in rules for name in (*(rule.actions or ()), *rule.mentions))
        self._grounds: dict[tuple[int, ...], Ground] = {}
        self._by_scopes: dict[frozenset[str], Ground] = {}
        self._kinds: dict[object, Slice] = {}
        self._reviews: dict[Ground, Stock] = {}

    def of(self, operation: Operation) -> Slice:
        """The law on one operation."""
        kind = self.kind(operation)
        return replace(kind, demands=demands(operation, kind.reads))

    def of_act(self, act: Act) -> Slice:
        """The law on one act of a person."""
        ground = self._ground(frozenset({"review", act.value}), principal=USER)
        stock = self._reviews.get(ground)
        if stock is None:
            words = {"quorum": self._vocabulary.quorums, "labels": self._vocabulary.labels}
            text = partial(schema.of_review, **words)
            stock = self._reviews[ground] = Stock(ground, (), text=text, shelf=self._shelf)
        return _slice(act.value, ground.rules, seen=View(facts=(), records=()), stock=stock)

    def prepare(self, operations: Iterable[Operation]) -> None:
        """Policies that match whole groups are parsed, for the groups that these operations are in."""
        for scopes in {schema.scopes(one) for one in operations}:
            _ = self.ground(scopes).policies

    def prove(self, operations: Sequence[Operation]) -> None:
        """Returns if Cedar makes something of every slice of these. Raises ValueError otherwise."""
        words = {"quorum": self._vocabulary.quorums, "labels": self._vocabulary.labels}
        # Whichever of many alike operations is called first lends its name, so all the names are tried.
        Schema.from_str(schema.whole((), named=operations, **words), release_gil=True)
        for kind in {id(kind): kind for kind in map(self.kind, operations)}.values():
            _ = kind.stock.made

    def kind(self, operation: Operation) -> Slice:
        """What the slices of all operations like this one have in common."""
        scopes = schema.scopes(operation)
        ground = self.ground(scopes)
        if operation.name in self._named:
            return self._kept(operation.name, operation, ground=ground, own=self._own(operation.name, scopes))
        return self._kept((scopes, shape(operation, ground.inputs)), operation, ground=ground)

    def ground(self, scopes: frozenset[str]) -> Ground:
        """The policies that match every operation in exactly these action groups."""
        found = self._by_scopes.get(scopes)
        if found is None:
            found = self._by_scopes[scopes] = self._ground(scopes, principal=AGENT)
        return found

    def _kept(self, key: object, operation: Operation, *, ground: Ground, own: tuple[Rule, ...] = ()) -> Slice:
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = self._cut(operation, ground=ground, own=own)
        return kind

    def _cut(self, operation: Operation, *, ground: Ground, own: tuple[Rule, ...]) -> Slice:
        plain, gates = _parted(own)
        rules = ground.rules + plain + gates
        seen = view(operation, reads_of(rules))
        words = {"quorum": self._vocabulary.quorums, "labels": self._vocabulary.labels}
        stock = Stock(ground, own, text=partial(schema.of_operation, operation, seen, **words), shelf=self._shelf)
        return _slice(operation.name, rules, seen=seen, stock=stock)

    def _ground(self, scopes: frozenset[str], *, principal: str) -> Ground:
        places = self._matching((None, *scopes), principal=principal)
        found = self._grounds.get(places)
        if found is None:
            found = self._grounds[places] = Ground([self._rules[place] for place in places])
        return found

    def _own(self, name: str, scopes: frozenset[str]) -> tuple[Rule, ...]:
        """The policies that match this operation, and not all of its groups' others."""
        rules = (self._rules[place] for place in self._matching((name,), principal=AGENT))
        return tuple(rule for rule in rules if rule.actions is not None and not rule.actions & scopes)

    def _matching(self, scopes: Iterable[str | None], *, principal: str) -> tuple[int, ...]:
        places = {place for scope in scopes for place in self._places.get(scope, ())}
        return tuple(place for place in sorted(places) if self._rules[place].principal in {None, principal})


def reads_of(rules: Iterable[Rule]) -> frozenset[Path]:
    """Every path below `context` that one of the policies looks at."""
    return frozenset().union(*(rule.reads for rule in rules))


def inputs_read(reads: Iterable[Path]) -> frozenset[str] | None:
    """Names of the fields of the input among the paths; None where the input is read as a whole."""
    wanted = [read for read in reads if covers(read, ("input",))]
    return None if any(len(read) < 2 for read in wanted) else frozenset(read[1] for read in wanted)


def shape(operation: Operation, names: frozenset[str] | None) -> Shape:
    """What can be seen of an operation's input by policies that read fields of these names."""
    return tuple(
        sorted((one.name, one.type, one.required) for one in operation.fields if names is None or one.name in names)
    )


def _slice(action: str, rules: tuple[Rule, ...], *, seen: View, stock: Stock) -> Slice:
    reads = reads_of(rules)
    return Slice(
        action=action,
        rules=rules,
        reads=reads,
        seen=seen,
        steady=View(facts=tuple(fact for fact in seen.facts if not fact.moves), records=seen.records),
        reads_clock=any(fact.moves for fact in seen.facts),
        reads_recent=any(covers(read, ("recent",)) for read in reads),
        stock=stock,
    )


def _places(rules: Sequence[Rule]) -> Mapping[str | None, Sequence[int]]:
    """Where the rules stand that have each action or group in their scope; None: every action."""
    found: defaultdict[str | None, list[int]] = defaultdict(list)
    for place, rule in enumerate(rules):
        for name in rule.actions if rule.actions is not None else (None,):
            found[name].append(place)
    return dict(found)


def _parted(rules: Sequence[Rule]) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
    return tuple(rule for rule in rules if not rule.gate), tuple(rule for rule in rules if rule.gate)


def _more(policies: PolicySet, rules: Sequence[Rule]) -> PolicySet:
    return policies.with_added_str(_text(rules)) if rules else policies


def _text(rules: Iterable[Rule]) -> str:
    return "\n".join(rule.statement.text for rule in rules)
