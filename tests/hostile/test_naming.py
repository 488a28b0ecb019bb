"""Calls that want to be taken for other calls: rows P1, P3, P4, P6, P7, P9 of the threat model."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from connectors.apis.catalogue import load
from connectors.apis.naming import BadBody, Named, Namer
from policy.call import Target

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
GOOD = b'{"charge":"ch_1","amount":100}'


@pytest.fixture(scope="module")
def stripe() -> Namer:
    return Namer(load(Path("builtin:stripe"), upstream="stripe"), scan_bytes=262_144, json_depth=64)


def refund(namer: Namer, body: bytes, content_type: str | None = JSON, query: str = "") -> Named | BadBody:
    return namer.name(Target(method="POST", path="/v1/refunds", query=query), content_type, body)


def operation(namer: Namer, method: str, path: str) -> str:
    found = namer.name(Target(method=method, path=path), None, b"")
    assert isinstance(found, Named)
    return found.operation.name


@pytest.mark.parametrize(
    "path",
    [
        "/V1/refunds",
        "/v1/Refunds",
        "/v1/REFUNDS",
        "/v1/refunds/",
        "//v1/refunds",
        "/v1//refunds",
        "/v1/./refunds",
        "/v1/x/../refunds",
        "/v1/refunds.json",
        "/v1/refunds%20",
        "/v1/refunds;x=1",
        "/v1/refunds%00",
        "/v1/refund%73",
        "/v1/%72efunds",
        "/v1%2frefunds",
        "/v1/refunds%3f",
        "/\uff56\uff11/refunds",
        "/v1/refunds\u200b",
        "v1/refunds",
        "*",
        "",
    ],
)
def test_p1_another_spelling_of_a_known_path_is_unknown_and_never_another_operation(stripe, path):
    assert operation(stripe, "POST", path) == "stripe:unknown"


@pytest.mark.parametrize("spelling", ["Search", "SEARCH", "sear%63h", "%73earch", "se%61RCH"])
def test_p1_another_spelling_of_an_export_is_not_taken_for_the_id_of_one_customer(stripe, spelling):
    assert operation(stripe, "GET", "/v1/customers/search") == "stripe:customers.search"
    assert operation(stripe, "GET", "/v1/customers/cus_1") == "stripe:customers.retrieve"
    assert operation(stripe, "GET", f"/v1/customers/{spelling}") == "stripe:unknown"


@pytest.mark.parametrize(
    "query", ["_method=DELETE", "_METHOD=delete", "%5Fmethod=x", "a=1&_method", "_method[]=x", "_Method=%zz"]
)
def test_p3_a_method_override_in_the_query_is_told(stripe, query):
    found = refund(stripe, GOOD, query=query)
    assert isinstance(found, Named)
    assert found.method_override


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, b"charge=ch_1&_method=DELETE"),
        (FORM, b"%5f%4dethod=DELETE"),
        (FORM, b" _method=DELETE"),
        (JSON, b'{"_method":"DELETE"}'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="_method"\r\n\r\nPUT\r\n--b--',
        ),
    ],
)
def test_p3_a_method_override_in_the_body_is_told(stripe, content_type, body):
    found = refund(stripe, body, content_type)
    assert isinstance(found, Named)
    assert found.method_override


def test_p3_a_method_override_in_a_broken_form_of_an_unknown_call_is_told(stripe):
    found = stripe.name(Target(method="POST", path="/v9"), FORM, b"a=%zz&%5fmethod=DELETE")
    assert isinstance(found, Named)
    assert found.method_override


def test_p3_no_override_is_seen_where_there_is_none(stripe):
    found = refund(stripe, b"charge=ch_1&payment_method=pm_1&x=_method", FORM, query="method=x")
    assert isinstance(found, Named)
    assert not found.method_override


def test_p4_a_harmless_method_does_not_make_a_call_a_read(stripe):
    assert operation(stripe, "HEAD", "/v1/refunds/re_1") == "stripe:refunds.retrieve"
    for method in ("OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND", "post", "GET\t"):
        assert operation(stripe, method, "/v1/refunds/re_1") == "stripe:unknown"


@pytest.mark.parametrize(
    "body",
    [
        b'{"amount":100,"amount":900000}',
        b'{"amount":100,"\\u0061mount":900000}',
        b'{"amount":100,"am\\u006funt":900000,"charge":"ch_1"}',
        b'{"x":{"amount":1,"amount":2}}',
        b'{"amount":NaN}',
        b'{"amount":Infinity}',
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD.decode().encode("utf-16-le"),
        GOOD.decode().encode("utf-32"),
        b'{"charge":"ch_1",+AC}',
        b"{charge:'ch_1'}",
        b'{"charge":"ch_1",}',
        b'{"charge":"ch_1"/**/}',
        b'{"charge":"ch_1"}//',
        GOOD + GOOD,
        GOOD + b"\0",
        GOOD + b"\n\x0b",
        b'{"charge":"\xc0\xaf"}',
        b'{"charge":"ch_\\ud800"}',
        b'{"charge":' + b"[" * 10_000,
        b'{"amount":' + b"9" * 5_000 + b"}",
        b'{"amount":1e99999999999999999999}',
    ],
)
def test_p6_json_that_an_upstream_could_read_differently_is_refused(stripe, body):
    assert isinstance(refund(stripe, body), BadBody)


@pytest.mark.parametrize(
    "amount",
    ["1e5", "100000.0", "100000.00000000000000001", '"100000"', "1E+5", "9223372036854775808", "null", "[100000]"],
)
def test_p6_an_amount_that_is_not_a_plain_whole_number_is_unreadable_and_never_rounded(stripe, amount):
    found = refund(stripe, b'{"charge":"ch_1","amount":' + amount.encode() + b"}")
    assert isinstance(found, Named)
    assert "amount" not in found.input.values
    assert found.input.unreadable == {"amount"}


@pytest.mark.parametrize("key", ["Amount", "AMOUNT", "amount ", "\\u0061Mount", "amount\\u0000"])
def test_p6_an_amount_under_another_spelling_is_not_absent(stripe, key):
    for body in (f'{{"{key}":900000}}', f'{{"amount":1,"{key}":900000}}', f'{{"{key}":900000,"amount":1}}'):
        found = refund(stripe, body.encode())
        assert isinstance(found, Named)
        assert found.input.unreadable == {"amount"}


@pytest.mark.parametrize(
    "body",
    [
        b"amount=1&amount=900000",
        b"amount=1&%61mount=900000",
        b"amount=1&AMOUNT=900000",
        b"amount=1&amount[]=900000",
        b"amount[]=900000",
        b"amount[=900000",
        b"amount[0]=900000",
        b"+amount=900000",
        b"amount%00=900000",
        b"amount=900000%20",
        b"amount=%EF%BC%99",
        b"amount=0x64",
        b"amount=1_000",
    ],
)
def test_p7_an_amount_that_form_parsers_disagree_on_is_not_absent(stripe, body):
    found = refund(stripe, body, FORM)
    assert isinstance(found, Named)
    assert "amount" in found.input.unreadable
    assert "amount" not in found.input.values


@pytest.mark.parametrize(
    "body", [b"amount=1;amount=900000", b"amount=1&x=%", "amount=1&x=\u00e9".encode(), b"amount=\xff"]
)
def test_p7_a_form_that_form_parsers_disagree_on_as_a_whole_is_refused(stripe, body):
    assert isinstance(refund(stripe, body, FORM), BadBody)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", GOOD),
        ("text/plain", b"amount=900000"),
        (None, GOOD),
        ("", GOOD),
        ("application/octet-stream", GOOD),
        ("application/xml", b"<amount>900000</amount>"),
        ("application/yaml", b"amount: 900000"),
        ("application/msgpack", b"\x81\xa6amount\x01"),
        ("application/x-www-form-urlencoded-x", b"amount=900000"),
        ("application/json; charset=utf-16", GOOD.decode().encode("utf-16")),
        ("application/json; charset=utf-7", GOOD),
        ("application/x-www-form-urlencoded; charset=utf-16", b"amount=900000"),
        ("application/json, application/x-www-form-urlencoded", GOOD),
        ("application/json; charset=utf-8; charset=utf-16", GOOD),
        ("application/json;;", GOOD),
        ("application/octet-stream", gzip.compress(GOOD, mtime=0)),
    ],
)
def test_p7_of_a_body_in_a_type_nobody_reads_no_field_is_absent(stripe, content_type, body):
    found = refund(stripe, body, content_type)
    assert isinstance(found, Named)
    assert found.input.values == {}
    assert {"amount", "charge"} <= found.input.unreadable


@pytest.mark.parametrize(
    "body",
    [
        (
            b'--b\r\nContent-Disposition: form-data; name="amount"\r\n\r\n1\r\n--b\r\n'
            b'Content-Disposition: form-data; name="amount"; filename=""\r\n\r\n900000\r\n--b--\r\n'
        ),
        b'x\r\n--b\r\nContent-Disposition: form-data; name="amount"\r\n\r\n1\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="amount"; name="x"\r\n\r\n1\r\n--b--\r\n',
        b'--b\r\nContent-Disposition: form-data; name="a\\"; name=\\"amount"\r\n\r\n1\r\n--b--\r\n',
        b'--b\nContent-Disposition: form-data; name="amount"\n\n1\n--b--\n',
    ],
)
def test_p7_a_multipart_body_that_parsers_disagree_on_gives_no_amount(stripe, body):
    found = refund(stripe, body, "multipart/form-data; boundary=b")
    assert isinstance(found, BadBody) or "amount" in found.input.unreadable


def test_p7_a_body_field_smuggled_in_the_query_is_not_absent(stripe):
    for query in ("amount=900000", "Amount=900000", "amount[]=900000", "%61mount=900000"):
        for content_type, body in ((FORM, b"charge=ch_1"), (JSON, b'{"charge":"ch_1","amount":1}'), (None, b"")):
            found = refund(stripe, body, content_type, query)
            assert isinstance(found, Named)
            assert found.input.unreadable >= {"amount"}, query


@pytest.mark.parametrize("body", [b"[" + GOOD + b"," + GOOD + b"]", b"[" + GOOD + b"]", b"[]", b'"x"', b"7", b"null"])
def test_p9_a_batch_where_one_call_belongs_has_no_readable_field(stripe, body):
    found = refund(stripe, body)
    assert isinstance(found, Named)
    assert found.input.values == {}
    assert {"amount", "charge"} <= found.input.unreadable


def test_p9_members_of_a_batch_are_scanned_each(stripe):
    body = json.dumps([{"a": 1}] * 500 + [{"card": "4242424242424242"}]).encode()
    found = refund(stripe, body)
    assert isinstance(found, Named)
    assert found.sensitivity.paths == {"card": ("/body/500/card",), "pii": ("/body/instructions_email",)}


def test_a_large_hostile_body_is_read_in_bounded_time_and_says_what_it_skipped(stripe):
    for trap in ("4 " * 500_000, "a@b." * 250_000, "+1" * 500_000, "eyJ" * 300_000):
        found = refund(stripe, json.dumps({"x": trap}).encode())
        assert isinstance(found, Named)
        assert "unscanned" in found.sensitivity.labels
