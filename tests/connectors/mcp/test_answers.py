"""What a server may say to an agent."""

from __future__ import annotations

import json

import pytest

from connectors.apis.mcp.answers import Passes, Stays, looked_at


def look(tree: object, *allowed: str, answers: int | str | None = 1) -> Passes | Stays:
    raw = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return looked_at(raw, server_requests=frozenset(allowed), answers=answers, json_depth=32)


def test_an_answer_a_notification_and_a_ping_pass_as_they_are():
    answer = b'{ "jsonrpc": "2.0", "id": 1, "result": {"x": 1.50} }'
    assert look(answer) == Passes(text=answer.decode(), ends=True)
    assert isinstance(look({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}), Passes)
    assert isinstance(look({"jsonrpc": "2.0", "id": 9, "method": "ping"}), Passes)


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list"])
def test_what_a_server_asks_of_a_client_passes_only_where_it_may(method: str):
    asked = {"jsonrpc": "2.0", "id": 9, "method": method, "params": {}}
    assert isinstance(look(asked), Stays)
    assert isinstance(look(asked, method), Passes)
    wanted = {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"resultType": "input_required", "inputRequests": {"a": {"method": method}}},
    }
    assert isinstance(look(wanted), Stays)
    assert isinstance(look(wanted, method), Passes)


@pytest.mark.parametrize(
    "tree",
    [
        [{"jsonrpc": "2.0", "id": 1, "result": {}}],
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}},
        {"jsonrpc": "2.0", "method": "run"},
        {"jsonrpc": "2.0", "id": 1, "result": {"InputRequests": {}}},
        {"jsonrpc": "2.0", "id": 1, "result": {"inputRequests": []}},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": {}}},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": 1}]}},
        {"jsonrpc": "2.0", "id": 1, "result": {"Tools": []}},
        b'{"jsonrpc":"2.0","id":1,"result":{},"result":{"tools":[]}}',
        b"not json",
    ],
)
def test_what_could_be_read_in_two_ways_or_is_no_answer_stays(tree: object):
    assert isinstance(look(tree, "roots/list"), Stays)


def test_an_answer_under_another_id_gets_the_one_that_is_waited_for():
    said = look(b'{"jsonrpc":"2.0","id":1,"result":{"big":12345678901234567890,"n":1.50,"t":"\\u00fc"}}', answers="b")
    assert isinstance(said, Passes)
    assert said.text == '{"jsonrpc":"2.0","id":"b","result":{"big":12345678901234567890,"n":1.50,"t":"ü"}}'
    assert json.loads(look({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "x"}}).text)["id"] == 1


def test_the_tools_of_a_list_are_told_by_name_and_digest():
    tool = {"name": "add", "description": "Add.", "inputSchema": {"type": "object"}, "_meta": {"a": 1}}
    other = {**tool, "_meta": {"a": 2}}
    changed = {**tool, "description": "Add!"}
    pins = [
        look({"jsonrpc": "2.0", "id": 1, "result": {"tools": [one]}}).listed[0].definition
        for one in (tool, other, changed)
    ]
    assert pins[0] == pins[1] != pins[2]
