"""Values to test with: a call, a hold, a ballot, each complete and each easy to vary with `dataclasses.replace`."""

from __future__ import annotations

import hashlib
from typing import Any

from policy import fingerprint as prints
from policy.call import AgentWords, Call, CallId, Input, Resource, Sensitivity, Target
from policy.hold import Ballot, Hold, Vote
from policy.operation import Field, FieldType, Money, Operation, OperationClass, Place, Tier
from policy.principal import Identity, Principal
from policy.verdict import Alternative, Gate, Need, Obligations

BODY = b'{"amount": 25000, "currency": "eur", "charge": "ch_42"}'

REFUND = Operation(
    name="stripe:refunds.create",
    upstream="stripe",
    method="POST",
    template="/v1/refunds",
    tier=Tier.HIGH,
    classes=frozenset({OperationClass.MONEY, OperationClass.WRITE}),
    fields=(
        Field(name="amount", place=Place.BODY, path=("amount",), type=FieldType.LONG),
        Field(name="currency", place=Place.BODY, path=("currency",), type=FieldType.TEXT),
        Field(name="charge", place=Place.BODY, path=("charge",), type=FieldType.TEXT),
    ),
    resource_kind="charge",
    resource_field="charge",
    money=Money(amount="amount", currency_field="currency"),
    summary="Refund {amount:money} of charge {charge}",
)

ROBOT = Principal(
    agent=Identity("corp:robot"),
    owner=Identity("corp:olga"),
    groups=frozenset({"billing-agents"}),
    client="billing-bot",
    token_id="t-1",
    expires_at=2_000_000_000,
)


def a_call(**changes: Any) -> Call:
    """A refund of 250.00 EUR that `corp:robot` asks for."""
    facts: dict[str, Any] = {
        "id": CallId("call_01JTESTTESTTESTTESTTESTTES"),
        "upstream": "stripe",
        "environment": "prod",
        "target": Target(method="POST", path="/v1/refunds"),
        "headers": (("content-type", "application/json"),),
        "body_digest": hashlib.sha256(BODY).hexdigest(),
        "body_length": len(BODY),
        "operation": REFUND,
        "input": Input(values={"amount": 25_000, "currency": "eur", "charge": "ch_42"}),
        "resource": Resource(kind="charge", id="stripe/charge/ch_42"),
        "sensitivity": Sensitivity(),
        "principal": ROBOT,
        "words": AgentWords(reason="the parcel was lost"),
        "peer": "10.1.2.3",
        "sample": 5_000,
        "received_at": 1_000_000.0,
    }
    return Call(**{**facts, **changes})


def a_hold(call: Call | None = None, **changes: Any) -> Hold:
    """A pending hold of `a_call`, opened at 1,000,000 and to be decided within an hour."""
    call = call or a_call()
    facts: dict[str, Any] = {
        "call": call,
        "likeness": prints.likeness(call),
        "fingerprint": prints.fingerprint(call, bundle="b1", expires_at=1_003_600),
        "bundle": "b1",
        "gates": (
            Gate(
                policy="refund-over-100",
                any_of=(Alternative(needs=(Need(group="finance-leads", people=1),)),),
            ),
        ),
        "policies": ("refund-over-100", "billing-agents-refund"),
        "obligations": Obligations(queues=frozenset({"finance"}), severity=Tier.MEDIUM),
        "opened_at": 1_000_000.0,
        "decide_by": 1_003_600.0,
        "execute_within_s": 600,
    }
    return Hold(**{**facts, **changes})


def a_ballot(hold: Hold, person: Identity, vote: Vote = Vote.APPROVE, *, reason: str = "checked") -> Ballot:
    """A ballot on what `hold` shows."""
    return Ballot(
        person=person,
        name=person.split(":")[1].title(),
        vote=vote,
        reason=reason,
        channel="api",
        authenticated_at=999_000,
        methods=frozenset({"mfa"}),
        shown="s" * 64,
        fingerprint=hold.fingerprint,
        cast_at=1_000_050.0,
    )
