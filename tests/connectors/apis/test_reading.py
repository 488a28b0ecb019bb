"""The typed input of a call."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.bodies import Document, Form, Malformed, Nothing, Opaque, Prose, document, form
from connectors.apis.reading import Reader
from policy.call import Input
from policy.operation import Field, FieldType, Place
from tests.connectors.apis.examples import body_field, operation, query_field

NO_QUERY = Form(root={})


def of_json(text: bytes, *fields: Field) -> Input:
    body = document(text, json_depth=64)
    assert isinstance(body, Document)
    return Reader(operation("POST /x", *fields)).read((), NO_QUERY, body)


def of_form(text: bytes, *fields: Field) -> Input:
    body = form(text, depth=64)
    assert isinstance(body, Form)
    return Reader(operation("POST /x", *fields)).read((), NO_QUERY, body)


A = {kind: body_field("a", kind) for kind in FieldType}


@pytest.mark.parametrize(
    ("kind", "literal", "value"),
    [
        (FieldType.TEXT, '"x"', "x"),
        (FieldType.TEXT, '""', ""),
        (FieldType.LONG, "12", 12),
        (FieldType.LONG, "-0", 0),
        (FieldType.LONG, "9223372036854775807", 2**63 - 1),
        (FieldType.LONG, "-9223372036854775808", -(2**63)),
        (FieldType.BOOL, "true", True),
        (FieldType.DECIMAL, "12.5", "12.5000"),
        (FieldType.DECIMAL, "12", "12.0000"),
        (FieldType.DECIMAL, "-0.0001", "-0.0001"),
        (FieldType.DECIMAL, "1e2", "100.0000"),
        (FieldType.DECIMAL, "1.50000000", "1.5000"),
        (FieldType.DECIMAL, "0", "0.0000"),
        (FieldType.DECIMAL, "922337203685477.5807", "922337203685477.5807"),
        (FieldType.TEXTS, '["b","a","b"]', ("a", "b")),
        (FieldType.TEXTS, "[]", ()),
    ],
)
def test_a_json_value_of_its_type_is_read(kind, literal, value):
    assert of_json(f'{{"a":{literal}}}'.encode(), A[kind]) == Input(values={"a": value})


@pytest.mark.parametrize(
    ("kind", "literal"),
    [
        *[(kind, "null") for kind in FieldType],
        *[(kind, '{"a":1}') for kind in FieldType],
        (FieldType.TEXT, "1"),
        (FieldType.TEXT, '["x"]'),
        (FieldType.LONG, '"12"'),
        (FieldType.LONG, "1.0"),
        (FieldType.LONG, "1e2"),
        (FieldType.LONG, "true"),
        (FieldType.LONG, "9223372036854775808"),
        (FieldType.BOOL, "1"),
        (FieldType.BOOL, '"true"'),
        (FieldType.DECIMAL, "0.00001"),
        (FieldType.DECIMAL, "1e300"),
        (FieldType.DECIMAL, "1e999999999"),
        (FieldType.DECIMAL, "1e-999999999"),
        (FieldType.DECIMAL, "922337203685477.5808"),
        (FieldType.DECIMAL, "0." + "1" * 3000),
        (FieldType.DECIMAL, '"1.5"'),
        (FieldType.DECIMAL, "true"),
        (FieldType.TEXTS, '"a"'),
        (FieldType.TEXTS, '["a",1]'),
        (FieldType.TEXTS, '[["a"]]'),
    ],
)
def test_a_json_value_of_another_type_is_unreadable_and_not_absent(kind, literal):
    assert of_json(f'{{"a":{literal}}}'.encode(), A[kind]) == Input(unreadable=frozenset({"a"}))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FieldType.TEXT, b"a=x+y", "x y"),
        (FieldType.TEXT, b"a=", ""),
        (FieldType.LONG, b"a=12", 12),
        (FieldType.LONG, b"a=-3", -3),
        (FieldType.BOOL, b"a=false", False),
        (FieldType.DECIMAL, b"a=12.5", "12.5000"),
        (FieldType.TEXTS, b"a[]=y&a[]=x", ("x", "y")),
        (FieldType.TEXTS, b"a[1]=y&a[0]=x", ("x", "y")),
        (FieldType.TEXTS, b"a=y&a=x", ("x", "y")),
        (FieldType.TEXTS, b"a=x", ("x",)),
    ],
)
def test_a_form_value_of_its_type_is_read(kind, text, value):
    assert of_form(text, A[kind]) == Input(values={"a": value})


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FieldType.TEXT, b"a=x&a=x"),
        (FieldType.TEXT, b"a[]=x"),
        (FieldType.TEXT, b"a=x&a[b]=y"),
        (FieldType.LONG, b"a=+5"),
        (FieldType.LONG, b"a=%2B5"),
        (FieldType.LONG, b"a=05"),
        (FieldType.LONG, b"a=5.0"),
        (FieldType.LONG, b"a=5e3"),
        (FieldType.LONG, b"a=0x5"),
        (FieldType.LONG, b"a=5_0"),
        (FieldType.LONG, b"a="),
        (FieldType.LONG, b"a=%D9%A5"),
        (FieldType.LONG, b"a=9223372036854775808"),
        (FieldType.BOOL, b"a=True"),
        (FieldType.BOOL, b"a=1"),
        (FieldType.DECIMAL, b"a=1e2"),
        (FieldType.DECIMAL, b"a=.5"),
        (FieldType.DECIMAL, b"a=1.00001"),
        (FieldType.TEXTS, b"a[k]=x"),
        (FieldType.TEXTS, b"a[0][b]=x"),
        (FieldType.TEXTS, b"a=x&a[]=y"),
    ],
)
def test_a_form_value_of_another_type_is_unreadable_and_not_absent(kind, text):
    assert of_form(text, A[kind]) == Input(unreadable=frozenset({"a"}))


@pytest.mark.parametrize(
    "key", ["Amount", "AMOUNT", " amount", "amount ", "amount[", "amount]", "[amount]", "amount\\u0000"]
)
def test_a_key_that_a_lenient_upstream_takes_for_a_field_makes_it_unreadable(key):
    field = body_field("amount", FieldType.LONG)
    assert of_json(f'{{"{key}":5}}'.encode(), field) == Input(unreadable=frozenset({"amount"}))
    assert of_json(f'{{"amount":1,"{key}":5}}'.encode(), field) == Input(unreadable=frozenset({"amount"}))


def test_letters_that_fold_to_ascii_are_case_variants_too():
    assert of_json('{"to\u212aen":"x"}'.encode(), body_field("token")).unreadable == {"token"}
    assert of_json('{"u\u017fer":"x"}'.encode(), body_field("user")).unreadable == {"user"}


def test_php_spellings_of_a_form_key_make_the_field_unreadable():
    for key in (b"per.page", b"per page", b"per-page", b"per_page["):
        assert of_form(key + b"=5", body_field("per_page", FieldType.LONG)).unreadable == {"per_page"}


def test_two_declared_fields_that_differ_in_case_only_are_both_read():
    read = of_json(b'{"id":"a","ID":"b"}', body_field("id"), body_field("other", path=("ID",)))
    assert read == Input(values={"id": "a", "other": "b"})


NUMBER = body_field("number", path=("card", "number"))


def test_a_nested_field_is_read_from_json_and_from_brackets():
    assert of_json(b'{"card":{"number":"4242"}}', NUMBER).values == {"number": "4242"}
    assert of_form(b"card[number]=4242", NUMBER).values == {"number": "4242"}


@pytest.mark.parametrize("text", ["[]", '"x"', "null", '{"Number":"1"}', '[{"number":"1"}]'])
def test_a_nested_field_whose_parent_is_something_else_is_unreadable(text):
    assert of_json(f'{{"card":{text}}}'.encode(), NUMBER).unreadable == {"number"}
    assert of_json(b'{"Card":{"number":"1"}}', NUMBER).unreadable == {"number"}


def test_a_field_may_stand_where_another_has_its_parent():
    source = body_field("source")
    below = body_field("number", path=("source", "number"))
    assert of_json(b'{"source":"tok_1"}', source, below) == Input(values={"source": "tok_1"})
    whole = of_json(b'{"source":{"number":"4242"}}', source, below)
    assert whole == Input(values={"number": "4242"}, unreadable=frozenset({"source"}))


def test_a_required_field_that_is_absent_is_missing_and_one_that_is_unreadable_is_not():
    field = body_field("amount", FieldType.LONG, required=True)
    assert of_json(b"{}", field).missing == {"amount"}
    assert of_json(b'{"amount":"5"}', field).missing == frozenset()
    assert Reader(operation("POST /x", field)).read((), NO_QUERY, Nothing()).missing == {"amount"}


@pytest.mark.parametrize("body", [Opaque(), Prose(text="amount=5"), Malformed(detail=""), Document(root=[{"a": 1}])])
def test_of_a_body_that_cannot_be_read_no_field_is_absent(body):
    fields = (body_field("a"), body_field("b"), query_field("q"))
    read = Reader(operation("POST /x", *fields)).read((), NO_QUERY, body)
    assert read == Input(unreadable=frozenset({"a", "b"}))


def test_of_a_query_that_cannot_be_read_no_field_is_absent():
    read = Reader(operation("GET /x", query_field("q"))).read((), Malformed(detail=""), Nothing())
    assert read.unreadable == {"q"}


def test_a_body_field_in_the_query_and_a_query_field_in_the_body_are_unreadable():
    reader = Reader(operation("POST /x", body_field("amount", FieldType.LONG), query_field("dry_run", FieldType.BOOL)))
    merged = reader.read((), Form(root={"Amount": "900"}), Document(root={"amount": 5}))
    assert merged == Input(unreadable=frozenset({"amount"}))
    assert reader.read((), NO_QUERY, Form(root={"dry_run": "true"})).unreadable == {"dry_run"}


def test_path_values_are_decoded_and_typed():
    number = Field(name="n", place=Place.PATH, path=("n",), type=FieldType.LONG, required=True)
    text = Field(name="t", place=Place.PATH, path=("t",), type=FieldType.TEXT, required=True)
    reader = Reader(operation("GET /x/{n}/{t}", number, text))
    assert reader.read((("n", "7"), ("t", "a%20b")), NO_QUERY, Nothing()).values == {"n": 7, "t": "a b"}
    assert reader.read((("n", "x"), ("t", "%ff")), NO_QUERY, Nothing()).unreadable == {"n", "t"}


def test_a_field_whose_case_the_upstream_ignores_is_read_in_lower_case():
    owner = body_field("owner", ignores_case=True)
    names = body_field("names", FieldType.TEXTS, ignores_case=True)
    assert of_json(b'{"owner":"ACME","names":["B","b","A"]}', owner, names).values == {
        "owner": "acme",
        "names": ("a", "b"),
    }


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_read_exactly_or_not_at_all(number):
    text = str(number)
    read = of_json(f'{{"a":{text}}}'.encode(), A[FieldType.DECIMAL])
    if "a" in read.values:
        assert Decimal(read.values["a"]) == number
    else:
        assert read.unreadable == {"a"}


@given(
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none() | st.booleans(), max_size=6)
)
def test_a_field_is_in_values_only_if_the_body_says_exactly_that(content):
    fields = (body_field("amount", FieldType.LONG), body_field("charge"))
    read = of_json(json.dumps(content).encode("utf-8"), *fields) if _encodable(content) else Input()
    for name, value in read.values.items():
        assert content[name] == value
        assert not read.unreadable & {name}


def _encodable(content: dict[str, object]) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in "".join([*content, *map(str, content.values())]))
