"""Which operation a message is, and what is nobody's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.apis.catalogue import load
from connectors.apis.errors import CatalogueRefused
from connectors.apis.finders import BadBody
from connectors.apis.naming import Named, Namer
from policy.call import Target
from policy.operation import OperationClass, Tier

PIN = "0" * 63 + "a"
FILE = f"""
mcp:
  path: /mcp
  tools:
    send_money:
      definition: {PIN}
      fields: {{to: {{in: body, required: true}}, amount: {{in: body, type: long}}}}
    drop.all: {{definition: {PIN}, class: destructive, tier: high}}
operations:
  send_money: {{class: [write, money], money: {{amount: amount, currency: eur}}}}
"""
JSON = ("content-type", "application/json")


@pytest.fixture(scope="module")
def namer(tmp_path_factory) -> Namer:
    file = tmp_path_factory.mktemp("mcp") / "bank.yaml"
    file.write_text(FILE, "utf-8")
    return Namer(load(file, upstream="bank", connector="mcp"), scan_bytes=9999, json_depth=32)


def post(namer: Namer, method: str, params: object = None, *, path: str = "/mcp", **more: object) -> Named | BadBody:
    said = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params}), **more}
    return namer.name_call(Target(method="POST", path=path), (JSON,), json.dumps(said).encode())


def test_a_tool_is_an_operation_with_its_arguments_as_typed_input(namer: Namer):
    found = post(namer, "tools/call", {"name": "send_money", "arguments": {"to": "ann", "amount": 5}})
    assert isinstance(found, Named)
    assert found.operation.name == "bank:send_money"
    assert found.operation.classes == {OperationClass.WRITE, OperationClass.MONEY}
    assert dict(found.input.values) == {"to": "ann", "amount": 5}
    assert found.resource.id == "bank/tool/send_money"


def test_an_argument_of_another_type_or_spelling_is_unreadable(namer: Namer):
    found = post(namer, "tools/call", {"name": "send_money", "arguments": {"To": "ann", "amount": "5"}})
    assert isinstance(found, Named)
    assert found.input.unreadable == {"to", "amount"}


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("initialize", "bank:mcp/initialize"),
        ("ping", "bank:mcp/ping"),
        ("tools/list", "bank:mcp/tools/list"),
        ("server/discover", "bank:mcp/server/discover"),
        ("resources/read", "bank:mcp/resources/read"),
        ("tasks/cancel", "bank:mcp/tasks/cancel"),
        ("tasks/steal", "bank:unknown"),
        ("notifications/initialized", "bank:unknown"),
        ("stream", "bank:unknown"),
        ("end", "bank:unknown"),
        ("pong", "bank:unknown"),
        ("response", "bank:unknown"),
    ],
)
def test_a_method_of_the_protocol_is_an_operation_and_any_other_is_unknown(namer: Namer, method: str, name: str):
    found = post(namer, method, {"uri": "file:///a"})
    assert isinstance(found, Named)
    assert found.operation.name == name


def test_the_protocols_own_operations_read_and_what_carries_the_clients_data_writes(namer: Namer):
    assert post(namer, "tools/list").operation.classes == {OperationClass.READ}
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"pin": "1234"}}}
    found = namer.name_call(Target(method="POST", path="/mcp"), (JSON,), json.dumps(answer).encode())
    assert (found.operation.name, found.operation.classes) == ("bank:mcp/response", {OperationClass.WRITE})
    pong = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode()
    assert namer.name_call(Target(method="POST", path="/mcp"), (JSON,), pong).operation.name == "bank:mcp/pong"


@pytest.mark.parametrize(
    "name", ["other", "Send_Money", "send_money ", "mcp/tools/list", "unknown", "", "../x", "send\u200b_money", "a:b"]
)
def test_a_tool_that_the_catalogue_does_not_have_is_unknown(namer: Namer, name: str):
    found = post(namer, "tools/call", {"name": name, "arguments": {}})
    assert isinstance(found, Named)
    assert (found.operation.name, found.operation.tier) == ("bank:unknown", Tier.HIGH)


@pytest.mark.parametrize("path", ["/", "/mcp/", "/MCP", "/mcp/x", "/admin", "//mcp"])
def test_another_path_of_the_server_is_unknown(namer: Namer, path: str):
    assert post(namer, "tools/list", path=path).operation.name == "bank:unknown"


def test_a_query_beside_the_endpoint_is_unknown(namer: Namer):
    said = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    found = namer.name_call(Target(method="POST", path="/mcp", query="tool=x"), (JSON,), said)
    assert found.operation.name == "bank:unknown"


@pytest.mark.parametrize("arguments", [[], "x", 1, None])
def test_arguments_that_are_no_object_are_a_bad_body(namer: Namer, arguments: object):
    assert isinstance(post(namer, "tools/call", {"name": "send_money", "arguments": arguments}), BadBody)


def test_two_tries_of_one_call_are_alike_and_two_calls_are_not(namer: Namer):
    def meaning(amount: int, ident: object, token: object) -> str:
        params = {"name": "send_money", "arguments": {"amount": amount}, "_meta": {"progressToken": token, "x": 1}}
        return post(namer, "tools/call", params, id=ident).meaning

    assert meaning(5, 1, 1) == meaning(5, "b", 2)
    assert meaning(5, 1, 1) != meaning(6, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "mcp: {tools: {a b: {definition: " + PIN + "}}}",
        "mcp: {tools: {unknown: {definition: " + PIN + "}}}",
        "mcp: {tools: {mcp/ping: {definition: " + PIN + "}}}",
        "mcp: {tools: {add: {}}}",
        "mcp: {tools: {add: {definition: abc}}}",
        "mcp: {path: mcp}",
        "mcp: {path: /mcp?x=1}",
        "mcp: {server_requests: [sampling]}",
        "mcp: {tool: {}}",
        "operations: {gone: {tier: low}}",
    ],
)
def test_a_catalogue_that_says_something_else_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "bank.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(CatalogueRefused):
        load(file, upstream="bank", connector="mcp")
