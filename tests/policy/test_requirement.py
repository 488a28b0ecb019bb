"""What a gate asks for, read from its `unless`."""

from __future__ import annotations

import json

import pytest
from cedarpy import policies_to_json_str
from hypothesis import given
from hypothesis import strategies as st

from policy.expressions import tree
from policy.requirement import NotARequirement, requirement
from policy.verdict import Alternative, Need

LEADS = 'context.approvals.quorum.contains(Quorum::"leads:2")'
CFO = 'context.approvals.quorum.contains(Quorum::"cfo:1")'


def asked(unless: str) -> tuple[Alternative, ...]:
    form = json.loads(policies_to_json_str(f"forbid(principal,action,resource) unless {{ {unless} }};"))
    return requirement(tree(form["staticPolicies"]["policy0"]["conditions"][0]["body"]))


def needs(**groups: int) -> Alternative:
    return Alternative(needs=tuple(Need(group=group, people=people) for group, people in sorted(groups.items())))


def anyone(people: int) -> Alternative:
    return Alternative(needs=(Need(group="*", people=people),))


def test_a_quorum_is_so_many_people_of_a_group() -> None:
    assert asked(LEADS) == (needs(leads=2),)


def test_or_gives_alternatives_and_and_joins_them() -> None:
    assert asked(f"{LEADS} || {CFO}") == (needs(leads=2), needs(cfo=1))
    assert asked(f"{LEADS} && {CFO}") == (needs(leads=2, cfo=1),)
    assert asked(f"({LEADS} || {CFO}) && {CFO}") == (needs(leads=2, cfo=1), needs(cfo=1))


def test_all_quorums_of_a_set_or_any_of_them() -> None:
    both = '[Quorum::"leads:1", Quorum::"cfo:1"]'
    assert asked(f"context.approvals.quorum.containsAll({both})") == (needs(leads=1, cfo=1),)
    assert asked(f"context.approvals.quorum.containsAny({both})") == (needs(leads=1), needs(cfo=1))


@pytest.mark.parametrize(
    ("text", "people"), [("{0} >= 2", 2), ("{0} > 1", 2), ("2 <= {0}", 2), ("1 < {0}", 2), ("{0} >= 1", 1)]
)
def test_a_count_is_that_many_of_anyone_entitled(text: str, people: int) -> None:
    assert asked(text.format("context.approvals.count")) == (anyone(people),)


def test_named_people_and_other_conditions_are_shown_as_text() -> None:
    (one,) = asked('context.approvals.by.contains(User::"corp:ann") && context.approvals.age < duration("10m")')
    assert one.also == (
        'context.approvals.by.contains(User::"corp:ann")',
        'context.approvals.age < duration("10m")',
    )


@pytest.mark.parametrize(
    "text",
    [
        "true",
        'context.req.env == "dev"',
        f'{LEADS} || context.req.env == "dev"',
        "context.approvals.count >= 0",
        "context.approvals.count > -1",
        "context.approvals.count <= 5",
        'context.approvals.age < duration("10m")',
        "context.approvals.quorum.containsAny([])",
        "context.approvals.by.containsAll([])",
        f"!({LEADS})",
        f"if context.req.methodOverride then {LEADS} else true",
        "[1].contains(1)",
    ],
)
def test_a_gate_that_could_be_lifted_without_anybody_is_refused(text: str) -> None:
    with pytest.raises(NotARequirement):
        asked(text)


def test_a_gate_that_nobody_could_read_is_refused() -> None:
    pair = f"({LEADS} || {CFO})"
    with pytest.raises(NotARequirement, match="ways"):
        asked(" && ".join([pair] * 7))


ATOMS = st.sampled_from([LEADS, CFO, "context.approvals.count >= 3"])
TREES = st.recursive(ATOMS, lambda x: st.builds("({} {} {})".format, x, st.sampled_from(["&&", "||"]), x), max_leaves=5)


@given(TREES)
def test_every_alternative_of_approvals_alone_is_enough_by_itself(text: str) -> None:
    def met(quorum: set[str], count: int) -> bool:
        python = text.replace(LEADS, str("leads:2" in quorum)).replace(CFO, str("cfo:1" in quorum))
        python = python.replace("context.approvals.count", str(count)).replace("&&", "and").replace("||", "or")
        return bool(eval(python))

    for one in asked(text):
        people = {need.group: need.people for need in one.needs}
        quorum = {f"{group}:{number}" for group, number in people.items()}
        assert met(quorum, people.get("*", 0))
