"""Calls, named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.catalogue import empty, load
from connectors.apis.catalogue import shipped as every_shipped
from connectors.apis.naming import BadBody, Namer
from policy.brief import sentence
from policy.call import Resource, Target
from policy.operation import unknown
from tests.connectors.apis.examples import FORM, JSON, body_field, catalogue, named, namer, operation, post, query_field

REFUND = post("/v1/refunds")


def shipped(name: str) -> Namer:
    return Namer(load(Path(f"builtin:{name}"), upstream=name), scan_bytes=262_144, json_depth=64)


def test_a_refund_is_named_read_and_labelled():
    found = named(shipped("stripe").name(REFUND, FORM, b"charge=ch_1&amount=25000&reason=duplicate"))
    assert found.operation.name == "stripe:refunds.create"
    assert found.input.values == {"charge": "ch_1", "amount": 25000, "reason": "duplicate"}
    assert found.resource == Resource(kind="charge", id="stripe/charge/ch_1")
    assert found.sensitivity.labels == frozenset()
    assert not found.method_override


def test_a_card_in_a_nested_form_is_labelled_by_field_and_by_sight():
    body = b"amount=100&currency=eur&source[number]=4242424242424242"
    found = named(shipped("stripe").name(post("/v1/charges"), FORM, body))
    assert found.input.values["card_number"] == "4242424242424242"
    assert found.sensitivity.labels == {"pci", "card"}


def test_a_repository_is_one_resource_in_whatever_case():
    one = shipped("github")
    ids = {
        named(one.name(Target(method="DELETE", path=path), None, b"")).resource
        for path in ("/repos/Acme/Web", "/repos/acme/WEB")
    }
    assert ids == {Resource(kind="repo", id="github/repo/acme/web", owner="acme")}


def test_a_resource_without_its_field_is_the_collection():
    one = shipped("stripe")
    assert named(one.name(REFUND, FORM, b"amount=5")).resource.id == "stripe/charge//v1/refunds"
    assert named(one.name(REFUND, JSON, b'{"charge":["ch_1"]}')).resource.id == "stripe/charge//v1/refunds"


def test_parts_of_a_resource_cannot_run_into_each_other(tmp_path):
    text = """
    operations:
      a: {call: POST /a, fields: {x: {in: body}, y: {in: body}}, resource: {kind: k, field: y, scope: x}}
    """
    one = Namer(catalogue(tmp_path, text), scan_bytes=100, json_depth=9)
    ids = [
        named(one.name(post("/a"), JSON, body)).resource.id for body in (b'{"x":"p/q","y":"r"}', b'{"x":"p","y":"q/r"}')
    ]
    assert ids == ["shop/k/p%2Fq/r", "shop/k/p/q%2Fr"]


def test_what_no_catalogue_knows_is_unknown_with_its_path_as_the_resource():
    one = Namer(empty("shop"), scan_bytes=262_144, json_depth=64)
    found = named(one.name(Target(method="DELETE", path="/v9/ann@example.com"), None, b""))
    assert found.operation == unknown("shop", "DELETE")
    assert found.resource.id == "shop/resource//v9/ann@example.com"
    assert found.sensitivity.labels == {"email"}


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b"{", b"\xff"])
def test_a_bad_body_of_a_known_operation_is_told_and_of_an_unknown_one_is_unscanned(body):
    one = namer(operation("POST /known"))
    assert isinstance(one.name(post("/known"), JSON, body), BadBody)
    assert named(one.name(post("/other"), JSON, body)).sensitivity.labels == {"unscanned"}


def test_the_detail_of_a_bad_body_repeats_nothing_of_it():
    for body in (b'{"sk_live_1":1,"sk_live_1":2}', b'{"a": sk_live_1}', b'{"a":"\xffsk_live_1"}'):
        found = namer(operation("POST /known")).name(post("/known"), JSON, body)
        assert isinstance(found, BadBody)
        assert "sk_live" not in found.detail


@pytest.mark.parametrize("name", every_shipped())
def test_the_sentence_of_every_shipped_operation_can_be_filled(name, a_call):
    one = shipped(name)
    for each in load(Path(f"builtin:{name}"), upstream=name).operations:
        path = each.template.replace("{", "").replace("}", "")
        found = named(one.name(Target(method=each.method, path=path), None, b""))
        assert found.operation == each
        text = sentence(a_call(found, path))
        assert "{" not in text
        assert not text.endswith("  ")


def test_a_query_that_cannot_be_read_is_unscanned_and_its_fields_unreadable():
    one = namer(operation("GET /x", query_field("q")))
    found = named(one.name(Target(method="GET", path="/x", query="q=%ff"), None, b""))
    assert found.input.unreadable == {"q"}
    assert found.sensitivity.labels == {"unscanned"}


@given(
    st.sampled_from(["GET", "POST", "HEAD", "BREW"]),
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from([JSON, FORM, "multipart/form-data; boundary=b", "text/plain", None]),
    st.binary(max_size=60),
)
def test_every_call_gets_a_name_or_a_reason(method, path, query, content_type, body):
    one = namer(operation("POST /x/{id}", body_field("a")))
    target = Target(method=method, path="/" + path, query=query)
    found = one.name(target, content_type, body)
    assert isinstance(found, BadBody) or found.operation.upstream == "shop"


@pytest.mark.parametrize("kind", [None, "video/mp4", "application/octet-stream", "text/csv", "application/zip"])
def test_the_body_of_an_opaque_operation_is_not_looked_at(tmp_path, kind):
    found = catalogue(tmp_path, "operations: {a: {call: 'PUT /a/{id}', body: opaque}}")
    one = Namer(found, scan_bytes=262_144, json_depth=64)
    target, headers = Target(method="PUT", path="/a/1"), (("content-type", kind),) if kind else ()
    assert one.passes_unread(target, headers)
    read = named(one.name_call(target, headers, b"4242424242424242"))
    assert (read, read.sensitivity.labels) == (named(one.name_call(target, headers, b"")), {"opaque"})


@pytest.mark.parametrize("kind", [JSON, FORM, "application/hal+json", "multipart/form-data; boundary=b", "a/b; c", "a"])
def test_what_somebody_may_take_for_fields_is_read_all_the_same(tmp_path, kind):
    found = catalogue(tmp_path, "operations: {a: {call: 'PUT /a/{id}', body: opaque}}")
    one = Namer(found, scan_bytes=262_144, json_depth=64)
    assert not one.passes_unread(Target(method="PUT", path="/a/1"), (("content-type", kind),))
    assert not one.passes_unread(Target(method="PUT", path="/b/1"), ())


def test_an_upstream_that_takes_credentials_out_of_bodies_has_all_of_them_read(tmp_path):
    found = catalogue(tmp_path, "refuses: [token]\noperations: {a: {call: 'PUT /a/{id}', body: opaque}}")
    one = Namer(found, scan_bytes=262_144, json_depth=64)
    assert not one.passes_unread(Target(method="PUT", path="/a/1"), ())
