"""The Cedar schema: the fixed vocabulary, and one action per operation with its typed input.

Generated from operations, groups and labels, so that a misspelt attribute, group or label is an error at publish.
The shape of the context comes from `policy.facts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from policy.attempt import Act
from policy.expressions import quoted
from policy.facts import FACTS, UNSCANNED, Fact, View, inputs
from policy.operation import Operation, OperationClass, unknown

CLASSES: Mapping[str, str | None] = {
    "read": None,
    "write": None,
    "export": None,
    "destructive": "write",
    "money": "write",
    "access": "write",
    "comms": "write",
    "unknown": "write",
}
"""Action groups and the group each is in. `export` stands alone because an export may be only a read."""

NO_QUORUM = "nobody:1"
"""Stands in where no group is configured: an enumeration may not be empty, and nobody is ever in this group."""

REVIEW = """action review;
action {acts} in [review] appliesTo {{
  principal: [User],
  resource: [Held],
  context: {{
    req: {{ now: datetime, weekday: Long }},
    reason: String,
    channel: String,
    authAge?: duration,
    methods: Set<String>,
  }},
}};
""".format(acts=", ".join(quoted(act.value) for act in Act))

_ENTITIES = """entity Group;
entity User in [Group];
entity Agent in [Group] {{ owner?: User }};
entity Upstream {{ env: String }};
entity Resource in [Upstream] {{ kind: String, owner?: String }};
entity Label enum [{labels}];
entity Quorum enum [{quorums}];
entity Held in [Resource, Upstream] {{
  agent: Agent,
  requesters: Set<User>,
  operation: String,
  tier: String,
  classes: Set<String>,
}};
"""


def with_unknown(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """The operations, and `<upstream>:unknown` for each of their upstreams, once each, in order."""
    given = tuple(operations)
    missing = {one.upstream: None for one in given if one.known}
    for one in given:
        if not one.known:
            missing.pop(one.upstream, None)
    return (*given, *(unknown(upstream, "*") for upstream in missing))


def classes(operation: Operation) -> frozenset[str]:
    """The action groups of an operation.

    A read is an operation that is called one and nothing worse; `export` beside `read` stays a read. Whatever is not
    a read is a write, also where nobody said anything.
    """
    return _classes(operation.classes) if operation.known else frozenset({"unknown", "write"})


@cache
def _classes(given: frozenset[OperationClass]) -> frozenset[str]:
    said = frozenset(one.value for one in given)
    if OperationClass.READ in said and said <= {OperationClass.READ, OperationClass.EXPORT}:
        return said
    return (said - {OperationClass.READ}) | {OperationClass.WRITE}


def scopes(operation: Operation) -> frozenset[str]:
    """Every action group that the operation is in, directly or not."""
    return _with_parents(classes(operation))


@cache
def _with_parents(groups: frozenset[str]) -> frozenset[str]:
    return groups.union(up for name in groups if (up := CLASSES[name]))


def quorums(groups: Mapping[str, int]) -> frozenset[str]:
    """`<group>:<n>` for every group and every n up to the largest quorum a gate may ask of it."""
    return frozenset(f"{group}:{n}" for group, most in groups.items() for n in range(1, most + 1))


def whole(
    operations: Iterable[Operation],
    *,
    quorum: Iterable[str],
    labels: Iterable[str],
    named: Iterable[Operation] = (),
) -> str:
    """The schema that policies are written and checked against.

    Operations that are only `named` may stand in a policy, but no call of them is looked at.
    """
    before, after = _context(View(facts=FACTS)).split(_record("input", ()))
    actions = [_action(one, before + _record("input", inputs(one)) + after) for one in operations]
    bare = [f"action {quoted(one.name)} in [{_listed(classes(one))}];\n" for one in named]
    return "".join([_entities(quorum, labels), _groups(CLASSES), REVIEW, *actions, *bare])


def of_operation(operation: Operation, seen: View, *, quorum: Iterable[str], labels: Iterable[str]) -> str:
    """The schema that calls of one operation are judged with: one action, and only what its policies read.

    Cedar copies every action into each set of entities and checks every attribute of each context; a schema of the
    whole catalogue would make each decision pay for all of it.
    """
    return (
        _entities(quorum, labels)
        + _groups({name: up for name, up in CLASSES.items() if name in scopes(operation)})
        + _action(operation, _context(seen))
    )


def of_review(*, quorum: Iterable[str], labels: Iterable[str]) -> str:
    """The schema that people's acts are judged with."""
    return _entities(quorum, labels) + REVIEW


def _entities(quorum: Iterable[str], labels: Iterable[str]) -> str:
    return _ENTITIES.format(
        labels=_listed({*labels, UNSCANNED}),
        quorums=_listed({*quorum} or {NO_QUORUM}),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in sorted(names))


def _groups(groups: Mapping[str, str | None]) -> str:
    return "".join(f"action {quoted(name)}{f' in [{quoted(up)}]' if up else ''};\n" for name, up in groups.items())


def _action(operation: Operation, context: str) -> str:
    return (
        f"action {quoted(operation.name)} in [{_listed(classes(operation))}] appliesTo {{\n"
        f"  principal: [Agent],\n  resource: [Resource],\n  context: {{\n{context}  }},\n}};\n"
    )


def _context(seen: View) -> str:
    lines = [f"    {_declared(fact)},\n" for fact in seen.facts if len(fact.path) == 1]
    lines += [_record(name, (fact for fact in seen.facts if fact.path[:-1] == (name,))) for name in seen.records]
    return "".join(lines)


def _record(name: str, facts: Iterable[Fact]) -> str:
    return f"    {name}: {{ {', '.join(_declared(fact) for fact in facts)} }},\n"


def _declared(fact: Fact) -> str:
    return f"{quoted(fact.path[-1])}{'?' if fact.optional else ''}: {fact.type}"
