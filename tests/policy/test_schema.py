"""The generated schema: what it knows, and which classes an operation is in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cedarpy import Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import facts, schema
from policy.facts import FACTS, View
from policy.operation import Field, FieldType, Operation, OperationClass, Place, unknown
from tests.policy.enacted import OPERATIONS, READ, TRANSFER, bundle, refused

C = OperationClass


@pytest.mark.parametrize(
    ("said", "groups"),
    [
        ({C.READ}, {"read"}),
        ({C.READ, C.EXPORT}, {"read", "export"}),
        ({C.EXPORT}, {"export", "write"}),
        ({C.MONEY}, {"money", "write"}),
        ({C.READ, C.MONEY}, {"money", "write"}),
        ({C.READ, C.WRITE}, {"write"}),
        (set(), {"write"}),
    ],
)
def test_an_operation_is_a_read_only_if_it_is_nothing_worse(said: set[C], groups: set[str]) -> None:
    assert schema.classes(replace(READ, classes=frozenset(said))) == groups


def test_an_unknown_operation_is_an_unknown_write_whatever_its_method() -> None:
    assert schema.classes(unknown("crm", "GET")) == {"unknown", "write"}


def test_every_upstream_has_its_unknown_operation_once() -> None:
    made = bundle(operations=(*OPERATIONS, unknown("crm", "*"), unknown("alone", "*")))
    names = [name for name in made.operations if name.endswith(":unknown")]
    assert sorted(names) == ["alone:unknown", "bank:unknown", "crm:unknown", "stripe:unknown"]


def test_a_group_has_a_quorum_for_every_number_up_to_its_largest() -> None:
    assert schema.quorums({"a": 2, "b": 1}) == {"a:1", "a:2", "b:1"}


def test_without_groups_the_schema_still_stands() -> None:
    Schema.from_str(schema.whole((READ,), quorum=(), labels=()))


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=20), st.text(max_size=20))
@settings(deadline=None)
def test_no_name_can_write_cedar_of_its_own(operation: str, group: str, label: str) -> None:
    odd = replace(TRANSFER, name=f"bank:{operation}")
    text = schema.whole((odd,), quorum={f"{group}:1"}, labels={label})
    Schema.from_str(text)
    # Nothing but the declared action was added: the text without the names has the usual number of declarations.
    usual = schema.whole((TRANSFER,), quorum={"g:1"}, labels={"l"})
    assert text.count("appliesTo") - operation.count("appliesTo") - group.count("appliesTo") == usual.count("appliesTo")


def test_the_schema_of_one_operation_declares_what_is_read_and_nothing_else() -> None:
    seen = facts.view(TRANSFER, [("req", "ip"), ("input", "amount")])
    text = schema.of_operation(TRANSFER, seen, quorum={"a:1"}, labels={"l"})
    Schema.from_str(text)
    assert '"ip": ipaddr' in text
    assert '"amount": Long' in text
    assert "bodyLength" not in text
    assert "approvals" not in text


def test_every_fact_has_a_type_that_cedar_knows() -> None:
    fields = tuple(
        Field(name=kind.name.lower(), place=Place.BODY, path=("x",), type=kind, required=True) for kind in FieldType
    )
    every = replace(READ, fields=fields)
    Schema.from_str(schema.of_operation(every, View(facts=(*FACTS, *facts.inputs(every))), quorum=(), labels=()))


def test_an_operation_named_twice_is_refused() -> None:
    assert "named twice" in str(refused(operations=(READ, replace(READ, method="HEAD")))[0])


def test_an_operation_without_an_upstream_in_its_name_is_refused() -> None:
    assert "<upstream>:<operation>" in str(
        refused(operations=(Operation(name="read", upstream="", method="GET", template="/"),))[0]
    )
