"""The vocabulary of annotations, and how obligations join."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.annotations import LOG_LEVELS, VOCABULARY, Kind, complaints, join, kind_of, obligations
from policy.operation import Tier
from policy.verdict import Obligations

NAMES = st.frozensets(st.sampled_from(["a", "b", "c"]))
OBLIGATIONS = st.builds(
    Obligations,
    queues=NAMES,
    timeout_s=st.none() | st.integers(1, 1000),
    severity=st.none() | st.sampled_from(Tier),
    notify=NAMES,
    log=st.none() | st.sampled_from(LOG_LEVELS),
    redact=NAMES,
    remedies=NAMES,
    channels=NAMES,
    step_up=st.booleans(),
)


@given(OBLIGATIONS, OBLIGATIONS, OBLIGATIONS)
def test_joins_do_not_depend_on_order_or_repetition(a: Obligations, b: Obligations, c: Obligations) -> None:
    assert join([a, b, c]) == join([c, a, b]) == join([join([a, b]), c])
    assert join([a, a]) == join([a]) == a
    assert join([a, Obligations()]) == a


def test_the_shortest_timeout_the_highest_severity_and_the_fullest_log_win() -> None:
    joined = join(
        [
            Obligations(timeout_s=60, severity=Tier.LOW, log="full"),
            Obligations(timeout_s=30, severity=Tier.HIGH, log="metadata"),
            Obligations(severity=Tier.MEDIUM),
        ]
    )
    assert (joined.timeout_s, joined.severity, joined.log) == (30, Tier.HIGH, "full")


def test_annotations_become_what_the_workflow_reads() -> None:
    said = obligations(
        {"id": "x", "hold": "finance, sre", "timeout": "30m", "severity": "high", "stepup": "", "channel": "console"}
    )
    assert said.queues == {"finance", "sre"}
    assert said.timeout_s == 1800
    assert said.severity is Tier.HIGH
    assert said.step_up
    assert said.channels == {"console"}


def test_a_forbid_with_a_hold_is_a_gate_and_any_other_a_prohibition() -> None:
    assert kind_of(effect="forbid", annotations={"hold": "q"}) is Kind.GATE
    assert kind_of(effect="forbid", annotations={"id": "x"}) is Kind.PROHIBITION
    assert kind_of(effect="permit", annotations={"hold": "q"}) is Kind.GRANT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("timeout", "30 minutes"),
        ("timeout", "0s"),
        ("timeout", "31d"),
        ("timeout", "-5m"),
        ("severity", "urgent"),
        ("hold", ""),
        ("hold", "a,,b"),
        ("hold", "two words"),
        ("stepup", "false"),
        ("remedy", " "),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, text: str) -> None:
    assert complaints({name: text}, kind=Kind.GATE)


@pytest.mark.parametrize("name", sorted(VOCABULARY))
@pytest.mark.parametrize("kind", Kind)
def test_an_annotation_stands_only_where_it_means_something(name: str, kind: Kind) -> None:
    fine = {"timeout": "5m", "severity": "low", "log": "full", "stepup": "", "on_client_gone": "keep"}.get(name, "x")
    assert bool(complaints({name: fine}, kind=kind)) is (kind not in VOCABULARY[name])


def test_an_annotation_that_does_not_exist_is_refused() -> None:
    ((name, message),) = complaints({"approved": "true"}, kind=Kind.GRANT)
    assert name == "approved"
    assert "not an annotation" in message
