"""Calls written so that a policy looks past what they do: the object named twice, the amount hidden from the sums."""

from __future__ import annotations

import pytest

from connectors.apis.catalogue import load
from connectors.apis.naming import BadBody, Named, Namer
from policy.bundle import Source, build
from policy.call import Call, Recent, Target
from policy.engine import Engine
from policy.reasons import Reason
from policy.verdict import Allow, Deny, Verdict
from tests.fakes.values import a_call

FORM = "application/x-www-form-urlencoded"
CATALOGUE = """\
operations:
  refunds.create:
    call: POST /v1/refunds
    class: money
    fields:
      amount: {in: body, type: long}
      charge: {in: body}
      team: {in: body}
    resource: {kind: charge, field: charge}
    owner: team
    money: {amount: amount, currency: EUR}
"""
SUMS = """
@id("grant") permit (principal, action, resource);
@id("a-day") forbid (principal is Agent, action, resource) when { context.recent.sumDay > 100000 };
"""
OBJECTS = """
@id("grant") permit (principal, action, resource);
@id("not-this-one") forbid (principal is Agent, action, resource == Resource::"stripe/charge/ch_vip");
@id("not-theirs") forbid (principal is Agent, action, resource)
when { resource has owner && resource.owner == "board" };
"""


@pytest.fixture
def judged(tmp_path):
    """What a law says of a refund with this body, named as the gate names it."""
    (tmp_path / "stripe.yaml").write_text(CATALOGUE)
    catalogue = load(tmp_path / "stripe.yaml", upstream="stripe")
    namer = Namer(catalogue, scan_bytes=1000, json_depth=10)

    def judge(law: str, body: bytes, *, content_type: str = FORM) -> Verdict:
        bundle = build(
            [Source(file="law", text=law)], operations=catalogue.operations, groups={}, labels=catalogue.labels
        )
        call = _named(namer, body, content_type)
        return Engine(bundle).judge(call, now=0, recent=Recent(sum_day=call.amount_minor))

    return judge


def _named(namer: Namer, body: bytes, content_type: str) -> Call:
    target = Target(method="POST", path="/v1/refunds")
    named = namer.name(target, content_type, body)
    assert isinstance(named, Named)
    return a_call(
        target=target,
        operation=named.operation,
        input=named.input,
        resource=named.resource,
        sensitivity=named.sensitivity,
    )


def test_p6_a_plain_amount_is_counted(judged):
    assert isinstance(judged(SUMS, b"charge=ch_1&amount=100000"), Allow)
    assert _reason(judged(SUMS, b"charge=ch_1&amount=100001")) is Reason.FORBIDDEN


@pytest.mark.parametrize(
    "body",
    [
        b"charge=ch_1&amount=1&amount=9000000",
        b"charge=ch_1&Amount=9000000",
        b"charge=ch_1&amount[]=9000000",
        b"charge=ch_1&amount=9e6",
        b"charge=ch_1&amount=9000000.00",
        b"charge=ch_1&amount=99999999999999999999",
        b"charge=ch_1&amount=1&amount%00=9000000",
    ],
)
def test_p6_an_amount_that_cannot_be_read_does_not_pass_a_limit_on_sums_as_nothing(judged, body):
    assert _reason(judged(SUMS, body)) is Reason.INPUT_UNREADABLE


def test_p6_an_amount_left_out_does_not_pass_a_limit_on_sums_as_nothing(judged):
    assert _reason(judged(SUMS, b"charge=ch_1")) is Reason.INPUT_MISSING


def test_p7_an_amount_in_a_type_nobody_reads_does_not_pass_a_limit_on_sums_as_nothing(judged):
    said = judged(SUMS, b"<refund><amount>9000000</amount></refund>", content_type="application/xml")
    assert _reason(said) is Reason.INPUT_UNREADABLE


@pytest.mark.parametrize(
    "body",
    [b"charge=ch_1&charge=ch_vip", b"Charge=ch_vip", b"charge[]=ch_vip", b"charge=ch_1&charge%20=ch_vip"],
)
def test_p6_an_object_that_cannot_be_read_does_not_pass_a_prohibition_on_it_as_another(judged, body):
    assert _reason(judged(OBJECTS, b"charge=ch_vip")) is Reason.FORBIDDEN
    assert _reason(judged(OBJECTS, body)) is Reason.INPUT_UNREADABLE


def test_p6_an_owner_that_cannot_be_read_does_not_pass_a_prohibition_as_nobody(judged):
    assert _reason(judged(OBJECTS, b"charge=ch_1&team=board")) is Reason.FORBIDDEN
    assert _reason(judged(OBJECTS, b"charge=ch_1&team=sales&team=board")) is Reason.INPUT_UNREADABLE


def test_p6_an_unreadable_field_that_nothing_rests_on_is_still_no_obstacle(judged):
    assert isinstance(judged(SUMS.replace("sumDay", "callsDay"), b"charge=ch_1&amount=1&amount=2"), Allow)


def _reason(verdict: Verdict) -> Reason | None:
    return verdict.reason if isinstance(verdict, Deny) else None


@pytest.mark.parametrize(
    "body", [b'{"charge":"ch_vip","amount":9000000}', b' \r\n[{"amount":9000000}]', b"<refund>", b'"amount"']
)
def test_p7_json_or_xml_that_calls_itself_a_form_is_refused(tmp_path, body):
    (tmp_path / "stripe.yaml").write_text(CATALOGUE)
    namer = Namer(load(tmp_path / "stripe.yaml", upstream="stripe"), scan_bytes=1000, json_depth=10)
    assert isinstance(namer.name(Target(method="POST", path="/v1/refunds"), FORM, body), BadBody)
    unknown = namer.name(Target(method="POST", path="/v1/other"), FORM, body)
    assert isinstance(unknown, Named)
    assert not unknown.operation.known
