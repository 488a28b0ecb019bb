"""Conditions as trees: their text again, and what of the context they look at."""

from __future__ import annotations

import json

import pytest
from cedarpy import policies_to_json_str
from hypothesis import given
from hypothesis import strategies as st

from policy.expressions import Node, UnknownForm, context_reads, covers, identifies, render, tree

CONDITIONS = (
    "context.input.amount > 10000",
    'context.req.ip.isInRange(ip("10.0.0.0/8")) || !(context.req.ip.isLoopback())',
    'context.approvals.quorum.containsAll([Quorum::"a:1", Quorum::"b:2"])',
    'context has subject && context["subject"] == User::"corp:ann"',
    "if context.input.urgent then context.input.amount < 5 else -(context.input.amount) >= -7",
    'resource.kind like "char*\\*ge"',
    'principal is Agent in Group::"x"',
    '{"a": 1, "b c": [1, 2]}["b c"].contains(2)',
    'context.input["if"] == "quote \\" and \\u{1f600} and \\n"',
    'context.approvals.age < duration("10m") && context.approvals.by.isEmpty()',
    'context.req.now.toTime() < duration("8h")',
    'context.input.rate.lessThan(decimal("12.35"))',
    'principal in [Group::"a", Group::"b"]',
    "(context.input.amount + 3) * 2 - 1 == 9",
)  # fmt: skip


def condition(text: str) -> object:
    form = json.loads(policies_to_json_str(f"permit(principal,action,resource) when {{ {text} }};"))
    return form["staticPolicies"]["policy0"]["conditions"][0]["body"]


def read(text: str) -> Node:
    return tree(condition(text))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", CONDITIONS)
def test_the_text_shown_to_people_says_what_cedar_was_told(text: str) -> None:
    assert condition(render(read(text))) == condition(text)


@given(
    st.recursive(
        st.sampled_from(CONDITIONS),
        lambda x: st.builds("({}) {} !({})".format, x, st.sampled_from(["&&", "||"]), x),
        max_leaves=8,
    )
)
def test_compound_conditions_keep_their_meaning_when_shown(text: str) -> None:
    assert condition(render(read(text))) == condition(text)


def test_the_paths_read_are_the_paths_written() -> None:
    paths = set(context_reads(read('context.req.now.toTime() < duration("8h") && context.input has a && "a" == "b"')))
    assert paths == {("req", "now"), ("input", "a")}


def test_extended_has_reads_every_step() -> None:
    assert set(context_reads(read("context has input.amount"))) == {("input",), ("input", "amount")}


@pytest.mark.parametrize(
    "text", ["context == context", '{"a": context}.a.b == 1', "(if true then context else context).input.a == 1"]
)
def test_a_context_that_is_passed_on_counts_as_read_whole(text: str) -> None:
    assert () in set(context_reads(read(text)))


def test_a_record_that_is_passed_on_covers_all_that_is_in_it() -> None:
    (path,) = set(context_reads(read('{"a": context.input}.a.amount == 1')))
    assert covers(path, ("input", "amount"))
    assert not covers(path, ("req", "ip"))


def test_a_form_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownForm):
        tree({"Unknown": {"something": 1}})
    with pytest.raises(UnknownForm):
        tree({"Value": {"__extn": {"fn": "ip", "arg": "::1"}}})


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ('resource == Resource::"a"', True),
        ("resource == context.input.a || resource != principal", True),
        ('resource in Resource::"a"', True),
        ('resource in [Upstream::"a", Resource::"b"]', True),
        ("resource in context.input.a", True),
        ('resource is Resource in Resource::"a"', True),
        ('[Resource::"a"].contains(resource)', True),
        ('{"a": resource}.a.kind == "x"', True),
        ("context.input.a in resource", True),
        ('resource.kind == "a" && resource has owner && resource.owner == "b"', False),
        ('resource in Upstream::"a" || resource in [Upstream::"a", Upstream::"b"]', False),
        ('resource is Resource && resource is Resource in Upstream::"a"', False),
        ('principal == Agent::"a" && principal in Group::"b"', False),
    ],
)
def test_an_entity_is_told_by_its_id_and_not_by_what_it_shares_with_others(text: str, tells: bool) -> None:
    assert identifies(read(text), "resource", within="Upstream") is tells
