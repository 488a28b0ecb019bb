"""What the tests of naming share: small catalogues, calls, and where published descriptions are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.apis.catalogue import Catalogue, load
from connectors.apis.naming import BadBody, Named, Namer
from policy.call import Target
from policy.operation import Field, FieldType, Operation, Place

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_PUBLISHED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "openapi"


def published(name: str) -> Path:
    """A published OpenAPI document, or a skip that says why."""
    path = _PUBLISHED / f"{name}.json.gz"
    if not path.exists():
        pytest.skip(f"the published document {path.name} is not here")
    return path


def catalogue(directory: Path, text: str, *, upstream: str = "shop") -> Catalogue:
    """The catalogue that a text makes."""
    file = directory / "catalogue.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, upstream=upstream)


def operation(call: str, *fields: Field, name: str | None = None) -> Operation:
    """An operation of the shop."""
    method, _, template = call.partition(" ")
    return Operation(name=name or f"shop:{call}", upstream="shop", method=method, template=template, fields=fields)


def body_field(name: str, kind: FieldType = FieldType.TEXT, **more: object) -> Field:
    """A field of the body, by default under its own name."""
    return Field(name=name, place=Place.BODY, path=more.pop("path", (name,)), type=kind, **more)


def query_field(name: str, kind: FieldType = FieldType.TEXT) -> Field:
    """A field of the query."""
    return Field(name=name, place=Place.QUERY, path=(name,), type=kind)


def namer(*operations: Operation, scan_bytes: int = 262_144, json_depth: int = 64) -> Namer:
    """A namer of the shop's operations."""
    return Namer(Catalogue(upstream="shop", operations=operations), scan_bytes=scan_bytes, json_depth=json_depth)


def named(found: Named | BadBody) -> Named:
    """The naming, where the body is known to be good."""
    assert isinstance(found, Named)
    return found


def post(path: str, query: str = "") -> Target:
    """A POST."""
    return Target(method="POST", path=path, query=query)
