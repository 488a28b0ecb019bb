"""An issue tracker's schema, its namer, and what graphql-core's own executor runs of a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from graphql import GraphQLResolveInfo, build_schema, parse
from graphql.execution import execute_sync

from connectors.apis.catalogue import load
from connectors.apis.finders import BadBody
from connectors.apis.naming import Named, Namer
from policy.call import Target

FOLDER = Path(__file__).parent
SDL = (FOLDER / "tracker.graphql").read_text("utf-8")
JSON = (("content-type", "application/json"),)


def namer(catalogue: Path = FOLDER / "tracker.yaml") -> Namer:
    """Of an upstream `t`."""
    return Namer(load(catalogue, upstream="t", connector="graphql"), scan_bytes=262_144, json_depth=64)


@cache
def tracker() -> Namer:
    """The namer of the whole schema."""
    return namer()


def posted(
    query: str | None, variables: object = None, *, by: Namer | None = None, **members: object
) -> Named | BadBody:
    """How a document is named when it comes by POST."""
    said = {"query": query, "variables": variables, **members}
    return sent(json.dumps({name: value for name, value in said.items() if value is not None}).encode(), by=by)


def sent(
    body: bytes,
    *,
    method: str = "POST",
    query: str = "",
    path: str = "/graphql",
    headers: tuple[tuple[str, str], ...] = JSON,
    by: Namer | None = None,
) -> Named | BadBody:
    """How a call is named."""
    return (by or tracker()).name_call(Target(method=method, path=path, query=query), headers, body)


def operations(named: Named | BadBody) -> list[str]:
    """What it is: one operation, or each of its parts in order."""
    assert isinstance(named, Named), named
    found = [part.operation.name for part in named.parts] or [named.operation.name]
    return [name.removeprefix("t:") for name in found]


def is_refused(named: Named | BadBody) -> bool:
    """Whether nobody judges it."""
    return isinstance(named, BadBody)


def run(query: str, variables: Mapping[str, Any] | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The root fields that graphql-core executes, with the arguments that it gives their resolvers."""
    schema = build_schema(SDL)
    ran: list[tuple[str, dict[str, Any]]] = []

    def recorder(kind: str, name: str):
        def resolve(_: object, __: GraphQLResolveInfo, **arguments: Any) -> None:
            ran.append((f"{kind}.{name}", arguments))

        return resolve

    for kind, root in (("query", schema.query_type), ("mutation", schema.mutation_type)):
        for name, field in root.fields.items():
            field.resolve = recorder(kind, name)
    execute_sync(schema, parse(query), variable_values=dict(variables or {}))
    return ran
