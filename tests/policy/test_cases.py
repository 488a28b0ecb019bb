"""Policy test cases: read from plain data, run against a bundle, told apart when they fail."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policy.casefile import CasesRefused, read
from policy.cases import Circumstances, ways
from policy.cases import run as run_case
from policy.verdict import Alternative, Gate, Need
from tests.policy.enacted import REFUNDS, SHIPPED, engine

LAW = engine(SHIPPED, REFUNDS)
FILE = yaml.safe_load((Path(__file__).parent / "cases.yaml").read_text("utf-8"))
SMALL = FILE["cases"][0]
LARGE = FILE["cases"][1]
APPROVE = FILE["cases"][-2]


def differences(case: dict[str, Any]) -> tuple[str, ...]:
    (read_case,) = read({"cases": [case]})
    return run_case(LAW, read_case).differences


def problems(case: object) -> tuple[str, ...]:
    with pytest.raises(CasesRefused) as refused:
        read({"cases": [case]})
    return refused.value.problems


@pytest.mark.parametrize("case", read(FILE), ids=lambda case: case.name)
def test_the_example_cases_pass(case: Any) -> None:
    assert run_case(LAW, case).differences == ()


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ({**SMALL, "expect": "deny"}, "expected deny, got allow by refunds"),
        ({**SMALL, "policies": ["other"]}, "expected it by other, got it by refunds"),
        ({**SMALL, "reason": "forbidden"}, "expected the reason forbidden, got permitted"),
        ({**LARGE, "needs": {"cfo": 1}}, "expected it to need 1 of cfo, it needs 1 of finance-leads"),
        ({**SMALL, "needs": {"cfo": 1}}, "it needs nobody"),
        ({**SMALL, "operation": "stripe:refunds.creat"}, 'did you mean "stripe:refunds.create"?'),
        ({**APPROVE, "expect": "refused"}, "expected refused, got permitted"),
        ({**APPROVE, "person": {"identity": "corp:olga"}}, "expected permitted, got refused: own-call"),
        ({**APPROVE, "reason": "own-call"}, "expected the reason own-call, got permitted"),
    ],
)
def test_a_case_that_fails_says_how(case: dict[str, Any], told: str) -> None:
    assert any(told in one for one in differences(case)), differences(case)


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ({**SMALL, "expct": "allow"}, 'there is no key "expct" (did you mean "expect"?)'),
        ({**SMALL, "expect": "maybe"}, "expect should be one of allow, ask, deny"),
        ({**SMALL, "req": {"now": "noon"}}, "now should be a time"),
        ({**SMALL, "req": "none"}, "expected a mapping"),
        ({**SMALL, "input": {"amount": 1.5}}, "a decimal is text"),
        ({**SMALL, "recent": {"callsDay": "many"}}, "callsDay should be a whole number"),
        ({**SMALL, "labels": "pii"}, "labels should be a list"),
        ({**APPROVE, "act": "amend"}, "act should be one of view, approve, reject, withdraw"),
        ({"operation": "x:y"}, "has no name"),
        ({"name": "x", "operation": "x:y"}, "does not say what to expect"),
        ("nonsense", "expected a mapping"),
    ],
)
def test_data_that_is_no_case_is_refused_with_every_problem(case: object, told: str) -> None:
    assert any(told in one for one in problems(case)), problems(case)


def test_a_file_without_cases_is_refused() -> None:
    with pytest.raises(CasesRefused):
        read({})
    with pytest.raises(CasesRefused):
        read(["a"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SMALL, *APPROVE, "x"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_no_data_at_all_is_more_than_refused(content: object) -> None:
    with suppress(CasesRefused):
        assert read({"cases": [content]})


def test_what_a_case_leaves_out_is_harmless() -> None:
    (case,) = read({"cases": [{"name": "x", "operation": "crm:customers.read", "expect": "deny"}]})
    some = case.circumstances
    assert (some.sample, some.labels, some.method_override, some.now) == (9999, frozenset(), False, Circumstances.NOW)


def test_times_are_read_however_yaml_gives_them() -> None:
    for text in ("2026-01-05T12:00:00Z", "'2026-01-05T12:00:00+00:00'", "1767614400", "2026-01-05 12:00:00"):
        now = yaml.safe_load(text)
        (case,) = read({"cases": [{**SMALL, "req": {"now": now}}]})
        assert case.circumstances.now == Circumstances.NOW


def test_the_ways_through_several_gates_join_the_larger_number_of_each_group() -> None:
    def way(**groups: int) -> Alternative:
        return Alternative(needs=tuple(Need(group=group, people=people) for group, people in groups.items()))

    gates = [Gate(policy="a", any_of=(way(x=1), way(y=2))), Gate(policy="b", any_of=(way(x=3),))]
    assert ways(gates) == {frozenset({("x", 3)}), frozenset({("x", 3), ("y", 2)})}
