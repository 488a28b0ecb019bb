from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from policy.call import CallId, Input, Sensitivity, Target
from policy.errors import Problem
from policy.hold import Lease
from policy.operation import Field, FieldType, Place
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask, Deny, Obligations
from proxy.audit import record
from proxy.audit.redact import Redactor
from tests.fakes.values import REFUND, a_ballot, a_call, a_hold

REDACTOR = Redactor(b"k" * 32)
ALLOW = Allow(bundle="b1", policies=("p1",))


def written(one: record.Record) -> dict:
    return orjson.loads(REDACTOR.encode(one.members))


def shown(**changes: object) -> dict:
    return written(record.judged(a_call(**changes), ALLOW))["input"]


def email_field(**changes: object) -> Field:
    return replace(Field(name="email", place=Place.BODY, path=("customer", "email"), type=FieldType.TEXT), **changes)


def test_an_allowed_call_says_who_asked_for_what_and_why_it_was_allowed() -> None:
    said = written(record.judged(a_call(), ALLOW, trace="t" * 32))
    assert said["kind"] == "judged"
    assert said["call"] == a_call().id
    assert said["principal"]["agent"] == "corp:robot"
    assert said["principal"]["owner"] == "corp:olga"
    assert said["operation"] == "stripe:refunds.create"
    assert (said["tier"], said["classes"], said["environment"]) == ("high", ["money", "write"], "prod")
    assert said["body"] == {"sha256": a_call().body_digest, "length": a_call().body_length}
    assert said["input"] == {"amount": 25000, "currency": "eur", "charge": "ch_42"}
    assert (said["verdict"], said["reason"], said["policies"], said["bundle"]) == ("allow", "permitted", ["p1"], "b1")
    assert said["trace"] == "t" * 32


def test_a_denied_call_says_why() -> None:
    said = written(
        record.judged(a_call(), Deny(bundle="b1", reason=Reason.FORBIDDEN, explanations=("no",), policies=("p",)))
    )
    assert (said["verdict"], said["reason"], said["explanations"]) == ("deny", "forbidden", ["no"])


def test_an_asked_call_says_what_it_needs() -> None:
    hold = a_hold()
    said = written(record.judged(a_call(), Ask(bundle="b1", policies=("p",), gates=hold.gates)))
    assert said["gates"] == [{"policy": "refund-over-100", "any_of": [["finance-leads:1"]]}]


def test_a_labelled_field_is_veiled_and_stays_comparable() -> None:
    operation = replace(REFUND, fields=(email_field(labels=frozenset({"pii"})),))
    one = shown(operation=operation, input=Input(values={"email": "ann@example.com"}))
    assert one == {"email": REDACTOR.fingerprint("ann@example.com")}


@pytest.mark.parametrize(
    "pointer", ["/customer/email", "/customer", "/customer/email/0", "/email", "/body/customer/email"]
)
def test_a_field_that_a_detector_points_at_is_veiled(pointer: str) -> None:
    sensitivity = Sensitivity(labels=frozenset({"name"}), counts={"name": 1}, paths={"name": (pointer,)})
    operation = replace(REFUND, fields=(email_field(),))
    assert shown(operation=operation, input=Input(values={"email": "Ann"}), sensitivity=sensitivity)[
        "email"
    ].startswith("hmac:")


def test_a_field_beside_the_one_a_detector_points_at_is_shown() -> None:
    sensitivity = Sensitivity(labels=frozenset({"name"}), counts={"name": 1}, paths={"name": ("/customer/email2",)})
    operation = replace(REFUND, fields=(email_field(),))
    assert shown(operation=operation, input=Input(values={"email": "x"}), sensitivity=sensitivity) == {"email": "x"}


@pytest.mark.parametrize(
    "sensitivity",
    [
        Sensitivity(labels=frozenset({"card"}), counts={"card": 9}, paths={"card": ("/elsewhere",)}),
        Sensitivity(labels=frozenset({"unscanned"})),
    ],
)
def test_where_more_was_found_than_can_be_pointed_at_nothing_is_shown(sensitivity: Sensitivity) -> None:
    assert all(str(value).startswith("hmac:") for value in shown(sensitivity=sensitivity).values())


@pytest.mark.parametrize("name", ["password", "surprise"])
def test_a_secret_s_name_or_one_the_catalogue_does_not_know_is_veiled(name: str) -> None:
    fields = (*REFUND.fields, Field(name="password", place=Place.BODY, path=("password",), type=FieldType.TEXT))
    assert shown(operation=replace(REFUND, fields=fields), input=Input(values={name: "x"}))[name].startswith("hmac:")


def test_a_policy_may_veil_a_field() -> None:
    verdict = replace(ALLOW, obligations=Obligations(redact=frozenset({"charge"})))
    assert written(record.judged(a_call(), verdict))["input"]["charge"].startswith("hmac:")


def test_of_a_query_only_names_are_written() -> None:
    target = Target(method="GET", path="/v1/x", query="limit=3&expand[]=a&bare&sk_live_12345678901=1&%C3%A9=2")
    said = written(record.judged(a_call(target=target), ALLOW))["target"]
    assert said["query_names"][:2] == ["limit", "expand[]"]
    assert all(name.startswith("hmac:") for name in said["query_names"][2:])
    assert said["query"] == REDACTOR.fingerprint(target.query)


def test_the_trace_id_comes_from_a_valid_traceparent() -> None:
    header = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")
    assert written(record.judged(a_call(headers=(header,)), ALLOW))["trace"] == "a" * 32
    assert written(record.judged(a_call(headers=(("traceparent", "a" * 32),)), ALLOW))["trace"] is None


def test_a_release_names_the_approvals_the_lease_and_what_was_shown() -> None:
    hold = a_hold()
    hold = replace(
        hold, ballots=(a_ballot(hold, Identity("corp:ann")),), lease=Lease(replica="r1", fence="f9", until=1.0)
    )
    approvals = Approvals(
        count=1, by=frozenset({Identity("corp:ann")}), quorum=frozenset({"finance-leads:1"}), age_s=3.0
    )
    said = written(record.released(hold, approvals, verdict=replace(ALLOW, bundle="b2"), detached=True))
    assert said["approvals"] == {"count": 1, "by": ["corp:ann"], "quorum": ["finance-leads:1"], "age_s": 3.0}
    assert (said["replica"], said["fence"], said["fingerprint"]) == ("r1", "f9", hold.fingerprint)
    assert said["shown"] == ["s" * 64]
    assert (said["bundle"], said["held_under"], said["detached"]) == ("b2", "b1", True)


def test_a_refused_publication_says_what_was_wrong() -> None:
    problem = Problem(file="a.cedar", line=3, column=1, message="unexpected")
    said = written(record.published("b1", (problem,)))
    assert (said["accepted"], said["problems"]) == (False, ["a.cedar:3:1: unexpected"])


def test_a_conclusion_says_how_it_ended() -> None:
    said = written(record.concluded(CallId("call_1"), Reason.EXECUTED, upstream_status=201, latency_ms=12.34567))
    assert (said["reason"], said["upstream_status"], said["latency_ms"]) == ("executed", 201, 12.346)
