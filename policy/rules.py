"""One policy understood: what kind it is, whom it names, what it reads, what it asks for, and what is wrong with it.

Works on a statement and Cedar's JSON form of it. Whether the text parses and fits the schema is `policy.bundle`'s to
ask Cedar; everything that Cedar does not check is checked here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from policy.annotations import Kind, complaints, kind_of, obligations
from policy.errors import Problem
from policy.expressions import Entity, Json, Node, Path, UnknownForm, context_reads, entities, identifies, tree
from policy.requirement import NotARequirement, requirement
from policy.statements import Statement
from policy.verdict import Alternative, Obligations

AGENT, USER, UPSTREAM = "Agent", "User", "Upstream"
_FEW = 10
"""So many names are listed to whoever misspelt one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy of a bundle."""

    id: str
    kind: Kind
    statement: Statement
    actions: frozenset[str] | None
    """Actions and action groups in its scope; None: every action."""
    principal: str | None
    """The only entity type its scope lets act, where it says one."""
    reads: frozenset[Path]
    """Paths below `context` that it may look at."""
    mentions: frozenset[str]
    """Actions and action groups that its conditions name."""
    obligations: Obligations
    singles_out: bool
    """Whether it may treat one object of an API differently from another of the same kind and owner."""
    any_of: tuple[Alternative, ...] = ()
    """What a gate asks for."""
    reason: str = ""
    """The `@reason` of a prohibition."""

    @property
    def gate(self) -> bool:
        """Whether approval lifts it."""
        return self.kind is Kind.GATE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clauses:
    """The conditions of a policy, by the word that introduces them."""

    when: tuple[Node, ...]
    unless: tuple[Node, ...]

    def reads(self) -> frozenset[Path]:
        return frozenset(path for node in (*self.when, *self.unless) for path in context_reads(node))

    def single_out(self) -> bool:
        return any(identifies(node, "resource", within=UPSTREAM) for node in (*self.when, *self.unless))

    def entities(self) -> frozenset[Entity]:
        return frozenset(one for node in (*self.when, *self.unless) for one in entities(node))


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What there is for a policy to name, beside what the schema lists."""

    actions: frozenset[str]
    """Operations, acts, and the groups of both."""
    upstreams: frozenset[str]


def understand(
    statement: Statement, form: Mapping[str, Json], *, names: Names
) -> tuple[Rule | None, tuple[Problem, ...]]:
    """The rule that a statement states, or None, and everything that is wrong with it.

    `form` is the statement's `staticPolicies` entry in Cedar's JSON form. Raises UnknownForm where it cannot be
    examined: then it cannot be law.
    """
    annotations = _annotations(form)
    kind = kind_of(effect=str(form["effect"]), annotations=annotations)
    name = annotations.get("id", "")
    clauses = _clauses(form)
    named = _scope_actions(form["action"])
    entities = clauses.entities().union(_scope_entities(form["principal"]), _scope_entities(form["resource"]))
    any_of, wrong = _asked(clauses, kind=kind)
    at = statement.offset_of
    found = [] if name else [(0, '@id is required: a name for the ledger, as in @id("refund-over-100")')]
    found += [(at(annotation), text) for annotation, text in complaints(annotations, kind=kind) if annotation != "id"]
    found += [
        (at(action), _unknown("action", action, names.actions))
        for action in sorted((named or frozenset()) - names.actions)
    ]
    # A group may come from a token, so nobody can list them all; upstreams are the settings' and no others.
    found += [
        (at(upstream), _unknown("upstream", upstream, names.upstreams) + _few(names.upstreams))
        for upstream in sorted(_ids(entities, UPSTREAM) - names.upstreams)
    ]
    found += [(at(word) or at("context"), text) for word, text in wrong]
    problems = tuple(statement.problem(text, at=offset, policy=name or None) for offset, text in found)
    if problems:
        return None, problems
    rule = Rule(
        id=name,
        kind=kind,
        statement=statement,
        actions=named,
        principal=_scope_type(form["principal"]),
        reads=clauses.reads(),
        mentions=_ids(clauses.entities(), "Action"),
        obligations=obligations(annotations),
        singles_out=_names_an_object(form["resource"]) or clauses.single_out(),
        any_of=any_of,
        reason=annotations.get("reason", ""),
    )
    return rule, ()


def closest(name: str, known: Iterable[str]) -> str:
    """` (did you mean "…"?)`, or nothing."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _asked(clauses: _Clauses, *, kind: Kind) -> tuple[tuple[Alternative, ...], list[tuple[str, str]]]:
    """What a gate asks for, and what is wrong with how approvals are read: a word to point at, and a sentence."""
    outside = clauses.when if kind is Kind.GATE else (*clauses.when, *clauses.unless)
    wrong = []
    if any(not path or path[0] == "approvals" for node in outside for path in context_reads(node)):
        message = "only the `unless` of a gate may read context.approvals, or pass on the context as a whole"
        wrong.append(("approvals", message))
    if kind is not Kind.GATE:
        return (), wrong
    if len(clauses.unless) != 1:
        wrong.append(("hold", "a gate needs exactly one `unless`: the approvals that lift it"))
        return (), wrong
    try:
        return requirement(clauses.unless[0]), wrong
    except NotARequirement as unclear:
        return (), [*wrong, ("unless", str(unclear))]


def _annotations(form: Mapping[str, Json]) -> dict[str, str]:
    raw = form.get("annotations") or {}
    # `@stepup` without a value is null in the JSON form.
    return {name: str(value or "") for name, value in raw.items()} if isinstance(raw, Mapping) else {}


def _clauses(form: Mapping[str, Json]) -> _Clauses:
    conditions = form.get("conditions") or ()
    if not isinstance(conditions, Sequence) or isinstance(conditions, str):
        raise UnknownForm("conditions in a form that is not known here")
    by_kind: dict[str, list[Node]] = {"when": [], "unless": []}
    for condition in conditions:
        if not isinstance(condition, Mapping):
            raise UnknownForm("a condition in a form that is not known here")
        by_kind[str(condition["kind"])].append(tree(condition["body"]))
    return _Clauses(when=tuple(by_kind["when"]), unless=tuple(by_kind["unless"]))


def _scope_actions(scope: Json) -> frozenset[str] | None:
    if not isinstance(scope, Mapping):
        raise UnknownForm("a scope in a form that is not known here")
    if scope["op"] == "All":
        return None
    named = scope["entities"] if "entities" in scope else [scope["entity"]]
    if not isinstance(named, Sequence):
        raise UnknownForm("an action scope in a form that is not known here")
    return frozenset(str(one["id"]) for one in named if isinstance(one, Mapping))


def _scope_entities(scope: Json) -> frozenset[Entity]:
    """The entity of a principal or resource scope: of `== …`, `in …`, `is … in …`; empty where there is none."""
    if not isinstance(scope, Mapping):
        raise UnknownForm("a scope in a form that is not known here")
    within = scope.get("in")
    one = within.get("entity") if isinstance(within, Mapping) else scope.get("entity")
    return frozenset({Entity(type=str(one["type"]), id=str(one["id"]))}) if isinstance(one, Mapping) else frozenset()


def _ids(entities: Iterable[Entity], kind: str) -> frozenset[str]:
    return frozenset(one.id for one in entities if one.type == kind)


def _scope_type(scope: Json) -> str | None:
    """The entity type that a principal scope confines itself to: `is Agent`, or `== Agent::"corp:robot"`."""
    if not isinstance(scope, Mapping):
        raise UnknownForm("a scope in a form that is not known here")
    if scope["op"] == "is":
        return str(scope["entity_type"])
    one = scope.get("entity")
    return str(one["type"]) if scope["op"] == "==" and isinstance(one, Mapping) else None


def _names_an_object(scope: Json) -> bool:
    """Whether a resource scope may be about one object; `in Upstream::"…"` and `is Resource` are about any."""
    if not isinstance(scope, Mapping):
        raise UnknownForm("a scope in a form that is not known here")
    if scope["op"] == "All":
        return False
    above = scope if scope["op"] == "in" else scope.get("in")
    if above is None:
        return scope["op"] != "is"
    entity = above.get("entity") if isinstance(above, Mapping) else None
    return not (isinstance(entity, Mapping) and entity["type"] == UPSTREAM)


def _few(names: frozenset[str]) -> str:
    return f"; there are {', '.join(sorted(names))}" if 0 < len(names) <= _FEW else ""


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f'there is no {kind} "{name}"{closest(name, known)}'
