"""A JSON-RPC call is the method it names, where the catalogue file lists that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.apis.catalogue import load
from connectors.apis.errors import CatalogueRefused
from connectors.apis.finders import BadBody
from connectors.apis.naming import Named, Namer
from connectors.apis.shapes import Problem, shape
from policy.call import Target

NODE = """
jsonrpc: {path: /rpc, methods: [eth_call, eth_sendRawTransaction, transfer]}
operations:
  eth_call: {class: read, tier: low}
  transfer:
    class: money
    fields:
      amount: {in: body, type: long, required: true}
      to: {in: body, path: ["0"]}
"""
CALL = {"jsonrpc": "2.0", "id": 1, "method": "transfer", "params": {"amount": 5}}


@pytest.fixture
def node(tmp_path: Path) -> Namer:
    (tmp_path / "node.yaml").write_text(NODE)
    made = load(tmp_path / "node.yaml", upstream="n", connector="jsonrpc")
    return Namer(made, scan_bytes=262_144, json_depth=64)


def named(by: Namer, body: object, *, path: str = "/rpc", query: str = "", kind: str = "application/json"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return by.name_call(Target(method="POST", path=path, query=query), (("content-type", kind),), raw)


def test_the_method_is_the_operation_and_its_parameters_the_input(node: Namer):
    found = named(node, CALL)
    assert isinstance(found, Named)
    assert (found.operation.name, found.input.values) == ("n:transfer", {"amount": 5})


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/json-rpc"])
def test_parameters_by_position_have_numbers(node: Namer, kind: str):
    found = named(node, CALL | {"params": ["bob", 5]}, kind=kind)
    assert isinstance(found, Named)
    assert (found.input.values, found.input.missing) == ({"to": "bob"}, {"amount"})


@pytest.mark.parametrize("call", [CALL | {"method": "eth_mine"}, CALL | {"method": "Transfer"}])
def test_a_method_that_is_not_listed_is_unknown(node: Namer, call: object):
    found = named(node, call)
    assert isinstance(found, Named)
    assert found.operation.name == "n:unknown"


@pytest.mark.parametrize("where", [{"path": "/rpc/"}, {"path": "/"}, {"query": "method=x"}, {"kind": "text/plain"}])
def test_a_call_of_another_form_is_unknown(node: Namer, where: dict[str, str]):
    found = named(node, CALL, **where)
    assert isinstance(found, Named)
    assert found.operation.name == "n:unknown"


@pytest.mark.parametrize(
    "body",
    [
        [CALL],
        [CALL, CALL],
        [],
        CALL | {"jsonrpc": "1.0"},
        {key: value for key, value in CALL.items() if key != "jsonrpc"},
        CALL | {"Method": "eth_call"},
        CALL | {"method": ["transfer"]},
        CALL | {"params": "x"},
        CALL | {"params": None},
        CALL | {"id": {}},
        CALL | {"id": True},
        CALL | {"result": 1},
        "transfer",
        b'{"jsonrpc": "2.0", "method": "eth_call", "method": "transfer"}',
        b'{"jsonrpc": "2.0", "method": "eth_call"}{}',
        b"",
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/jsonrequest"])
def test_what_is_not_one_request_is_refused(node: Namer, body: object, kind: str):
    assert isinstance(named(node, body, kind=kind), BadBody)


def test_a_method_that_cannot_be_an_operation_is_a_fault(tmp_path: Path):
    (tmp_path / "n.yaml").write_text("jsonrpc: {path: rpc, methods: [a b, unknown]}")
    with pytest.raises(CatalogueRefused) as refused:
        load(tmp_path / "n.yaml", upstream="n", connector="jsonrpc")
    assert len(refused.value.problems) == 3


def test_a_refusal_is_an_error_of_json_rpc_with_the_sentence():
    problem = Problem(sentence="Not today.", code="rejected", status=403, members={"type": "urn:x", "status": 403})
    told = json.loads(shape(problem, connector="jsonrpc").body)
    assert told["jsonrpc"] == "2.0"
    assert told["id"] is None
    assert told["error"] == {"code": -32000, "message": "Not today.", "data": {"code": "rejected"}}
    assert told["status"] == 403
