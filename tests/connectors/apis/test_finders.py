"""A connector's own code names calls; everything after the name is read as for any other operation."""

from __future__ import annotations

from connectors.apis.bodies import Document
from connectors.apis.catalogue import Catalogue
from connectors.apis.finders import Asked, BadBody, Found
from connectors.apis.naming import Named, Namer
from policy.call import Target
from policy.operation import Field, FieldType, Operation, Place

RUN = Operation(
    name="shop:run",
    upstream="shop",
    method="POST",
    template="/rpc",
    fields=(
        Field(name="verb", place=Place.PATH, path=("verb",), type=FieldType.TEXT, required=True),
        Field(name="amount", place=Place.BODY, path=("amount",), type=FieldType.LONG),
    ),
)
JSON = ("content-type", "application/json")


def by_header(asked: Asked) -> Found | BadBody | None:
    said = dict(asked.headers).get("x-target", "")
    if said == "bad":
        return BadBody(detail="no")
    arguments = asked.body.root.get("arguments") if isinstance(asked.body, Document) else None
    return Found(name=f"shop:{said}", captured=(("verb", "a%20b"),), body=Document(root=arguments)) if said else None


NAMER = Namer(Catalogue(upstream="shop", operations=(RUN,), find=by_header), scan_bytes=9999, json_depth=9)


def name(said: str, body: bytes = b"{}") -> Named | BadBody:
    return NAMER.name_call(Target(method="POST", path="/rpc"), (JSON, ("x-target", said)), body)


def test_the_finder_names_the_call_by_its_headers_and_says_what_the_fields_are_read_from():
    named = name("run", b'{"arguments": {"amount": 5}}')
    assert isinstance(named, Named)
    assert named.operation is RUN
    assert named.input.values == {"verb": "a b", "amount": 5}


def test_what_the_finder_does_not_know_or_the_catalogue_left_out_is_the_unknown_operation():
    assert [name(said).operation.name for said in ("", "walk")] == ["shop:unknown", "shop:unknown"]


def test_the_whole_body_is_scanned_whatever_the_fields_are_read_from():
    named = name("run", b'{"note": "ann@example.com", "arguments": {}}')
    assert "email" in named.sensitivity.labels


def test_a_body_that_the_finder_or_the_reader_refuses_is_bad():
    assert name("bad") == BadBody(detail="no")
    assert isinstance(name("run", b"{"), BadBody)


def test_templates_name_nothing_where_there_is_a_finder():
    assert name("").operation.name == "shop:unknown"
