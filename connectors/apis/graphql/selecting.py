"""Which fields of the root a document runs, and with which arguments: what a server's executor would come to.

Follows CollectFields and CoerceArgumentValues (GraphQL, September 2025, sections 6.3.2 and 6.4.1). Where a server that
does not validate could come to something else, the document is refused: conditions that are no truth values, fields
that share a name and differ, fragments that stand in themselves, directives that the schema does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import Enum

from graphql.language import (
    BooleanValueNode,
    DirectiveNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    SelectionSetNode,
    StringValueNode,
    ValueNode,
    VariableNode,
)

from connectors.apis.bodies import Json
from connectors.apis.graphql.asking import Unclear
from connectors.apis.graphql.parsing import Limits, Parsed, once

TYPENAME = "__typename"
_CONDITIONS = ("skip", "include")


class _Absent(Enum):
    """No value at all, which is not null."""

    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A field of the root type that will run."""

    name: str
    arguments: Mapping[str, Json]
    """As given; defaults of the schema are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """What a document runs."""

    roots: tuple[Root, ...]
    """In order, `__typename` left out, unless it is all there is."""
    depth: int
    """Levels of fields: 1 for `{ viewer }`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What of the schema it takes to read a document."""

    conditions: frozenset[str] | None = None
    """Names of the types that the root object is of; None: not known, and any condition is taken to hold."""
    directives: frozenset[str] = frozenset(_CONDITIONS)


def selected(document: Parsed, variables: Mapping[str, Json], *, grammar: Grammar, limits: Limits) -> Selected:
    """What the document runs with these variables. Raises Unclear."""
    reading = _Reading(document=document, variables=variables, grammar=grammar)
    reading.check_directives(document.operation.directives or ())
    try:
        depth = reading.depth(document.operation.selection_set)
        if depth > limits.depth:
            raise Unclear(f"The GraphQL document is nested more than {limits.depth} fields deep.")
        reading.collect(document.operation.selection_set)
    except RecursionError as exc:
        # Hundreds of fragments, each in the next: nested, though no brackets are.
        raise Unclear("The GraphQL document is nested too deeply.") from exc
    roots = [Root(name=name, arguments=given) for name, given in reading.found.values()]
    if not roots:
        raise Unclear("The GraphQL document runs nothing.")
    if len(roots) > limits.root_fields:
        raise Unclear(f"The GraphQL document runs more than {limits.root_fields} fields at once.")
    telling = tuple(root for root in roots if root.name != TYPENAME)
    return Selected(roots=telling or tuple(roots[:1]), depth=depth)


@dataclass(slots=True, kw_only=True)
class _Reading:
    document: Parsed
    variables: Mapping[str, Json]
    grammar: Grammar
    found: dict[str, tuple[str, dict[str, Json]]] = field(default_factory=dict)
    """By the name in the response: the field and its arguments."""
    _visited: set[str] = field(default_factory=set)
    _depths: dict[str, int | None] = field(default_factory=dict)
    """By fragment; None while it is being measured."""

    def collect(self, selections: SelectionSetNode) -> None:
        for one in selections.selections:
            self.check_directives(one.directives or ())
            if not self._is_included(one.directives or ()):
                continue
            if isinstance(one, FieldNode):
                self._keep(one)
            elif isinstance(one, InlineFragmentNode):
                self._check_condition(one.type_condition.name.value if one.type_condition else None)
                self.collect(one.selection_set)
            elif isinstance(one, FragmentSpreadNode) and one.name.value not in self._visited:
                self._visited.add(one.name.value)
                fragment = self._fragment(one)
                self.check_directives(fragment.directives or ())
                self._check_condition(fragment.type_condition.name.value)
                self.collect(fragment.selection_set)

    def _keep(self, one: FieldNode) -> None:
        shown = one.alias.value if one.alias else one.name.value
        said = one.name.value, self._arguments(one)
        # By their text: True is 1 to Python, and not to GraphQL.
        if repr(self.found.setdefault(shown, said)) != repr(said):
            raise Unclear("Two different fields of the GraphQL document have the same name in its answer.")

    def _arguments(self, one: FieldNode) -> dict[str, Json]:
        given = ((argument.name.value, self._value(argument.value)) for argument in one.arguments or ())
        return dict(_present(given))

    def check_directives(self, directives: Iterable[DirectiveNode]) -> None:
        names = [one.name.value for one in directives]
        once("A directive", (name for name in names if name in _CONDITIONS))
        if not self.grammar.directives.issuperset(names):
            raise Unclear("The GraphQL document has a directive that is not one of this upstream's.")

    def _is_included(self, directives: Iterable[DirectiveNode]) -> bool:
        said = {one.name.value: self._condition(one) for one in directives if one.name.value in _CONDITIONS}
        return not said.get("skip", False) and said.get("include", True)

    def _condition(self, directive: DirectiveNode) -> bool:
        arguments = directive.arguments or ()
        value = self._value(arguments[0].value) if [one.name.value for one in arguments] == ["if"] else None
        if not isinstance(value, bool):
            raise Unclear("A condition (`@skip`, `@include`) of the GraphQL document is not true and not false.")
        return value

    def _check_condition(self, name: str | None) -> None:
        known = self.grammar.conditions
        if name is not None and known is not None and name not in known:
            raise Unclear("A fragment of the GraphQL document stands where its type does not belong.")

    def _fragment(self, spread: FragmentSpreadNode) -> FragmentDefinitionNode:
        fragment = self.document.fragments.get(spread.name.value)
        if fragment is None:
            raise Unclear("The GraphQL document uses a fragment that it does not define.")
        return fragment

    def depth(self, selections: SelectionSetNode | None) -> int:
        below = (self._depth_of(one) for one in selections.selections) if selections else ()
        return max(below, default=0)

    def _depth_of(self, one: object) -> int:
        if isinstance(one, FieldNode):
            return 1 + self.depth(one.selection_set)
        if isinstance(one, InlineFragmentNode):
            return self.depth(one.selection_set)
        if not isinstance(one, FragmentSpreadNode):
            raise Unclear("The GraphQL document selects something that is neither field nor fragment.")
        name = one.name.value
        if name not in self._depths:
            self._depths[name] = None
            self._depths[name] = self.depth(self._fragment(one).selection_set)
        measured = self._depths[name]
        if measured is None:
            raise Unclear("A fragment of the GraphQL document stands in itself.")
        return measured

    def _value(self, node: ValueNode) -> Json | _Absent:
        match node:
            case VariableNode():
                return self._variable(node.name.value)
            case ListValueNode():
                # A variable without a value is null in a list, and not there in an object (section 6.4.1, 3.10).
                items = (self._value(item) for item in node.values)
                return [None if item is _Absent.ABSENT else item for item in items]
            case ObjectValueNode():
                return dict(_present((one.name.value, self._value(one.value)) for one in node.fields))
            case _:
                return scalar(node)

    def _variable(self, name: str) -> Json | _Absent:
        definition = self.document.variables.get(name)
        if definition is None:
            raise Unclear("The GraphQL document uses a variable that it does not declare.")
        if name in self.variables:
            return self.variables[name]
        return self._value(definition.default_value) if definition.default_value is not None else _Absent.ABSENT


def scalar(node: ValueNode) -> Json:
    """The value of a literal that holds no others. Raises Unclear for a number beyond all use."""
    match node:
        case StringValueNode(value=text) | EnumValueNode(value=text):
            return str(text)
        case BooleanValueNode(value=truth):
            return bool(truth)
        case NullValueNode():
            return None
        case IntValueNode(value=digits) | FloatValueNode(value=digits):
            try:
                return int(digits) if isinstance(node, IntValueNode) else Decimal(digits)
            except (ValueError, InvalidOperation) as exc:
                raise Unclear("The GraphQL document holds a number beyond all use.") from exc
        case _:
            raise Unclear("The GraphQL document holds a value of no known kind.")


def _present(pairs: Iterable[tuple[str, Json | _Absent]]) -> Iterator[tuple[str, Json]]:
    return ((name, value) for name, value in pairs if not isinstance(value, _Absent))
