"""Operations out of OpenAPI documents."""

from __future__ import annotations

import pytest

from connectors.apis.catalogue import load
from connectors.apis.errors import CatalogueRefused
from connectors.apis.openapi import Imported, operations
from policy.operation import Field, FieldType, Place
from tests.connectors.apis.examples import catalogue, published


def imported(paths: object, *, base: str | None = None, **more: object) -> Imported:
    document = {"openapi": "3.1.0", "paths": paths, **more}
    return operations(document, upstream="shop", file="shop.json", base=base)


def fields_of(described: dict[str, object], path: str = "/a", **more: object) -> dict[str, Field]:
    (one,) = imported({path: {"post": described}}, **more).operations
    return {field.name: field for field in one.fields}


def body(schema: object, media: str = "application/json", **more: object) -> dict[str, object]:
    return {"requestBody": {"content": {media: {"schema": schema}}, **more}}


@pytest.mark.parametrize(("name", "count", "least"), [("github", 1223, 1223), ("openai", 281, 182)])
def test_every_published_operation_is_imported(name, count, least):
    found = load(published(name), upstream=name)
    assert len(found.operations) == count >= least
    assert len({one.name for one in found.operations}) == count
    for one in found.operations:
        names = [field.name for field in one.fields]
        assert len(set(names)) == len(names)
        assert all(name.isidentifier() for name in names)


def test_operations_that_take_the_same_calls_are_listed():
    notes = load(published("openai"), upstream="openai").notes
    assert len(notes) == 7
    assert all("beta" in note and "is dropped" in note for note in notes)


def test_known_operations_come_out_as_they_should():
    known = {one.name: one for one in load(published("github"), upstream="github").operations}
    create = known["github:issues/create"]
    kinds = {field.name: (field.place, field.type, field.required) for field in create.fields}
    assert kinds["owner"] == (Place.PATH, FieldType.TEXT, True)
    assert kinds["body"] == (Place.BODY, FieldType.TEXT, False)
    assert kinds["assignees"] == (Place.BODY, FieldType.TEXTS, False)
    assert "labels" not in kinds  # texts or objects: no single type
    assert create.summary == "Create an issue ({method} {path})"
    delete = known["github:repos/delete"]
    assert (delete.tier, delete.classes) == ("high", {"destructive"})
    chat = {one.name: one for one in load(published("openai"), upstream="openai").operations}[
        "openai:createChatCompletion"
    ]
    assert chat.template == "/v1/chat/completions"
    assert {"model", "stream", "max_completion_tokens"} <= {field.name for field in chat.fields}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, FieldType.TEXT),
        ({"type": "integer"}, FieldType.LONG),
        ({"type": "number"}, FieldType.DECIMAL),
        ({"type": "boolean"}, FieldType.BOOL),
        ({"type": ["string", "null"]}, FieldType.TEXT),
        ({"enum": ["a", None]}, FieldType.TEXT),
        ({"const": 3}, FieldType.LONG),
        ({"type": "array", "items": {"enum": ["a"]}}, FieldType.TEXTS),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, FieldType.TEXT),
        ({"oneOf": [{"type": "string"}, {"enum": ["a"]}]}, FieldType.TEXT),
        ({"allOf": [{"$ref": "#/components/schemas/S"}, {"description": "x"}]}, FieldType.TEXT),
        ({"$ref": "#/components/schemas/a~1b%20c"}, FieldType.LONG),
        ({"type": "string", "format": "binary"}, None),
        ({"type": "string", "readOnly": True}, None),
        ({"type": ["string", "integer"]}, None),
        ({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, None),
        ({"anyOf": [{"type": "string"}, {}]}, None),
        ({"enum": ["a", 1]}, None),
        ({"type": "array", "items": {"type": "integer"}}, None),
        ({"type": "object"}, None),
        ({}, None),
        ({"$ref": "#/components/schemas/Loop"}, None),
        ({"$ref": "#/components/schemas/Round"}, None),
    ],
)
def test_a_schema_becomes_a_type_or_no_field(schema, kind):
    schemas = {
        "S": {"type": "string"},
        "a/b c": {"type": "integer"},
        "Loop": {"$ref": "#/components/schemas/Loop"},
        "Round": {"anyOf": [{"$ref": "#/components/schemas/Round"}, {"$ref": "#/components/schemas/Round"}]},
    }
    found = fields_of(body({"properties": {"x": schema}}), components={"schemas": schemas})
    assert (found["x"].type if "x" in found else None) is kind


def test_properties_are_found_through_combinations_and_required_only_where_all_agree():
    schema = {
        "allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}],
        "oneOf": [{"properties": {"b": {"type": "string"}}, "required": ["b"]}],
        "properties": {"c": {"type": "string"}},
        "required": ["c"],
    }
    found = fields_of(body(schema, required=True))
    assert {name: field.required for name, field in found.items()} == {"a": True, "b": False, "c": True}
    assert not any(field.required for field in fields_of(body(schema)).values())


@pytest.mark.parametrize(
    ("media", "known"),
    [
        ("application/x-www-form-urlencoded", True),
        ("multipart/form-data", True),
        ("application/merge-patch+json", True),
        ("application/json; charset=utf-8", True),
        ("application/xml", False),
    ],
)
def test_bodies_are_read_in_the_types_that_can_be(media, known):
    assert bool(fields_of(body({"properties": {"a": {"type": "string"}}}, media))) is known


def test_parameters_of_the_path_item_are_shared_and_replaced():
    item = {
        "parameters": [
            {"in": "path", "name": "id", "schema": {"type": "integer"}},
            {"in": "query", "name": "q", "schema": {"type": "string"}},
            {"in": "header", "name": "x", "schema": {"type": "string"}},
        ],
        "get": {"parameters": [{"in": "query", "name": "q", "required": True, "schema": {"type": "boolean"}}]},
    }
    (one,) = imported({"/a/{id}": item}).operations
    assert [(f.name, f.place, f.type, f.required) for f in one.fields] == [
        ("id", Place.PATH, FieldType.LONG, True),
        ("q", Place.QUERY, FieldType.BOOL, True),
    ]


def test_a_list_in_one_query_value_is_a_text_and_a_repeated_one_a_set():
    texts = {"type": "array", "items": {"type": "string"}}
    found = fields_of(
        {
            "parameters": [
                {"in": "query", "name": "a", "schema": texts},
                {"in": "query", "name": "b[]", "schema": texts},
                {"in": "query", "name": "c", "schema": texts, "explode": False},
                {"in": "query", "name": "d", "schema": texts, "style": "pipeDelimited"},
            ]
        }
    )
    assert {name: (f.type, f.path) for name, f in found.items()} == {
        "a": (FieldType.TEXTS, ("a",)),
        "b": (FieldType.TEXTS, ("b",)),
        "c": (FieldType.TEXT, ("c",)),
        "d": (FieldType.TEXT, ("d",)),
    }


def test_names_become_cedar_attributes_and_never_collide():
    described = {
        "parameters": [
            {"in": "query", "name": name, "schema": {"type": "string"}} for name in ("id", "in", "x-y", "x.y")
        ],
        **body({"properties": {name: {"type": "string"} for name in ("id", "x_y", "2fa", "größe")}}),
    }
    assert {(f.name, f.place.value, f.path[0]) for f in fields_of(described, "/a/{id}").values()} == {
        ("id", "path", "id"),
        ("query_id", "query", "id"),
        ("in_", "query", "in"),
        ("x_y", "query", "x-y"),
        ("query_x_y", "query", "x.y"),
        ("body_id", "body", "id"),
        ("body_x_y", "body", "x_y"),
        ("_2fa", "body", "2fa"),
        ("gr__e", "body", "größe"),
    }


def test_ids_are_made_safe_and_unique():
    found = imported(
        {
            "/a": {"get": {"operationId": "list a's"}, "post": {"operationId": "list a's"}},
            "/b/{c}": {"get": {}},
            "/": {"get": {}},
            "/u": {"get": {"operationId": "unknown"}},
        }
    )
    names = [one.name for one in found.operations]
    assert names == ["shop:list-a-s", "shop:list-a-s-2", "shop:get/b/c", "shop:get", "shop:unknown-2"]


def test_the_path_of_the_server_goes_before_every_template():
    servers = [{"url": "https://api.example.com/v1/"}]
    assert imported({"/a": {"get": {}}}, servers=servers).operations[0].template == "/v1/a"
    assert imported({"/a": {"get": {}}}, servers=servers, base="/v2").operations[0].template == "/v2/a"
    assert imported({"/a": {"get": {}}}, servers=servers, base="").operations[0].template == "/a"
    assert imported({"/a": {"get": {}}}, servers=[{"url": "https://x/{v}"}]).operations[0].template == "/a"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("https://evil.example/x.json", "leaves the document"),
        ("other.yaml#/x", "leaves the document"),
        ("file:///etc/passwd", "leaves the document"),
        ("#/components/schemas/Nowhere", "leads nowhere"),
    ],
)
def test_a_reference_that_leaves_the_document_is_refused(reference, why):
    with pytest.raises(CatalogueRefused) as refused:
        fields_of(body({"properties": {"x": {"$ref": reference}}}))
    assert f'"{reference}" {why}' in str(refused.value)
    assert refused.value.problems[0].where == "paths./a.post"


@pytest.mark.parametrize("version", [None, "2.0", "4.0.0", 3.1])
def test_another_version_is_refused(version):
    with pytest.raises(CatalogueRefused):
        operations({"openapi": version, "paths": {}}, upstream="shop", file="x", base=None)


def test_swagger_two_is_refused_in_words(tmp_path):
    with pytest.raises(CatalogueRefused, match="convert older documents"):
        catalogue(tmp_path, "swagger: '2.0'\npaths: {}")


def test_schemas_nested_without_end_are_cut_off():
    schema: dict[str, object] = {"properties": {"x": {"type": "string"}}}
    for _ in range(5000):
        schema = {"allOf": [schema]}
    assert fields_of(body(schema)) == {}
