"""What the engine remembers, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.bundle import Bundle
from policy.call import AgentWords, Call, Input, Resource
from policy.engine import Engine
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny
from tests.fakes.values import ROBOT, a_call
from tests.policy.enacted import GRANT, NOW, REFUNDS, SHIPPED, a_refund, bundle, engine

CLOCK = """@id("freeze") @reason("frozen") forbid (principal is Agent, action, resource)
when { context.req.now >= datetime("2026-01-05T12:00:00Z") };"""


def remembered(law: Engine) -> int:
    return len(law._remembered)


def test_an_allowed_and_a_denied_call_are_remembered_and_a_held_one_is_not() -> None:
    law = engine(SHIPPED, REFUNDS)
    first = law.judge(a_refund(8_000), now=NOW)
    assert law.judge(a_refund(8_000), now=NOW + 9999) is first
    denied = law.judge(a_refund(8_000, peer="192.0.2.1"), now=NOW)
    assert law.judge(a_refund(8_000, peer="192.0.2.1"), now=NOW) is denied
    assert isinstance(denied, Deny)
    before = remembered(law)
    assert isinstance(law.judge(a_refund(25_000), now=NOW), Ask)
    assert remembered(law) == before


def test_an_error_is_not_remembered() -> None:
    law = engine(SHIPPED, REFUNDS)
    law.judge(a_refund(8_000, peer="nonsense"), now=NOW)
    assert remembered(law) == 0


def test_a_verdict_with_approvals_is_neither_remembered_nor_recalled() -> None:
    law = engine(SHIPPED, REFUNDS)
    evidence = Approvals(count=1, quorum=frozenset({"finance-leads:1"}))
    assert isinstance(law.judge(a_refund(25_000), now=NOW, approvals=evidence), Allow)
    assert isinstance(law.judge(a_refund(25_000), now=NOW), Ask)
    assert remembered(law) == 0


def test_a_verdict_that_rests_on_the_clock_lives_a_second() -> None:
    law = engine(GRANT, CLOCK)
    assert isinstance(law.judge(a_call(), now=NOW - 0.5), Allow)
    assert isinstance(law.judge(a_call(), now=NOW + 0.4), Allow)
    assert isinstance(law.judge(a_call(), now=NOW + 0.5), Deny)


def test_a_clock_that_goes_back_is_judged_anew() -> None:
    law = engine(GRANT, CLOCK)
    assert isinstance(law.judge(a_call(), now=NOW + 5), Deny)
    assert isinstance(law.judge(a_call(), now=NOW - 5), Allow)


def test_what_no_policy_reads_does_not_make_a_call_another_one() -> None:
    law = engine(GRANT)
    first = law.judge(a_refund(1), now=NOW)
    assert law.judge(a_refund(2, words=AgentWords(reason="other"), sample=7), now=NOW) is first


def test_the_memory_is_bounded_and_loses_the_oldest_first() -> None:
    law = Engine(bundle(GRANT), cache_size=3)
    calls = [a_call(resource=Resource(kind="charge", id="stripe/charge/1", owner=f"o{n}")) for n in range(4)]
    first, second, *_ = [law.judge(call, now=NOW) for call in calls]
    assert remembered(law) == 3
    assert law.judge(calls[1], now=NOW) is second
    assert law.judge(calls[0], now=NOW) is not first


def test_an_agent_cannot_fill_the_memory_with_long_texts() -> None:
    law = engine(GRANT.replace(";", ' when { context.input has charge && context.input.charge != "x" };').replace(
        "action,", 'action == Action::"stripe:refunds.create",'))  # fmt: skip
    law.judge(a_call(input=Input(values={"charge": "y" * 5000})), now=NOW)
    assert remembered(law) == 0


def test_true_and_one_are_not_the_same_question() -> None:
    text = GRANT.replace("action,", 'action == Action::"stripe:refunds.create",')
    law = engine(text.replace(";", " when { context.input has amount && context.input.amount == 1 };"))
    assert isinstance(law.judge(a_refund(1), now=NOW), Allow)
    assert isinstance(law.judge(a_refund(True), now=NOW), Deny)


def about(name: str, *, owner: str | None = None) -> Call:
    return a_call(resource=Resource(kind="charge", id=name, owner=owner))


def test_where_no_policy_names_an_object_every_object_is_the_same_question() -> None:
    law = engine(SHIPPED, GRANT)
    first = law.judge(about("stripe/charge/1"), now=NOW)
    assert law.judge(about("stripe/charge/2"), now=NOW) is first
    assert law.judge(about("stripe/charge/2", owner="acme"), now=NOW) is not first
    assert law.judge(a_call(resource=Resource(kind="refund", id="stripe/charge/1")), now=NOW) is not first


@pytest.mark.parametrize(
    "forbidding",
    [
        '(principal is Agent, action, resource == Resource::"stripe/charge/2")',
        '(principal is Agent, action, resource in Resource::"stripe/charge/2")',
        '(principal is Agent, action, resource is Resource in Resource::"stripe/charge/2")',
        '(principal is Agent, action, resource) when { resource == Resource::"stripe/charge/2" }',
        '(principal is Agent, action, resource) when { resource in [Resource::"x", Resource::"stripe/charge/2"] }',
        '(principal is Agent, action, resource) when { resource is Resource in Resource::"stripe/charge/2" }',
        '(principal is Agent, action, resource) when { Resource::"stripe/charge/2" in resource }',
        '(principal is Agent, action, resource) when { [Resource::"stripe/charge/2"].contains(resource) }',
        '(principal is Agent, action, resource) when { {"a": resource}.a == Resource::"stripe/charge/2" }',
        '(principal is Agent, action, resource) unless { resource != Resource::"stripe/charge/2" }',
        '(principal, action, resource) when { (if true then resource else resource) == Resource::"stripe/charge/2" }',
    ],
)
def test_a_policy_that_names_an_object_is_asked_about_each_and_the_others_keep_their_verdict(forbidding: str) -> None:
    law = engine(GRANT, f'@id("no") forbid {forbidding};')
    assert isinstance(law.judge(about("stripe/charge/1"), now=NOW), Allow)
    assert isinstance(law.judge(about("stripe/charge/2"), now=NOW), Deny)
    assert isinstance(law.judge(about("stripe/charge/3", owner="acme"), now=NOW), Allow)
    assert isinstance(law.judge(about("stripe/charge/2", owner="acme"), now=NOW), Deny)


@pytest.mark.parametrize(
    "condition",
    [
        'resource in Upstream::"stripe"',
        'resource in [Upstream::"stripe", Upstream::"crm"]',
        "resource is Resource",
        'resource is Resource in Upstream::"stripe"',
        'resource has owner && resource.owner == "acme"',
        'resource.kind like "ch*"',
        'resource.kind != "x" && !(resource in Upstream::"crm")',
    ],
)
def test_a_policy_on_what_objects_have_in_common_names_none(condition: str) -> None:
    law = engine(GRANT, GRANT.replace("grant", "more").replace(";", f" when {{ {condition} }};"))
    law.judge(about("stripe/charge/1"), now=NOW)
    law.judge(about("stripe/charge/2"), now=NOW)
    assert remembered(law) == 1


def test_an_object_whose_id_cedar_cannot_read_is_refused_also_where_no_policy_names_it() -> None:
    law = engine(GRANT)
    assert isinstance(law.judge(about("stripe/charge/é"), now=NOW), Allow)
    denied = law.judge(about("stripe/charge/\ud800"), now=NOW)
    assert isinstance(denied, Deny)
    assert denied.reason is Reason.POLICY_ERROR


def test_what_an_agent_calls_its_objects_and_their_owners_is_not_kept() -> None:
    law = engine(GRANT)
    for number in range(9):
        law.judge(about(f"stripe/charge/{number}", owner=f"owner {number}"), now=NOW)
    assert len(law._entities) == 1
    law.judge(about("stripe/charge/1"), now=NOW)
    law.judge(about("stripe/charge/2"), now=NOW)
    assert len(law._entities) == 2
    law.judge(about("stripe/charge/1", owner="o" * 5000), now=NOW)
    assert all("o" * 5000 not in str(key) for key in law._remembered)


VARIANTS = st.builds(
    lambda amount, agent, groups, owner, peer, environment, resource, holder: a_refund(
        amount,
        principal=replace(ROBOT, agent=agent, groups=groups, owner=owner),
        peer=peer,
        environment=environment,
        resource=Resource(kind="charge", id=f"stripe/charge/{resource}", owner=holder),
    ),
    st.sampled_from([1, 20_000, 600_000]),
    st.sampled_from([Identity("corp:robot"), Identity("corp:other")]),
    st.sampled_from([frozenset({"billing-agents"}), frozenset()]),
    st.sampled_from([None, Identity("corp:olga")]),
    st.sampled_from(["10.0.0.1", "192.0.2.1"]),
    st.sampled_from(["prod", "dev"]),
    st.sampled_from(["1", "2", "*", "é"]),
    st.sampled_from([None, "acme"]),
)
EVERYTHING = """@id("by-owner") permit (principal is Agent, action == Action::"stripe:refunds.create", resource)
when { principal has owner && principal.owner == User::"corp:olga" && resource has owner && resource.owner == "acme"
  && resource in Upstream::"stripe" && Upstream::"stripe".env == "dev" };
@id("by-id") forbid (principal == Agent::"corp:other", action, resource == Resource::"stripe/charge/2");"""

MADE = bundle(SHIPPED, REFUNDS, EVERYTHING)
NAMELESS = bundle(SHIPPED, REFUNDS, EVERYTHING.partition('@id("by-id")')[0])
"""The same, with no policy that names an object."""


@given(st.lists(VARIANTS, min_size=2, max_size=12), st.sampled_from([MADE, NAMELESS]))
@settings(deadline=None)
def test_memory_never_changes_a_verdict(calls: list[Call], made: Bundle) -> None:
    remembering = Engine(made)
    for call in calls:
        assert remembering.judge(call, now=NOW) == Engine(made).judge(call, now=NOW)
