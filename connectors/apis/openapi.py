"""Operations out of an OpenAPI 3.0 or 3.1 document, as published, with careful defaults.

Reads paths, parameters and request bodies; follows local references only, and no deeper than it must. What cannot be a
typed field (objects, unions, files) is left out of the input, never guessed. Tiers and classes come from the method;
an overlay says better.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit

from connectors.apis import entries, matcher
from connectors.apis.documents import Tree
from connectors.apis.entries import Faults
from connectors.apis.errors import CatalogueRefused
from policy.operation import Field, FieldType, Operation, Place

_METHODS = tuple(sorted(entries.METHODS))
_DEEPEST = 16
"""References and combinations followed below one schema; beyond it a property is not a field."""
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_SCALARS = {
    "string": FieldType.TEXT,
    "integer": FieldType.LONG,
    "number": FieldType.DECIMAL,
    "boolean": FieldType.BOOL,
}
_TYPE_OF_VALUE = {str: "string", bool: "boolean", int: "integer"}
_LONGEST_SUMMARY = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A document's operations, and what was left out of them."""

    operations: tuple[Operation, ...]
    notes: tuple[str, ...]


def operations(document: dict[str, Tree], *, upstream: str, file: str, base: str | None) -> Imported:
    """Every operation of the document. `base` replaces the path of its first server. Raises CatalogueRefused."""
    faults = Faults(file=file)
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        faults.add("openapi", "must be 3.0 or 3.1; convert older documents first")
        raise CatalogueRefused(tuple(faults.found))
    source = _Source(root=document, faults=faults)
    found = _all(source, upstream=upstream, base=_server_path(document) if base is None else base)
    if faults.found:
        raise CatalogueRefused(tuple(faults.found))
    conflicts = matcher.Matcher(found).conflicts
    dropped = {conflict.dropped for conflict in conflicts}
    return Imported(
        operations=tuple(one for one in found if one.name not in dropped),
        notes=tuple(str(conflict) for conflict in conflicts),
    )


def below(base: str, operation: Operation) -> Operation:
    """The operation with a path put before its template."""
    return replace(operation, template=base + operation.template)


def identifier(wanted: str, *, method: str, template: str) -> str:
    """A Cedar-safe id: what was wanted with other characters as dashes, or one made of the call."""
    if not wanted:
        wanted = f"{method.lower()}{re.sub(r'[{}]', '', template)}".rstrip("/")
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", wanted).strip("-") or "operation"


@dataclass(slots=True, kw_only=True)
class _Source:
    """The document, its references and the faults found on the way."""

    root: dict[str, Tree]
    faults: Faults
    kept: dict[str, Tree] = field(default_factory=dict)

    def resolved(self, node: Tree, where: str) -> dict[str, Tree]:
        """The mapping that a node is or refers to; empty if it is none."""
        for _ in range(_DEEPEST):
            if not isinstance(node, dict):
                return {}
            reference = node.get("$ref")
            if not isinstance(reference, str):
                return node
            node = self._target(reference, where)
        # A reference that leads in a circle describes nothing.
        return {}

    def _target(self, reference: str, where: str) -> Tree:
        if reference in self.kept:
            return self.kept[reference]
        if not reference.startswith("#/"):
            # SSRF and drift: what a name means must not depend on another host or file.
            self.faults.add(where, f'reference "{reference}" leaves the document; bundle it into one file')
            return None
        node: Tree = self.root
        for part in reference[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            node = node.get(key) if isinstance(node, dict) else None
        if node is None:
            self.faults.add(where, f'reference "{reference}" leads nowhere')
        self.kept[reference] = node
        return node


def _server_path(document: dict[str, Tree]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers else None
    url = first.get("url") if isinstance(first, dict) else None
    path = urlsplit(url).path.rstrip("/") if isinstance(url, str) else ""
    return "" if "{" in path or not path.startswith("/") else path


def _all(source: _Source, *, upstream: str, base: str) -> list[Operation]:
    paths = source.resolved(source.root.get("paths"), "paths")
    found: list[Operation] = []
    taken: set[str] = {"unknown"}
    for template, item in paths.items():
        where = f"paths.{template}"
        # Some documents tell variants apart by a query in the key; a name is given by the path alone.
        path = base + template.partition("?")[0].partition("#")[0]
        wrong = matcher.fault(path)
        if wrong:
            source.faults.add(where, wrong)
            continue
        shared = source.resolved(item, where)
        for method in _METHODS:
            if isinstance(shared.get(method.lower()), dict):
                one = _operation(source, shared, method=method, path=path)
                ident = _unique(one.name, taken)
                found.append(replace(one, name=f"{upstream}:{ident}", upstream=upstream))
    return found


def _unique(ident: str, taken: set[str]) -> str:
    made, number = ident, 2
    while made in taken:
        made, number = f"{ident}-{number}", number + 1
    taken.add(made)
    return made


def _operation(source: _Source, shared: dict[str, Tree], *, method: str, path: str) -> Operation:
    where = f"paths.{path}.{method.lower()}"
    body = shared[method.lower()]
    described = body if isinstance(body, dict) else {}
    wanted = described.get("operationId")
    ident = identifier(wanted if isinstance(wanted, str) else "", method=method, template=path)
    parameters = _parameters(source, shared, described, where)
    candidates = [*_from_path(source, parameters, path), *_from_query(source, parameters, where)]
    fields = _named([*candidates, *_from_body(source, described, where)])
    return replace(
        entries.fresh("", ident, method=method, template=path),
        name=ident,
        fields=fields,
        summary=_summary(described, fields),
    )


def _summary(described: dict[str, Tree], fields: tuple[Field, ...]) -> str:
    text = described.get("summary")
    words = " ".join(re.sub(r"[{}]", "", text).split()).rstrip(".")[:_LONGEST_SUMMARY] if isinstance(text, str) else ""
    hidden = {"method", "path"} & {one.name for one in fields}
    return words if not words or hidden else f"{words} ({{method}} {{path}})"


def _parameters(
    source: _Source, shared: dict[str, Tree], described: dict[str, Tree], where: str
) -> dict[tuple[str, str], dict[str, Tree]]:
    """Parameters by place and name; the operation's own replace the path item's."""
    found: dict[tuple[str, str], dict[str, Tree]] = {}
    for listed in (shared.get("parameters"), described.get("parameters")):
        for item in listed if isinstance(listed, list) else ():
            one = source.resolved(item, where)
            name, place = one.get("name"), one.get("in")
            if isinstance(name, str) and isinstance(place, str):
                found[place, name] = one
    return found


def _from_path(source: _Source, parameters: dict[tuple[str, str], dict[str, Tree]], path: str) -> Iterator[Field]:
    for name in matcher.parameters(path):
        schema = parameters.get(("path", name), {}).get("schema")
        kind = _type(source, schema, path, _DEEPEST)
        scalar = kind if kind and kind is not FieldType.TEXTS else FieldType.TEXT
        yield Field(name=name, place=Place.PATH, path=(name,), type=scalar, required=True)


def _from_query(source: _Source, parameters: dict[tuple[str, str], dict[str, Tree]], where: str) -> Iterator[Field]:
    for (place, name), one in parameters.items():
        kind = _type(source, one.get("schema"), where, _DEEPEST) if place == "query" else None
        if kind is FieldType.TEXTS and (one.get("explode") is False or one.get("style", "form") != "form"):
            # `a,b` in one value: a set would hide the members from a rule, a text shows them as they are.
            kind = FieldType.TEXT
        if kind is not None:
            bare = name.removesuffix("[]") if kind is FieldType.TEXTS else name
            yield Field(name=bare, place=Place.QUERY, path=(bare,), type=kind, required=one.get("required") is True)


def _from_body(source: _Source, described: dict[str, Tree], where: str) -> Iterator[Field]:
    body = source.resolved(described.get("requestBody"), where)
    content = source.resolved(body.get("content"), where)
    seen: set[str] = set()
    for media, one in content.items():
        name = media.partition(";")[0].strip().lower()
        if name != "application/json" and not name.endswith("+json") and name not in _FORMS:
            continue
        schema = source.resolved(one, where).get("schema")
        properties, required = _properties(source, schema, where, _DEEPEST)
        for key, below_it in properties.items():
            kind = _type(source, below_it, where, _DEEPEST)
            if kind is not None and key not in seen:
                seen.add(key)
                must = body.get("required") is True and key in required
                yield Field(name=key, place=Place.BODY, path=(key,), type=kind, required=must)


def _named(candidates: list[Field]) -> tuple[Field, ...]:
    """The fields under Cedar names. Path beats query beats body; who comes second is prefixed with its place."""
    found: dict[str, Field] = {}
    for one in candidates:
        name = entries.attribute(one.name)
        if name in found:
            name = _unique_attribute(f"{one.place.value}_{name}", found)
        found[name] = replace(one, name=name)
    return tuple(found.values())


def _unique_attribute(name: str, found: dict[str, Field]) -> str:
    made, number = name, 2
    while made in found:
        made, number = f"{name}_{number}", number + 1
    return made


def _properties(source: _Source, node: Tree, where: str, left: int) -> tuple[dict[str, Tree], set[str]]:
    """An object schema's properties, through its combinations; required only where every reading requires it."""
    schema = source.resolved(node, where)
    if not schema or left == 0:
        return {}, set()
    own = schema.get("properties")
    found: dict[str, Tree] = dict(own) if isinstance(own, dict) else {}
    listed = schema.get("required")
    required = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    for word in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(word)
        for branch in branches if isinstance(branches, list) else ():
            more, needed = _properties(source, branch, where, left - 1)
            found = {**more, **found}
            required |= needed if word == "allOf" else set()
    return found, required


def _type(source: _Source, node: Tree, where: str, left: int) -> FieldType | None:
    """The Cedar type that every value of the schema has; None if there is no such type."""
    schema = source.resolved(node, where)
    if not schema or left == 0 or schema.get("readOnly") is True:
        return None
    word = _declared(schema)
    if word == "array":
        items = _type(source, schema.get("items"), where, left - 1)
        return FieldType.TEXTS if items is FieldType.TEXT else None
    if word is not None:
        return None if schema.get("format") == "binary" else _SCALARS.get(word)
    kinds = {
        _type(source, one, where, left - 1)
        for key in ("anyOf", "oneOf")
        for one in _list(schema.get(key))
        if not _is_null(source, one, where)
    }
    # A part of an `allOf` that only describes says nothing of the type.
    kinds |= {_type(source, one, where, left - 1) for one in _list(schema.get("allOf"))} - {None}
    return kinds.pop() if len(kinds) == 1 else None


def _declared(schema: dict[str, Tree]) -> str | None:
    word = schema.get("type")
    if isinstance(word, list):
        words = [one for one in word if isinstance(one, str) and one != "null"]
        return words[0] if len(words) == 1 else "union" if words else None
    if isinstance(word, str):
        return word
    values = [*_list(schema.get("enum")), *([schema["const"]] if "const" in schema else [])]
    kinds = {_TYPE_OF_VALUE.get(type(value), "union") for value in values if value is not None}
    return kinds.pop() if len(kinds) == 1 else "union" if kinds else None


def _list(node: Tree) -> list[Tree]:
    return node if isinstance(node, list) else []


def _is_null(source: _Source, node: Tree, where: str) -> bool:
    return source.resolved(node, where).get("type") == "null"
