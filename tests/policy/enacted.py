"""A small body of law to test with: operations, groups, labels, and policies made into an engine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from policy.bundle import Bundle, Source, build
from policy.call import Call, Input, Resource
from policy.engine import Engine
from policy.errors import BundleRefused, Problem
from policy.operation import Field, FieldType, Operation, OperationClass, Place
from policy.principal import Identity, Person
from policy.verdict import Verdict
from tests.fakes.values import REFUND, a_call

SHIPPED = files("policy").joinpath("cedar", "base.cedar").read_text("utf-8")
NOW = 1_767_614_400.0
"""Monday, 5 January 2026, 12:00 UTC."""
GROUPS = {"finance-leads": 2, "cfo": 1}
LABELS = frozenset({"pii", "secret"})


def _field(name: str, kind: FieldType, *, required: bool = False) -> Field:
    return Field(name=name, place=Place.BODY, path=(name,), type=kind, required=required)


DELETE = Operation(
    name="crm:customers.delete",
    upstream="crm",
    method="DELETE",
    template="/customers/{id}",
    classes=frozenset({OperationClass.DESTRUCTIVE}),
)
READ = Operation(
    name="crm:customers.read",
    upstream="crm",
    method="GET",
    template="/customers/{id}",
    classes=frozenset({OperationClass.READ}),
)
TRANSFER = Operation(
    name="bank:transfers.create",
    upstream="bank",
    method="POST",
    template="/transfers",
    classes=frozenset({OperationClass.MONEY}),
    fields=(
        _field("amount", FieldType.LONG, required=True),
        _field("rate", FieldType.DECIMAL),
        _field("note", FieldType.TEXT),
        _field("urgent", FieldType.BOOL),
        _field("tags", FieldType.TEXTS),
    ),
)
OPERATIONS = (REFUND, DELETE, READ, TRANSFER)

GRANT = '@id("grant") permit (principal is Agent, action, resource);'
REFUNDS = """
@id("refunds") @log("full") @notify("#billing")
permit (principal in Group::"billing-agents", action == Action::"stripe:refunds.create", resource in Upstream::"stripe")
when { context.input has amount && context.input.amount <= 500000 };

@id("refund-over-100") @hold("finance") @timeout("30m") @severity("medium") @remedy("a finance lead approves")
forbid (principal is Agent, action == Action::"stripe:refunds.create", resource)
when { context.input has amount && context.input.amount > 10000 }
unless { context.approvals.quorum.contains(Quorum::"finance-leads:1") };

@id("refund-over-1000") @hold("finance,board") @timeout("2h") @severity("high")
forbid (principal is Agent, action == Action::"stripe:refunds.create", resource)
when { context.input has amount && context.input.amount > 100000 }
unless {
  context.approvals.quorum.contains(Quorum::"finance-leads:2") || context.approvals.quorum.contains(Quorum::"cfo:1")
};

@id("corporate-network") @reason("Writes come from the corporate network.")
forbid (principal is Agent, action in Action::"write", resource)
unless { context.req.ip.isInRange(ip("10.0.0.0/8")) };

@id("leads-review")
permit (principal in Group::"finance-leads", action in Action::"review", resource in Upstream::"stripe");
@id("cfo-reviews")
permit (principal in Group::"cfo", action in Action::"review", resource is Held);
"""


def bundle(*texts: str, **changes: Any) -> Bundle:
    """The bundle of these texts, with the operations, groups and labels of this module."""
    facts: dict[str, Any] = {"operations": OPERATIONS, "groups": GROUPS, "labels": LABELS, **changes}
    return build([Source(file=f"{n}.cedar", text=text) for n, text in enumerate(texts)], **facts)


def engine(*texts: str, **changes: Any) -> Engine:
    """These texts in force."""
    return Engine(bundle(*texts, **changes))


def refused(*texts: str, **changes: Any) -> tuple[Problem, ...]:
    """What is wrong with these texts."""
    try:
        bundle(*texts, **changes)
    except BundleRefused as refusal:
        return refusal.problems
    raise AssertionError("the bundle was accepted")


def judged(text: str, call: Call | None = None, **changes: Any) -> Verdict:
    """The verdict of one text on one call."""
    return engine(text).judge(call or a_call(), **{"now": NOW, **changes})


def a_refund(minor: int, **changes: Any) -> Call:
    """A refund of so many cents."""
    return a_call(input=Input(values={"amount": minor, "currency": "eur", "charge": "ch_42"}), **changes)


def a_call_of(operation: Operation, values: Mapping[str, Any] | None = None, **changes: Any) -> Call:
    """A call of an operation, with these input values."""
    facts: dict[str, Any] = {
        "operation": operation,
        "upstream": operation.upstream,
        "input": Input(values=values or {}),
        "resource": Resource(kind="thing", id=f"{operation.upstream}/thing/1"),
        **changes,
    }
    return a_call(**facts)


def a_person(name: str, *groups: str, **changes: Any) -> Person:
    """A person `corp:<name>` of these groups."""
    facts: dict[str, Any] = {"identity": Identity(f"corp:{name}"), "name": name.title(), "groups": frozenset(groups)}
    return Person(**{**facts, **changes})
