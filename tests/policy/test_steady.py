"""Which operations' verdicts may be kept as long as the bundle, and that they then really do not change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import facts
from policy.call import CallId, Recent
from policy.engine import Engine
from policy.facts import FACTS, RECORDS
from policy.verdict import Approvals
from tests.fakes.values import REFUND
from tests.policy.enacted import GRANT, NOW, READ, REFUNDS, SHIPPED, a_refund, bundle, engine

STEADY = {
    ("req", "method"): 'context.req.method == "POST"',
    ("req", "upstream"): 'context.req.upstream == "stripe"',
    ("req", "env"): 'context.req.env == "prod"',
    ("req", "path"): 'context.req.path like "/v1/*"',
    ("req", "ip"): 'context.req.ip.isInRange(ip("10.0.0.0/8"))',
    ("req", "tier"): 'context.req.tier == "high"',
    ("req", "methodOverride"): "!context.req.methodOverride",
    ("req", "bodyLength"): "context.req.bodyLength < 1000",
    ("sensitivity", "labels"): 'context.sensitivity.labels.contains(Label::"pii")',
    ("sensitivity", "count"): "context.sensitivity.count > 2",
    ("subject",): 'context has subject && context.subject == User::"corp:ann"',
    ("stated", "reason"): 'context.stated has reason && context.stated.reason like "*parcel*"',
    ("stated", "session"): 'context.stated has session && context.stated.session == "s"',
    ("stated", "task"): 'context.stated has task && context.stated.task == "t"',
    ("stated", "model"): 'context.stated has model && context.stated.model == "m"',
    ("input", "amount"): "context.input has amount && context.input.amount < 30000",
}
UNSTEADY = {
    ("req", "now"): 'context.req.now < datetime("2026-01-05T12:00:01Z")',
    ("req", "weekday"): "context.req.weekday == 1",
    ("req", "sample"): "context.req.sample < 6000",
    ("recent", "callsMinute"): "context.recent.callsMinute < 5",
    ("recent", "callsHour"): "context.recent.callsHour < 5",
    ("recent", "callsDay"): "context.recent.callsDay < 5",
    ("recent", "sumMinute"): "context.recent.sumMinute < 5",
    ("recent", "sumHour"): "context.recent.sumHour < 5",
    ("recent", "sumDay"): "context.recent.sumDay < 5",
}
ASSENTED = {
    ("approvals", "count"): "context.approvals.count >= 2",
    ("approvals", "by"): 'context.approvals.by.contains(User::"corp:ann")',
    ("approvals", "quorum"): 'context.approvals.quorum.contains(Quorum::"cfo:1")',
    ("approvals", "age"): 'context.approvals.count >= 1 && context.approvals.age < duration("10m")',
}
WHOLE = ('{"req": context.req}.req.method == "POST"', '{"a": context.recent}.a has callsDay')
"""A record that is passed on as a whole hands on what is not steady in it."""


def grant(condition: str) -> str:
    return (
        f'@id("g") permit (principal is Agent, action == Action::"{REFUND.name}", resource) when {{ {condition} }};'
        f' @id("r") permit (principal is Agent, action == Action::"{READ.name}", resource);'
    )


def gate(requirement: str) -> str:
    return f'{GRANT} @id("h") @hold("q") forbid (principal is Agent, action, resource) unless {{ {requirement} }};'


def test_every_fact_of_a_call_is_here_on_one_side_or_the_other() -> None:
    assert {fact.path for fact in FACTS} | {("input", "amount")} == {*STEADY, *UNSTEADY, *ASSENTED}
    assert {path[0] for path in (*STEADY, *UNSTEADY, *ASSENTED)} - {"subject"} == set(RECORDS)


@pytest.mark.parametrize("condition", STEADY.values())
def test_a_policy_on_what_the_call_itself_brings_is_steady(condition: str) -> None:
    assert engine(grant(condition)).steady(REFUND.name)


@pytest.mark.parametrize("condition", [*UNSTEADY.values(), *WHOLE])
def test_a_policy_on_clock_chance_or_counters_is_not_steady(condition: str) -> None:
    law = engine(grant(condition))
    assert not law.steady(REFUND.name)
    assert law.steady(READ.name), "only the operations that the policy is about are touched"


@pytest.mark.parametrize("requirement", ASSENTED.values())
def test_a_gate_is_steady_for_calls_that_nobody_has_assented_to(requirement: str) -> None:
    assert engine(gate(requirement)).steady(REFUND.name)


def test_a_gate_that_looks_at_the_clock_beside_its_approvals_is_not_steady() -> None:
    assert not engine(gate("context.approvals.count >= 1 && context.req.weekday == 1")).steady(REFUND.name)


def test_a_prohibition_and_a_gate_that_look_at_the_clock_are_not_steady() -> None:
    monday = "when { context.req.weekday == 1 }"
    forbidding = f'@id("f") forbid (principal is Agent, action, resource) {monday};'
    assent = "unless { context.approvals.count > 0 }"
    holding = f'@id("f") @hold("q") forbid (principal is Agent, action, resource) {monday} {assent};'
    assert not engine(GRANT, forbidding).steady(REFUND.name)
    assert not engine(GRANT, holding).steady(REFUND.name)


def test_the_answer_is_the_same_when_asked_again() -> None:
    law = engine(grant(UNSTEADY["req", "sample"]))
    assert [law.steady(name) for name in (REFUND.name, READ.name) * 2] == [False, True] * 2


def test_nothing_is_said_of_an_operation_that_the_bundle_does_not_know_nor_is_it_kept() -> None:
    law = engine(GRANT)
    assert not law.steady("stripe:nothing.such")
    assert not law._known
    assert law.steady("stripe:unknown")


def test_the_shipped_and_the_demo_like_policies_are_steady() -> None:
    assert engine(SHIPPED, REFUNDS).steady(REFUND.name)


MADE = {condition: bundle(grant(condition)) for condition in STEADY.values()}


@given(
    st.sampled_from(sorted(MADE)),
    st.sampled_from(["10.1.2.3", "192.0.2.1"]),
    st.integers(0, 9999),
    st.floats(0, 4e9),
    st.builds(Recent, calls_day=st.integers(0, 99), sum_day=st.integers(0, 10**12)),
)
@settings(deadline=None)
def test_the_same_call_later_with_another_id_and_other_counters_is_judged_the_same(
    condition: str, peer: str, sample: int, now: float, recent: Recent
) -> None:
    once = a_refund(8_000, peer=peer)
    again = replace(once, id=CallId("call_01JTESTTESTTESTTESTTESTTEX"), sample=sample, received_at=now)
    first = Engine(MADE[condition]).judge(once, now=NOW)
    assert Engine(MADE[condition]).judge(again, now=now, recent=recent) == first


def test_without_assent_the_approvals_are_the_same_at_any_time() -> None:
    reads = frozenset({("approvals",)})
    seen = facts.view(REFUND, reads)
    assert len(seen.facts) == len(ASSENTED)
    assert facts.repeats(seen)
    made = bundle(GRANT)
    moments = [
        facts.Moment(
            call=a_refund(1), known=REFUND, now=now, recent=Recent(), approvals=Approvals(),
            labels=made.labels, quorums=made.quorums,
        )
        for now in (0.0, NOW)
    ]  # fmt: skip
    assert facts.context(seen, moments[0]) == facts.context(seen, moments[1])
