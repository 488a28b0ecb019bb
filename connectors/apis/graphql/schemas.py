"""A schema as operations: one for each field of the root types, with the arguments that policies can read.

Reads SDL and introspection results. What an argument is when nobody gives it, and what a server takes for a list or an
id, is worked out here as its executor would. What a field does is told by its name alone, and meant to be corrected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import (
    GraphQLArgument,
    GraphQLDirective,
    GraphQLError,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_client_schema,
    build_schema,
    is_enum_type,
    is_scalar_type,
    specified_directives,
)
from graphql.language import DirectiveLocation, ListValueNode, ObjectValueNode, ValueNode

from connectors.apis import bodies
from connectors.apis.bodies import Document, Json
from connectors.apis.entries import attribute
from connectors.apis.graphql.selecting import Grammar, Root, scalar
from policy.operation import Field, FieldType, Operation, OperationClass, Place, Tier

QUERY, MUTATION = "query", "mutation"
ARGUMENTS = "arguments"
"""The key under which a field's arguments stand in what is read."""
INTROSPECTION, SEVERAL = "introspection", "several"
_TYPES: Mapping[str, FieldType] = {
    "Int": FieldType.LONG,
    "Float": FieldType.DECIMAL,
    "Boolean": FieldType.BOOL,
}
"""Other scalars are read as texts."""
_PLAIN = frozenset({"String", "ID", "Int", "Boolean"})
_META = (
    ("graphql_operation", "name", FieldType.TEXT),
    ("graphql_depth", "depth", FieldType.LONG),
    ("graphql_fields", "fields", FieldType.TEXTS),
    ("graphql_width", "width", FieldType.LONG),
)
ABOUT = "operation"
"""The key under which stands what is known of the document."""
_DESTRUCTIVE = frozenset("delete remove destroy purge drop revoke cancel erase wipe truncate terminate".split())  # noqa: SIM905
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_SPREADS = frozenset({DirectiveLocation.FIELD, DirectiveLocation.FRAGMENT_SPREAD, DirectiveLocation.INLINE_FRAGMENT})
_DEEPEST_INPUT = 8


class NoSchema(ValueError):
    """The file is not a schema. Its text says why, for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What is known of an upstream's root types."""

    fields: Mapping[str, Mapping[str, GraphQLField | None]]
    """By `query` and `mutation`; None: known by its name only."""
    grammars: Mapping[str, Grammar]

    def completed(self, kind: str, root: Root) -> dict[str, Json]:
        """The arguments that the field's resolver is given: defaults filled in, ids and lists as they are meant."""
        known = self.fields[kind].get(root.name)
        if known is None:
            return dict(root.arguments)
        return _completed(known.args, root.arguments, _DEEPEST_INPUT)


def read(text: str) -> Schema:
    """The schema of a file: SDL, or the JSON that the introspection query gives. Raises NoSchema."""
    try:
        return _described(_of_json(text) if text.lstrip()[:1] == "{" else build_schema(text, assume_valid_sdl=True))
    except (GraphQLError, TypeError, ValueError, KeyError) as exc:
        said = str(exc).partition("\n")[0]
        raise NoSchema(f"is neither GraphQL's schema language nor an introspection result: {said}") from exc
    except RecursionError as exc:
        raise NoSchema("is nested too deeply") from exc


def named(queries: tuple[str, ...], mutations: tuple[str, ...]) -> Schema:
    """The schema of an upstream of which only names are known."""
    fields = {QUERY: dict.fromkeys(queries), MUTATION: dict.fromkeys(mutations)}
    return Schema(fields=fields, grammars={QUERY: Grammar(), MUTATION: Grammar()})


def operations(schema: Schema, *, upstream: str, path: str) -> tuple[Operation, ...]:
    """The closed list: a field each, introspection, and several at once."""
    fields = tuple(
        _operation(upstream, path, kind, name, field)
        for kind, known in schema.fields.items()
        for name, field in known.items()
    )
    many = tuple(_made(upstream, path, f"{kind}.{SEVERAL}", kind) for kind, known in schema.fields.items() if known)
    return (*fields, *many, _made(upstream, path, INTROSPECTION, QUERY))


def _of_json(text: str) -> GraphQLSchema:
    parsed = bodies.document(text.encode("utf-8"), json_depth=1_000)
    if not isinstance(parsed, Document) or not isinstance(parsed.root, dict):
        raise NoSchema("is not JSON")
    inner = parsed.root.get("data", parsed.root)
    # Foreign shape: graphql-core checks it, and says what is wrong.
    return build_client_schema(inner)  # type: ignore[arg-type]


def _described(schema: GraphQLSchema) -> Schema:
    roots = {QUERY: schema.query_type, MUTATION: schema.mutation_type}
    directives = frozenset(one.name for one in (*schema.directives, *specified_directives) if _is_for_documents(one))
    return Schema(
        fields={kind: dict(root.fields) for kind, root in roots.items() if root is not None},
        grammars={
            kind: Grammar(conditions=_conditions(schema, root), directives=directives)
            for kind, root in roots.items()
            if root is not None
        },
    )


def _is_for_documents(directive: GraphQLDirective) -> bool:
    return not _SPREADS.isdisjoint(directive.locations)


def _conditions(schema: GraphQLSchema, root: GraphQLObjectType) -> frozenset[str]:
    unions = (one for one in schema.type_map.values() if isinstance(one, GraphQLUnionType) and root in one.types)
    return frozenset({root.name, *(one.name for one in root.interfaces), *(one.name for one in unions)})


def _operation(upstream: str, path: str, kind: str, name: str, field: GraphQLField | None) -> Operation:
    arguments = tuple(_fields(field.args)) if field else ()
    return _made(upstream, path, f"{kind}.{name}", kind, arguments=arguments, destroys=is_destructive(name))


def _made(
    upstream: str, path: str, ident: str, kind: str, *, arguments: tuple[Field, ...] = (), destroys: bool = False
) -> Operation:
    taken = {one.name for one in arguments}
    meta = tuple(
        Field(name=f"{name}_" if name in taken else name, place=Place.BODY, path=(ABOUT, key), type=type_)
        for name, key, type_ in _META
    )
    tier, effect = (Tier.LOW, OperationClass.READ) if kind == QUERY else (Tier.MEDIUM, OperationClass.WRITE)
    if kind == MUTATION and destroys:
        tier, effect = Tier.HIGH, OperationClass.DESTRUCTIVE
    return Operation(
        name=f"{upstream}:{ident}",
        upstream=upstream,
        method="POST",
        template=f"{path} {ident}",
        tier=tier,
        classes=frozenset({effect}),
        fields=(*arguments, *meta),
        summary=f"GraphQL {ident}" if not ident.endswith(SEVERAL) else f"GraphQL {kind} of several: {{graphql_fields}}",
    )


def is_destructive(name: str) -> bool:
    """Whether a word of the name says so: `deleteIssue`, `productDelete`, `delete_users`."""
    return any(word.lower() in _DESTRUCTIVE for word in _WORDS.findall(name))


def _fields(arguments: Mapping[str, GraphQLArgument]) -> Iterator[Field]:
    """The typed input: scalars, lists of texts, and those of input objects, one level down."""
    taken: set[str] = set()
    for path, given in _paths(arguments):
        kind = _field_type(given)
        if kind is None:
            continue
        name = attribute("_".join(path))
        while name in taken:
            name += "_"
        taken.add(name)
        yield Field(
            name=name,
            place=Place.BODY,
            path=(ARGUMENTS, *path),
            type=kind,
            required=len(path) == 1 and given.default is None and _is_always_readable(given.type),
        )


def _paths(
    arguments: Mapping[str, GraphQLArgument],
) -> Iterator[tuple[tuple[str, ...], GraphQLArgument | GraphQLInputField]]:
    for name, one in arguments.items():
        inner = _bare(one.type)
        if isinstance(inner, GraphQLInputObjectType):
            yield from (((name, below), field) for below, field in inner.fields.items())
        else:
            yield (name,), one


def _field_type(given: GraphQLArgument | GraphQLInputField) -> FieldType | None:
    kind = _bare(given.type)
    if isinstance(kind, GraphQLList):
        inner = _bare(kind.of_type)
        return FieldType.TEXTS if _is_text(inner) else None
    if not (is_scalar_type(kind) or is_enum_type(kind)):
        return None
    return _TYPES.get(kind.name, FieldType.TEXT)


def _is_always_readable(kind: object) -> bool:
    """Whether an argument has to be there, and is then of its type. A number may have too many digits to be read."""
    inner = _bare(kind)
    plain = is_enum_type(inner) or (is_scalar_type(inner) and inner.name in _PLAIN)
    return isinstance(kind, GraphQLNonNull) and plain


def _is_text(kind: object) -> bool:
    return is_enum_type(kind) or (is_scalar_type(kind) and kind.name not in _TYPES)


def _bare(kind: object) -> object:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _completed(
    known: Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField], given: Mapping[str, Json], depth: int
) -> dict[str, Json]:
    whole = dict(given)
    for name, one in known.items():
        if name not in whole and one.default is not None:
            literal = one.default.literal
            whole[name] = _literal(literal) if literal is not None else one.default.value
        if name in whole:
            whole[name] = _as_meant(whole[name], one.type, depth)
    return whole


def _as_meant(value: Json, kind: object, depth: int) -> Json:
    """The value after input coercion (section 3), as far as texts, lists and objects are concerned."""
    kind = _bare(kind)
    if value is None or depth == 0:
        return value
    if isinstance(kind, GraphQLList):
        items = value if isinstance(value, list) else [value]
        return [_as_meant(item, kind.of_type, depth - 1) for item in items]
    if isinstance(kind, GraphQLInputObjectType) and isinstance(value, dict):
        return {**_completed(kind.fields, value, depth - 1)}
    is_id = is_scalar_type(kind) and kind.name == "ID"
    return str(value) if is_id and isinstance(value, int) and not isinstance(value, bool) else value


def _literal(node: ValueNode) -> Json:
    if isinstance(node, ListValueNode):
        return [_literal(item) for item in node.values]
    if isinstance(node, ObjectValueNode):
        return {one.name.value: _literal(one.value) for one in node.fields}
    return scalar(node)
