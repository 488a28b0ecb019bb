"""The policies that are shipped: they refuse and hold, whatever is granted beside them."""

from __future__ import annotations

from typing import Any

import pytest

from policy.call import Resource, Sensitivity
from policy.operation import unknown
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny
from tests.policy.enacted import DELETE, GRANT, NOW, READ, SHIPPED, TRANSFER, a_call_of, engine

LAW = engine(SHIPPED, GRANT)


def of_unknown(method: str = "GET", **changes: Any) -> Any:
    return a_call_of(unknown("crm", method), resource=Resource(kind="resource", id="crm/resource//x"), **changes)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_operation_that_the_catalogue_does_not_name_is_held_even_where_everything_is_granted(method: str) -> None:
    verdict = LAW.judge(of_unknown(method), now=NOW)
    assert isinstance(verdict, Ask)
    assert "base-unknown-operation" in verdict.policies
    assert isinstance(LAW.judge(of_unknown(method), now=NOW, approvals=Approvals(count=1)), Allow)


def test_an_unknown_operation_that_nobody_granted_is_denied() -> None:
    verdict = engine(SHIPPED).judge(of_unknown(), now=NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.NO_POLICY_PERMITS


def test_a_method_override_is_refused_and_no_approval_helps() -> None:
    verdict = LAW.judge(a_call_of(READ, method_override=True), now=NOW, approvals=Approvals(count=5))
    assert isinstance(verdict, Deny)
    assert verdict.policies == ("base-method-override",)


def test_data_that_nobody_looked_at_leaves_only_after_somebody_has() -> None:
    unseen = Sensitivity(labels=frozenset({"unscanned"}))
    assert isinstance(LAW.judge(a_call_of(DELETE, sensitivity=unseen), now=NOW), Ask)
    assert isinstance(LAW.judge(a_call_of(TRANSFER, {"amount": 1}, sensitivity=unseen), now=NOW), Ask)
    assert isinstance(LAW.judge(a_call_of(READ, sensitivity=unseen), now=NOW), Allow)


def test_ordinary_calls_are_not_held() -> None:
    for call in (a_call_of(READ), a_call_of(DELETE), a_call_of(TRANSFER, {"amount": 1})):
        assert isinstance(LAW.judge(call, now=NOW), Allow)
