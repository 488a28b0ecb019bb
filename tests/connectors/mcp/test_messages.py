"""One message, or none: whatever another reader could take for something else is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis import bodies
from connectors.apis.mcp.messages import NoMessage, Notification, Request, Response, read


def message(raw: bytes | object, content_type: str = "application/json"):
    body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return read(bodies.read(content_type, body, json_depth=16))


CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}}


def test_a_request_is_read_with_its_id_and_parameters():
    assert message(CALL) == Request(id=1, method="tools/call", params={"name": "add"})
    assert message({**CALL, "id": "a"}) == Request(id="a", method="tools/call", params={"name": "add"})


def test_a_notification_has_no_id_and_a_response_no_method():
    said = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert message(said) == Notification(method="notifications/initialized", params={})
    assert message({"jsonrpc": "2.0", "id": 1, "result": {}}) == Response(id=1, result={})


WRONG = {
    "a batch": [CALL, CALL],
    "an empty batch": [],
    "a scalar": 1,
    "another version": {**CALL, "jsonrpc": "1.0"},
    "no version": {"id": 1, "method": "ping"},
    "id null": {**CALL, "id": None},
    "id a boolean": {**CALL, "id": True},
    "id with a point": {**CALL, "id": 1.0},
    "id a list": {**CALL, "id": [1]},
    "id too large for some": {**CALL, "id": 2**53},
    "id too long": {**CALL, "id": "i" * 257},
    "no method name": {**CALL, "method": "tools call"},
    "method a number": {**CALL, "method": 1},
    "parameters a list": {**CALL, "params": ["add"]},
    "a member that no request has": {**CALL, "Method": "tools/list"},
    "a result beside the method": {**CALL, "result": {}},
    "a name in two spellings": {**CALL, "params": {"name": "add", "Name": "drop"}},
    "a name in another spelling": {**CALL, "params": {"NAME": "drop"}},
    "both result and error": {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
    "neither": {"jsonrpc": "2.0", "id": 1},
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=WRONG)
def test_what_two_readers_could_take_differently_is_no_message(raw):
    assert isinstance(message(raw), NoMessage)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","n\\u0061me":"drop"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
        b"",
        b"{",
    ],
)
def test_a_body_that_is_not_one_strict_document_is_no_message(raw: bytes):
    assert isinstance(message(raw), NoMessage)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=x"])
def test_a_body_of_another_type_is_no_message(kind: str):
    assert isinstance(message(CALL, kind), NoMessage)


def test_the_id_of_what_is_refused_is_told_where_it_could_be_read():
    assert message({**CALL, "method": "a b", "id": 7}) == NoMessage(
        code=-32600, detail="The method is not a name.", id=7
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    )
)
def test_whatever_json_comes_is_a_message_or_none(tree):
    assert isinstance(message(json.dumps(tree).encode()), NoMessage)
