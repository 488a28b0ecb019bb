"""A document, parsed within limits, with one operation in it and nothing that readers take differently.

What of it runs, and with what, is `selecting`'s. Line ends, control characters and names that stand twice are looked at
here, because servers differ there: where one ends a comment another goes on reading it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from graphql import GraphQLError, OperationType, parse
from graphql.language import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    Node,
    OperationDefinitionNode,
    VariableDefinitionNode,
    Visitor,
    visit,
)

from connectors.apis.graphql.asking import Unclear

_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029\ufeff\ud800-\udfff]|\r(?!\n)")
"""Ends of lines for some, of texts for others, nothing for a third. A lone CR ends a comment by the specification."""
_REMEMBERED_CHARACTERS = 4096
_REMEMBERED = 64
"""At worst less than a megabyte each, and an agent chooses which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one document may be. Larger ones are refused."""

    document_bytes: int = 65_536
    tokens: int = 5_000
    depth: int = 20
    aliases: int = 50
    root_fields: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A document of one operation."""

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, VariableDefinitionNode]

    @property
    def kind(self) -> str:
        """`query`, `mutation` or `subscription`."""
        return self.operation.operation.value

    @property
    def name(self) -> str | None:
        """Of the operation."""
        return self.operation.name.value if self.operation.name else None


def parsed(text: str, limits: Limits) -> Parsed:
    """The document. Raises Unclear where it is not one that every server reads alike."""
    if len(text) > _REMEMBERED_CHARACTERS:
        return _parsed(text, limits)
    # Clients send the same few documents, and put into variables what changes.
    return _parsed_again(text, limits)


def _parsed(text: str, limits: Limits) -> Parsed:
    if len(text.encode("utf-8", "surrogatepass")) > limits.document_bytes:
        raise Unclear(f"The GraphQL document is larger than {limits.document_bytes} bytes.")
    if _ODD.search(text):
        raise Unclear("The GraphQL document holds a control character, a byte order mark or an odd line end.")
    try:
        document = parse(text, no_location=True, max_lexical_tokens=limits.tokens, max_comments=limits.tokens)
    except GraphQLError as exc:
        at = exc.locations[0] if exc.locations else None
        where = f" (line {at.line}, column {at.column})" if at else ""
        raise Unclear(f"The GraphQL document cannot be parsed, or has more than {limits.tokens} words{where}.") from exc
    except RecursionError as exc:
        raise Unclear("The GraphQL document is nested too deeply.") from exc
    return _checked(document, limits)


_parsed_again = lru_cache(maxsize=_REMEMBERED)(_parsed)


def _checked(document: DocumentNode, limits: Limits) -> Parsed:
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    fragments = [one for one in document.definitions if isinstance(one, FragmentDefinitionNode)]
    if len(operations) + len(fragments) < len(document.definitions):
        raise Unclear("The GraphQL document defines something else than operations and fragments.")
    if len(operations) != 1:
        raise Unclear("The GraphQL document has several operations, or none. Send one operation in each call.")
    operation = operations[0]
    if operation.operation is OperationType.SUBSCRIPTION:
        raise Unclear("Subscriptions do not pass here. Ask by a query instead.")
    variables = operation.variable_definitions or ()
    once("A fragment", (one.name.value for one in fragments))
    once("A variable", (one.variable.name.value for one in variables))
    _check_names(document, limits)
    return Parsed(
        operation=operation,
        fragments={one.name.value: one for one in fragments},
        variables={one.variable.name.value: one for one in variables},
    )


def _check_names(document: DocumentNode, limits: Limits) -> None:
    seen = _Seen()
    try:
        visit(document, seen)
    except RecursionError as exc:
        raise Unclear("The GraphQL document is nested too deeply.") from exc
    if seen.aliases > limits.aliases:
        raise Unclear(f"The GraphQL document has more than {limits.aliases} aliases.")


class _Seen(Visitor):
    """Counts aliases, and refuses names that stand twice where they may stand once."""

    def __init__(self) -> None:
        super().__init__()
        self.aliases = 0

    def enter(self, node: Node, *_: object) -> None:
        """Looks at one node."""
        if isinstance(node, FieldNode) and node.alias is not None:
            self.aliases += 1
        arguments = getattr(node, "arguments", None)
        if arguments:
            once("An argument", (one.name.value for one in arguments))
        fields = getattr(node, "fields", None)
        if fields:
            once("A field of an object", (one.name.value for one in fields))


def once(what: str, names: Iterable[str]) -> None:
    """Raises Unclear if a name stands twice."""
    counted = Counter(names)
    if counted and counted.most_common(1)[0][1] > 1:
        raise Unclear(f"{what} stands twice in the GraphQL document.")
