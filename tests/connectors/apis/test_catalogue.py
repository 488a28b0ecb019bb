"""Catalogue files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from connectors.apis import entries
from connectors.apis.catalogue import empty, load, shipped
from connectors.apis.detectors import LABELS, UNSCANNED
from connectors.apis.errors import CatalogueRefused
from connectors.apis.writing import written
from policy.operation import Field, FieldType, Money, Operation, OperationClass, Place, Tier
from tests.connectors.apis.examples import catalogue, published

REFUND = """
operations:
  refunds.create:
    call: POST /v1/refunds/{charge}
    name: refund.make
    tier: high
    class: [write, money]
    labels: pii
    fields:
      amount: {in: body, type: long, required: true}
      number: {in: body, path: card.number, labels: [pci]}
      code: {in: body, path: [a.b]}
      tags: {in: query, type: texts}
      charge: {ignores_case: true}
    resource: {kind: charge, field: charge, scope: number}
    owner: number
    money: {amount: amount, currency: eur}
    reversible: false
    idempotency_header: Idempotency-Key
    summary: "Refund {amount:money} of {charge} by {method} {path}"
"""


def test_an_entry_becomes_an_operation(tmp_path):
    path, query, body = Place.PATH, Place.QUERY, Place.BODY
    text = FieldType.TEXT
    assert catalogue(tmp_path, REFUND).operations == (
        Operation(
            name="shop:refund.make",
            upstream="shop",
            method="POST",
            template="/v1/refunds/{charge}",
            tier=Tier.HIGH,
            classes=frozenset({OperationClass.WRITE, OperationClass.MONEY}),
            labels=frozenset({"pii"}),
            fields=(
                Field(name="charge", place=path, path=("charge",), type=text, required=True, ignores_case=True),
                Field(name="amount", place=body, path=("amount",), type=FieldType.LONG, required=True),
                Field(name="number", place=body, path=("card", "number"), type=text, labels=frozenset({"pci"})),
                Field(name="code", place=body, path=("a.b",), type=text),
                Field(name="tags", place=query, path=("tags",), type=FieldType.TEXTS),
            ),
            resource_kind="charge",
            resource_field="charge",
            resource_scope=("number",),
            owner_field="number",
            money=Money(amount="amount", currency="eur"),
            reversible=False,
            idempotency_header="idempotency-key",
            summary="Refund {amount:money} of {charge} by {method} {path}",
        ),
    )


def test_labels_are_all_that_may_occur(tmp_path):
    assert catalogue(tmp_path, REFUND).labels - empty("shop").labels == {"pii", "pci"}
    assert {"email", "phone", "card", "iban", "ip", "secret", "national-id", "unscanned"} == empty("shop").labels


@pytest.mark.parametrize(
    ("method", "tier", "kind"),
    [("GET", "low", "read"), ("HEAD", "low", "read"), ("DELETE", "high", "destructive"), ("PATCH", "medium", "write")],
)
def test_the_method_gives_the_defaults(tmp_path, method, tier, kind):
    (one,) = catalogue(tmp_path, f"operations: {{a: {{call: {method} /a}}}}").operations
    assert (one.tier, one.classes) == (tier, {kind})


def test_an_entry_may_be_addressed_by_its_call(tmp_path):
    (one,) = catalogue(tmp_path, 'operations: {"GET /v1/a/{b}": {tier: high}}').operations
    assert (one.name, one.template) == ("shop:get/v1/a/b", "/v1/a/{b}")


BELOW = """
operations:
  a.get: {call: "GET /a/{id}", summary: "A {id}"}
  a.drop: {call: DELETE /a}
"""


def test_an_overlay_changes_adds_and_drops(tmp_path):
    (tmp_path / "below.yaml").write_text(BELOW)
    found = catalogue(
        tmp_path,
        """
        extends: below.yaml
        operations:
          "GET /a/{id}": {name: things.get, tier: high, fields: {id: {labels: pii}}}
          a.drop: {ignore: true}
          b: {call: GET /b}
        """,
    ).operations
    assert [(one.name, one.tier, one.summary) for one in found] == [
        ("shop:things.get", "high", "A {id}"),
        ("shop:b", "low", ""),
    ]
    assert found[0].fields[0].labels == {"pii"}
    assert found[0].fields[0].required


def test_a_base_goes_before_what_is_extended_and_entries_are_written_in_full(tmp_path):
    (tmp_path / "below.yaml").write_text(BELOW)
    text = "extends: below.yaml\nbase: /api/v3\noperations:\n  GET /api/v3/a/{id}: {tier: high}"
    found = catalogue(tmp_path, text).operations
    assert [(one.template, one.tier) for one in found] == [("/api/v3/a/{id}", "high"), ("/api/v3/a", "high")]


def test_a_shipped_catalogue_may_be_extended_or_loaded_as_it_is(tmp_path):
    found = catalogue(tmp_path, "extends: builtin:stripe\noperations: {refunds.create: {tier: low}}", upstream="pay")
    assert next(one for one in found.operations if one.name == "pay:refunds.create").tier is Tier.LOW
    assert len(load(Path("builtin:stripe"), upstream="pay").operations) == len(found.operations)


@pytest.mark.parametrize(
    ("name", "operation", "tier", "classes", "field"),
    [
        ("stripe", "refunds.create", "high", {"write", "money"}, "amount"),
        ("stripe", "payouts.create", "high", {"write", "money"}, "destination"),
        ("stripe", "customers.list", "low", {"read", "export"}, "email"),
        ("openai", "chat.completions.create", "low", {"write"}, "model"),
        ("openai", "files.delete", "high", {"destructive"}, "file_id"),
        ("github", "repos.delete", "high", {"destructive"}, "repo"),
        ("github", "collaborators.add", "high", {"write", "access"}, "permission"),
        ("github", "pulls.merge", "high", {"write"}, "pull_number"),
    ],
)
def test_the_shipped_catalogues_know_the_usual_operations(name, operation, tier, classes, field):
    found = {one.name: one for one in load(Path(f"builtin:{name}"), upstream=name).operations}[f"{name}:{operation}"]
    assert (found.tier, found.classes) == (tier, classes)
    assert field in {one.name for one in found.fields}


def test_every_shipped_operation_says_what_it_does_and_to_what():
    assert {"anthropic", "generic", "github", "openai", "salesforce", "slack", "stripe"} <= {*shipped()}
    for name in shipped():
        for one in load(Path(f"builtin:{name}"), upstream=name).operations:
            assert one.summary, one.name
            assert one.resource_kind != "resource", one.name


@pytest.mark.parametrize("name", ["github", "openai"])
def test_the_shipped_calls_exist_in_the_published_description(name):
    described = {(one.method, one.template.rstrip("/")) for one in load(published(name), upstream=name).operations}
    shapes = {(method, _shape(template)) for method, template in described}
    for one in load(Path(f"builtin:{name}"), upstream=name).operations:
        assert (one.method, _shape(one.template)) in shapes, one.name


def _shape(template: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in template.split("/"))


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("operation: {}", "operation", 'did you mean "operations"'),
        ("operations: []", "operations", "must be a mapping"),
        ("operations: {a: {call: GET /a, teir: low}}", "operations.a.teir", 'did you mean "tier"'),
        ("operations: {a: {call: GET /a, tier: hihg}}", "operations.a.tier", 'did you mean "high"'),
        ("operations: {a: {call: GET /a, class: [read, monye]}}", "operations.a.class", 'did you mean "money"'),
        ("operations: {a: {call: GET /a, labels: P II}}", "operations.a.labels", "is not a label"),
        ("operations: {a: {tier: low}}", "operations.a", "no `call`"),
        ("operations: {a: {call: FETCH /a}}", "operations.a", "must be a method and a path"),
        ("operations: {a: {call: 'GET /{a'}}", "operations.a", "brace"),
        ("operations: {a: {call: GET /a, name: 'a b'}}", "operations.a.name", "is not a name"),
        ("operations: {unknown: {call: GET /a}}", "operations.unknown", "is not a name"),
        ("operations: {a: {call: GET /a, name: unknown}}", "operations.a.name", "is not a name"),
        ("operations: {a: {call: GET /a}, b: {call: GET /b, name: a}}", "operations", "two operations are called"),
        ("operations: {a: {call: 'GET /{a}'}, b: {call: 'GET /{b}'}}", "operations", "takes the same calls"),
        ("operations: {a: {call: GET /a, fields: {x: {type: text}}}}", "operations.a.fields.x.in", "must say where"),
        ("operations: {a: {call: GET /a, fields: {x: {in: path}}}}", "operations.a.fields.x", "no parameter {x}"),
        ("operations: {a: {call: GET /a, fields: {in: {in: query}}}}", "operations.a.fields.in", 'call it "in_"'),
        ("operations: {a: {call: GET /a, fields: {x-y: {in: query}}}}", "operations.a.fields.x-y", 'call it "x_y"'),
        ("operations: {a: {call: GET /a, fields: {x: {in: query, typ: long}}}}", "operations.a.fields.x.typ", "type"),
        ("operations: {a: {call: GET /a, fields: {x: {in: query, type: int}}}}", "operations.a.fields.x.type", "int"),
        ("operations: {a: {call: GET /a, resource: {field: x}}}", "operations.a.resource", 'no field "x"'),
        ("operations: {a: {call: GET /a, owner: x}}", "operations.a.owner", 'no field "x"'),
        ("operations: {a: {call: GET /a, money: {currency: eur}}}", "operations.a.money.amount", "must name the field"),
        ("operations: {a: {call: GET /a, money: {amount: x}}}", "operations.a.money", 'no field "x"'),
        (
            "operations: {a: {call: GET /a, fields: {x: {in: query}}, money: {amount: x}}}",
            "operations.a.money.amount",
            "must be of type long",
        ),
        ("operations: {a: {call: 'GET /{id}', summary: 'Get {idd}'}}", "operations.a.summary", 'did you mean "id"'),
        ("operations: {a: {call: GET /a, reversible: 'no way'}}", "operations.a.reversible", "true or false"),
        ("operations: {a: {call: PUT /a, body: opake}}", "operations.a.body", 'did you mean "opaque"'),
        (
            "operations: {a: {call: PUT /a, body: opaque, fields: {x: {in: body}}}}",
            "operations.a.body",
            "is opaque, so it has no fields",
        ),
        ("base: /v1\noperations: {}", "base", "goes with `extends`"),
        ("extends: builtin:strip", "", 'did you mean "stripe"'),
        ("extends: builtin:../stripe", "", "there is no such catalogue"),
        ("extends: missing.yaml", "", "cannot be read (FileNotFoundError)"),
        ("extends: catalogue.yaml", "", "on itself"),
        ("extends: builtin:stripe\nbase: v1", "base", "begins with a slash"),
        ("extends: builtin:stripe\noperations: {refunds.crate: {}}", "operations.refunds.crate", "refunds.create"),
        ("operations: {a: {call: GET /a}, a: {call: GET /b}}", "", 'key "a" stands twice'),
        ("- a", "", "must be a mapping"),
        ("a: [", "", "is not YAML"),
        ("a: &x [*x]", "", 'there is no anchor "x" above, line 1, column 8'),
        ("a: &x 1\nb: &x 2", "", "an anchor stands twice, line 2"),
        ("a: 1\n---\nb: 2", "", "another document begins, line 2"),
        ("a: " + "[" * 5000, "", "is not"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_a_hint(tmp_path, text, where, message):
    with pytest.raises(CatalogueRefused) as refused:
        catalogue(tmp_path, text)
    assert [one.where for one in refused.value.problems] == [where]
    assert message in refused.value.problems[0].message
    assert str(refused.value.problems[0]).startswith(refused.value.problems[0].file)


def test_every_fault_of_a_file_is_told_at_once(tmp_path):
    with pytest.raises(CatalogueRefused) as refused:
        catalogue(tmp_path, "operations: {a: {call: GET /a, teir: low}, b: {call: GET /b, labels: 7}}\nmore: 1")
    assert len(refused.value.problems) == 3


def test_yaml_aliases_do_not_unfold(tmp_path):
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40))]
    with pytest.raises(CatalogueRefused) as refused:
        catalogue(tmp_path, "\n".join(lines))
    assert len(refused.value.problems) == 40


def test_words_that_yaml_would_read_as_something_else_stay_words(tmp_path):
    found = catalogue(tmp_path, "operations: {on: {call: GET /on, summary: 'x'}, 404: {call: GET /404}}").operations
    assert [one.name for one in found] == ["shop:on", "shop:404"]


def test_a_file_may_be_gzipped_json(tmp_path):
    file = tmp_path / "shop.json.gz"
    file.write_bytes(gzip.compress(b'{"operations":{"a":{"call":"GET /a"}}}'))
    assert load(file, upstream="shop").operations[0].name == "shop:a"


def test_a_broken_gzip_is_refused(tmp_path):
    file = tmp_path / "shop.json.gz"
    file.write_bytes(gzip.compress(b"{}" * 999)[:-12])
    with pytest.raises(CatalogueRefused):
        load(file, upstream="shop")


@pytest.mark.parametrize("name", ["github", "openai"])
def test_what_is_written_is_read_back_the_same(tmp_path, name):
    operations = load(published(name), upstream=name).operations
    assert catalogue(tmp_path, written(operations), upstream=name).operations == operations


@pytest.mark.parametrize("name", [f"builtin:{name}" for name in shipped()])
def test_shipped_catalogues_survive_writing_and_reading(tmp_path, name):
    operations = load(Path(name), upstream="shop").operations
    assert catalogue(tmp_path, written(operations)).operations == operations


def test_a_hand_made_entry_survives_writing_and_reading(tmp_path):
    operations = catalogue(tmp_path, REFUND).operations
    assert catalogue(tmp_path, written(operations)).operations == operations


def test_an_opaque_operation_is_labelled_and_survives_writing_and_reading(tmp_path):
    found = catalogue(tmp_path, "operations: {a: {call: PUT /a, body: opaque, labels: pii}}")
    assert [(one.opaque, one.labels) for one in found.operations] == [(True, {"opaque", "pii"})]
    assert "opaque" in found.labels
    assert catalogue(tmp_path, written(found.operations)).operations == found.operations


def test_the_example_of_the_manual_is_a_catalogue(tmp_path):
    manual = (Path(__file__).resolve().parents[3] / "docs" / "catalogues.md").read_text(encoding="utf-8")
    example = next(block for block in manual.split("```yaml\n")[1:] if block.startswith("extends")).partition("```")[0]
    found = {one.name: one for one in catalogue(tmp_path, example, upstream="stripe").operations}
    assert found["stripe:loyalty.grant"].money == Money(amount="points", currency="eur")
    assert found["stripe:refunds.create"].labels == {"pii"}
    assert "stripe:charges.search" not in found


def test_the_manual_names_every_key_and_word():
    manual = (Path(__file__).resolve().parents[3] / "docs" / "catalogues.md").read_text(encoding="utf-8")
    words = {*entries.KEYS, *entries.FIELD_KEYS, *entries.TYPES, *OperationClass, *LABELS, UNSCANNED}
    assert {word for word in words if f"`{word}`" not in manual} == set()
