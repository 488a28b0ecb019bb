"""The verdict: its order, its errors, its evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.call import AgentWords, Input, Recent, Resource, Sensitivity
from policy.operation import Tier, unknown
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny, Need, Verdict
from tests.fakes.values import ROBOT, a_call
from tests.policy.enacted import (
    DELETE,
    GRANT,
    NOW,
    READ,
    REFUNDS,
    SHIPPED,
    TRANSFER,
    a_call_of,
    a_refund,
    engine,
    judged,
)

LAW = engine(SHIPPED, REFUNDS)
OVERFLOW = """@id("overflow") forbid (principal is Agent, action, resource)
when { context.req.bodyLength * 9223372036854775807 > 0 };"""


def reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Deny), verdict
    return verdict.reason


def approved(*quorum: str, count: int = 1) -> Approvals:
    return Approvals(count=count, by=frozenset({Identity("corp:ann")}), quorum=frozenset(quorum), age_s=5)


def test_a_granted_call_is_allowed_with_the_obligations_of_its_grants() -> None:
    verdict = LAW.judge(a_refund(8_000), now=NOW)
    assert isinstance(verdict, Allow)
    assert verdict.policies == ("refunds",)
    assert verdict.obligations.log == "full"
    assert verdict.obligations.notify == {"#billing"}
    assert verdict.bundle == LAW.bundle.digest


def test_a_gate_asks_for_what_its_unless_says() -> None:
    verdict = LAW.judge(a_refund(25_000), now=NOW)
    assert isinstance(verdict, Ask)
    assert verdict.policies == ("refund-over-100", "refunds")
    (gate,) = verdict.gates
    assert gate.policy == "refund-over-100"
    assert gate.any_of[0].needs == (Need(group="finance-leads", people=1),)
    assert verdict.obligations.queues == {"finance"}
    assert verdict.obligations.timeout_s == 1800


def test_several_gates_ask_together_and_their_obligations_join() -> None:
    verdict = LAW.judge(a_refund(250_000), now=NOW)
    assert isinstance(verdict, Ask)
    assert [gate.policy for gate in verdict.gates] == ["refund-over-100", "refund-over-1000"]
    assert verdict.obligations.queues == {"finance", "board"}
    assert (verdict.obligations.timeout_s, verdict.obligations.severity) == (1800, Tier.HIGH)


def test_a_call_that_no_policy_permits_is_denied_and_not_queued() -> None:
    assert reason(LAW.judge(a_refund(900_000), now=NOW)) is Reason.NO_POLICY_PERMITS
    stranger = replace(ROBOT, groups=frozenset())
    assert reason(LAW.judge(a_refund(25_000, principal=stranger), now=NOW)) is Reason.NO_POLICY_PERMITS


def test_a_prohibition_denies_with_its_reason_and_its_id_alone() -> None:
    verdict = LAW.judge(a_refund(25_000, peer="203.0.113.9"), now=NOW)
    assert reason(verdict) is Reason.FORBIDDEN
    assert verdict.policies == ("corporate-network",)
    assert isinstance(verdict, Deny)
    assert verdict.explanations == ("Writes come from the corporate network.",)


def test_no_approval_lifts_a_prohibition() -> None:
    everyone = approved("finance-leads:1", "finance-leads:2", "cfo:1", count=9)
    verdict = LAW.judge(a_refund(25_000, peer="203.0.113.9"), now=NOW, approvals=everyone)
    assert reason(verdict) is Reason.FORBIDDEN


def test_approval_is_evidence_that_the_gates_own_unless_weighs() -> None:
    assert isinstance(LAW.judge(a_refund(25_000), now=NOW, approvals=approved("cfo:1")), Ask)
    assert isinstance(LAW.judge(a_refund(25_000), now=NOW, approvals=approved("finance-leads:1")), Allow)
    one = LAW.judge(a_refund(250_000), now=NOW, approvals=approved("finance-leads:1"))
    assert isinstance(one, Ask)
    assert [gate.policy for gate in one.gates] == ["refund-over-1000"]
    both = approved("finance-leads:1", "finance-leads:2", count=2)
    assert isinstance(LAW.judge(a_refund(250_000), now=NOW, approvals=both), Allow)


def test_a_quorum_of_a_group_that_is_no_longer_configured_is_no_evidence() -> None:
    assert isinstance(LAW.judge(a_refund(25_000), now=NOW, approvals=approved("old-group:1", "cfo:7")), Ask)


def test_an_erroring_prohibition_denies() -> None:
    assert isinstance(judged(GRANT), Allow)
    verdict = judged(f"{GRANT}\n{OVERFLOW}")
    assert reason(verdict) is Reason.POLICY_ERROR
    assert verdict.policies == ("overflow",)


def test_an_erroring_gate_and_an_erroring_grant_deny() -> None:
    gate = OVERFLOW.replace("forbid", '@hold("q") forbid').replace(";", " unless { context.approvals.count >= 1 };")
    assert reason(judged(f"{GRANT}\n{gate}")) is Reason.POLICY_ERROR
    grant = OVERFLOW.replace("forbid", "permit")
    assert reason(judged(f"{GRANT}\n{grant}")) is Reason.POLICY_ERROR


def test_an_error_never_quotes_what_the_call_carries() -> None:
    call = a_call(body_length=777_777, words=AgentWords(reason="hunter2"))
    verdict = engine(f"{GRANT}\n{OVERFLOW}").judge(call, now=NOW)
    assert isinstance(verdict, Deny)
    assert "777" not in str(verdict)
    assert "hunter2" not in str(verdict)


def test_an_address_that_is_none_denies() -> None:
    assert reason(LAW.judge(a_refund(8_000, peer="not an address"), now=NOW)) is Reason.POLICY_ERROR


def test_a_time_beyond_the_calendar_denies() -> None:
    text = f"{GRANT} " + GRANT.replace("grant", "monday").replace(";", " when { context.req.weekday == 1 };")
    assert reason(judged(text, now=1e300)) is Reason.POLICY_ERROR


def test_an_action_group_reaches_every_operation_in_it() -> None:
    text = f'{GRANT} @id("no") forbid (principal is Agent, action in Action::"write", resource);'
    assert reason(judged(text, a_call_of(DELETE))) is Reason.FORBIDDEN
    assert reason(judged(text, a_call_of(TRANSFER, {"amount": 1}))) is Reason.FORBIDDEN
    assert isinstance(judged(text, a_call_of(READ)), Allow)


def test_an_operation_that_the_bundle_does_not_know_is_denied() -> None:
    stranger = replace(READ, name="crm:customers.list")
    assert reason(judged(GRANT, a_call_of(stranger))) is Reason.NO_POLICY_PERMITS
    assert reason(judged(GRANT, a_call_of(unknown("nowhere", "GET")))) is Reason.NO_POLICY_PERMITS


def test_an_operation_named_for_another_upstream_is_denied() -> None:
    assert reason(judged(GRANT, a_call_of(READ, upstream="stripe"))) is Reason.POLICY_ERROR


def test_a_field_that_could_not_be_read_denies_only_where_a_policy_reads_it() -> None:
    def call(*unreadable: str) -> Any:
        return a_call(input=Input(values={"charge": "ch_42"}, unreadable=frozenset(unreadable)))

    assert reason(LAW.judge(call("amount"), now=NOW)) is Reason.INPUT_UNREADABLE
    assert isinstance(judged(GRANT, call("amount")), Allow)
    assert reason(LAW.judge(call("currency"), now=NOW)) is Reason.NO_POLICY_PERMITS


def test_an_unreadable_field_denies_where_the_input_is_passed_on_as_a_whole() -> None:
    text = GRANT.replace(";", ' when { {"a": context.input}.a has charge };')
    call = a_call(input=Input(values={"charge": "ch_42"}, unreadable=frozenset({"currency"})))
    assert reason(judged(text, call)) is Reason.INPUT_UNREADABLE


def test_a_required_field_that_is_missing_denies() -> None:
    assert reason(judged(GRANT, a_call_of(TRANSFER, {"note": "x"}))) is Reason.INPUT_MISSING
    known = Input(values={"amount": 1}, missing=frozenset({"purpose"}))
    assert reason(judged(GRANT, a_call_of(TRANSFER, input=known))) is Reason.INPUT_MISSING
    unread = Input(unreadable=frozenset({"amount"}))
    assert reason(judged(GRANT, a_call_of(TRANSFER, input=unread))) is Reason.INPUT_UNREADABLE


@pytest.mark.parametrize(
    "values",
    [
        {"amount": True},
        {"amount": "1"},
        {"amount": 2**63},
        {"amount": 1, "rate": "12"},
        {"amount": 1, "rate": "1.23456"},
        {"amount": 1, "urgent": 1},
        {"amount": 1, "tags": "one"},
        {"amount": 1, "approvals": "9"},
        {"amount": 1, "note": {"__entity": {"type": "User", "id": "root"}}},
        {"amount": 1, "note": {"__extn": {"fn": "unknown", "arg": "x"}}},
    ],
)
def test_a_value_of_another_type_than_declared_denies_even_where_no_policy_reads_it(values: dict[str, Any]) -> None:
    assert reason(judged(GRANT, a_call_of(TRANSFER, values))) is Reason.INPUT_UNREADABLE


def test_every_declared_type_reaches_the_policy_as_that_type() -> None:
    text = GRANT.replace(
        ";",
        """ when { context.input.amount == 5 && context.input has rate && context.input.rate.lessThan(decimal("1.3"))
        && context.input has note && context.input.note == "hi" && context.input has urgent && context.input.urgent
        && context.input has tags && context.input.tags.containsAll(["a", "b"]) };""",
    ).replace("action,", 'action == Action::"bank:transfers.create",')
    values = {"amount": 5, "rate": "1.25", "note": "hi", "urgent": True, "tags": ("a", "b")}
    assert isinstance(judged(text, a_call_of(TRANSFER, values)), Allow)


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            '{"__entity": {"type": "User", "id": "root"}}',
            '{"__extn": {"fn": "unknown", "arg": "x"}}',
            'x"; permit(principal, action, resource); //',
            'Agent::"corp:admin"',
            "\u202e\x00\n\\",
            "\ud800",
        ]
    ),
)


FRIENDS = engine(
    """@id("friends")
    permit (principal == Agent::"corp:robot", action == Action::"bank:transfers.create", resource)
    when { context.input has note && context.input.note == "magic" };
    @id("admins")
    permit (
      principal in Group::"admins", action == Action::"bank:transfers.create", resource == Resource::"bank/thing/1"
    )
    when { context.input has note && context has subject && context.subject == User::"root" };"""
)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_text_in_a_call_is_ever_read_as_anything_but_text(agent: str, group: str, resource: str, note: str) -> None:
    call = a_call_of(
        TRANSFER,
        {"amount": 1, "note": note},
        principal=replace(ROBOT, agent=Identity(agent), groups=frozenset({group}), subject=Identity(note)),
        resource=Resource(kind=resource, id=f"bank/thing/{resource}", owner=note),
    )
    wanted = (agent == "corp:robot" and note == "magic") or (group == "admins" and resource == "1" and note == "root")
    assert isinstance(FRIENDS.judge(call, now=NOW), Allow) is wanted


def test_a_label_that_the_bundle_does_not_know_counts_as_unscanned() -> None:
    call = a_refund(8_000, sensitivity=Sensitivity(labels=frozenset({"brand-new-label"})))
    verdict = LAW.judge(call, now=NOW)
    assert isinstance(verdict, Ask)
    assert "base-unscanned-data" in verdict.policies


def test_the_labels_of_the_operation_in_force_count_even_where_the_call_lacks_them() -> None:
    labelled = replace(READ, labels=frozenset({"pii"}))
    text = f"{GRANT} " + GRANT.replace("grant", "no-pii").replace("permit", "forbid").replace(
        ";", ' when { context.sensitivity.labels.contains(Label::"pii") };'
    )
    law = engine(text, operations=(labelled,))
    assert reason(law.judge(a_call_of(READ), now=NOW)) is Reason.FORBIDDEN


def test_the_tier_is_that_of_the_catalogue_in_force_not_of_the_call() -> None:
    text = GRANT.replace(";", ' when { context.req.tier == "low" };')
    law = engine(text, operations=(replace(READ, tier=Tier.HIGH),))
    assert reason(law.judge(a_call_of(replace(READ, tier=Tier.LOW)), now=NOW)) is Reason.NO_POLICY_PERMITS


LIMIT = """@id("limit") @reason("ten a day") forbid (principal is Agent, action in Action::"write", resource)
when { context.recent.callsDay > 10 };"""


def test_limits_read_the_counters() -> None:
    law = engine(GRANT, LIMIT)
    assert law.reads_recent("crm:customers.delete")
    assert not law.reads_recent("crm:customers.read")
    assert not law.reads_recent("crm:nothing")
    assert isinstance(law.judge(a_call_of(DELETE), now=NOW, recent=Recent(calls_day=10)), Allow)
    assert reason(law.judge(a_call_of(DELETE), now=NOW, recent=Recent(calls_day=11))) is Reason.FORBIDDEN


def test_a_limit_whose_counters_are_missing_denies() -> None:
    assert reason(engine(GRANT, LIMIT).judge(a_call_of(DELETE), now=NOW)) is Reason.POLICY_ERROR


def test_a_sampling_gate_is_replayed_by_the_same_sample() -> None:
    gate = """@id("sample") @hold("q") forbid (principal is Agent, action, resource)
    when { context.req.sample < 200 } unless { context.approvals.count >= 1 };"""
    assert isinstance(judged(f"{GRANT} {gate}", a_call(sample=199)), Ask)
    assert isinstance(judged(f"{GRANT} {gate}", a_call(sample=200)), Allow)


def test_what_the_agent_states_is_there_for_policies_and_may_be_absent() -> None:
    text = GRANT.replace(";", ' when { context.stated has reason && context.stated.reason != "" };')
    assert isinstance(judged(text, a_call(words=AgentWords(reason="because"))), Allow)
    assert reason(judged(text, a_call(words=AgentWords()))) is Reason.NO_POLICY_PERMITS


@given(
    st.integers(0, 500_000),
    st.frozensets(st.sampled_from(["finance-leads:1", "finance-leads:2", "cfo:1"])),
    st.sampled_from(["finance-leads:1", "finance-leads:2", "cfo:1"]),
)
def test_one_more_approval_never_makes_a_verdict_worse(amount: int, quorum: frozenset[str], more: str) -> None:
    def rank(held: frozenset[str]) -> int:
        evidence = approved(*held, count=len(held)) if held else Approvals()
        verdict = LAW.judge(a_refund(amount), now=NOW, approvals=evidence)
        return {Deny: 0, Ask: 1, Allow: 2}[type(verdict)]

    assert rank(quorum | {more}) >= rank(quorum)


def test_an_explanation_says_what_decided_and_what_was_looked_at() -> None:
    explained = LAW.explain(a_refund(25_000), now=NOW)
    assert explained.verdict == LAW.judge(a_refund(25_000), now=NOW)
    assert [rule.id for rule in explained.determining] == ["refunds", "refund-over-100"]
    assert explained.determining[1].statement.line > 1
    assert "context.input.amount" in explained.reads
    assert "corporate-network" in {rule.id for rule in explained.considered}
    assert '"amount":25000' in explained.seen


def test_an_explanation_of_what_cannot_be_evaluated_is_still_given() -> None:
    assert reason(LAW.explain(a_call(words=AgentWords(reason="\ud800"), peer="\ud800"), now=NOW).verdict) is (
        Reason.POLICY_ERROR
    )
