"""Tools become entries of a catalogue, and what they say of themselves never makes them harmless."""

from __future__ import annotations

from decimal import Decimal

import yaml

from connectors.apis.mcp.tools import described, pin
from connectors.apis.mcp.writing import made

SCHEMA = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "amount": {"type": "integer"},
        "rate": {"type": "number"},
        "urgent": {"type": ["boolean", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "more": {"type": "object"},
        "either": {"type": ["string", "integer"]},
        "issue-number": {"type": "integer"},
        "in": {"type": "string"},
    },
    "required": ["to", "amount"],
}


def test_arguments_of_one_type_are_fields():
    tool = described({"name": "pay", "inputSchema": SCHEMA})
    assert tool is not None
    assert tool.entry["fields"] == {
        "to": {"in": "body", "required": True},
        "amount": {"in": "body", "type": "long", "required": True},
        "rate": {"in": "body", "type": "decimal"},
        "urgent": {"in": "body", "type": "bool"},
        "tags": {"in": "body", "type": "texts"},
        "note": {"in": "body"},
        "issue_number": {"in": "body", "path": ["issue-number"], "type": "long"},
        "in_": {"in": "body", "path": ["in"]},
    }


def test_a_hint_may_raise_what_a_tool_is_taken_for_and_never_lower_it():
    def entry(**hints: bool) -> dict:
        return dict(described({"name": "pay", "inputSchema": {}, "annotations": hints}).entry)

    plain = set(entry())
    assert set(entry(readOnlyHint=True, idempotentHint=True)) == plain
    assert entry(destructiveHint=True, readOnlyHint=True)["class"] == "destructive"
    assert entry(destructiveHint=True)["tier"] == "high"


def test_a_pin_does_not_depend_on_the_order_of_members_and_depends_on_all_else():
    one = {"name": "a", "inputSchema": {"x": 1, "y": [Decimal("1.50"), True]}}
    assert pin(one) == pin({"inputSchema": {"y": [Decimal("1.50"), True], "x": 1}, "name": "a"})
    for other in (
        {**one, "title": "A"},
        {**one, "inputSchema": {"x": "1", "y": [Decimal("1.50"), True]}},
        {**one, "inputSchema": {"x": 1, "y": [True, Decimal("1.50")]}},
        {**one, "inputSchema": {"x": 1, "y": ["1.50", True]}},
        {**one, "annotations": {"readOnlyHint": True}},
    ):
        assert pin(other) != pin(one)


def test_the_file_keeps_what_people_wrote_and_says_what_is_different():
    first = made(
        [{"name": "a"}, {"name": "b"}, {"name": "unknown"}, {"name": "a b"}, {"name": "a"}], path="/x", before={}
    )
    assert (first.tools, first.added) == (2, ("a", "b"))
    assert first.left_out == ("unknown", "a b", "a")
    before = yaml.safe_load(first.text)
    before["operations"] = {"a": {"tier": "high"}}
    before["mcp"]["server_requests"] = ["roots/list"]
    again = made([{"name": "a", "title": "new"}, {"name": "c"}], path="/x", before=before)
    assert (again.added, again.changed, again.gone) == (("c",), ("a",), ("b",))
    read = yaml.safe_load(again.text)
    assert read["operations"] == before["operations"]
    assert read["mcp"]["server_requests"] == ["roots/list"]
    assert not made([{"name": "a", "title": "new"}, {"name": "c"}], path="/x", before=read).differs
