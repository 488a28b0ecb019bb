"""What an agent is answered: statuses, problem documents, headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from connectors.apis.shapes import Problem, shape
from policy.call import CallId
from policy.fingerprint import Fingerprint
from policy.reasons import Reason
from proxy.doors.arrival import Pending, Refusal, Relay
from proxy.doors.replies import STATUSES, Manner, Whole, has_body, pending, phrase, refused, relayed
from tests.fakes.agents_door import pieces

CALL = CallId("call_01J00000000000000000000000")
MANNER = Manner(resource_metadata="https://gate.example/.well-known/oauth-protected-resource")


def answer(reason: Reason, **facts: object) -> tuple[Whole, Mapping[str, str], dict[str, object]]:
    whole = refused(Refusal(reason=reason, detail="Because.", call=CALL, **facts), manner=MANNER)  # type: ignore[arg-type]
    return whole, {name.lower(): value for name, value in whole.headers}, json.loads(whole.body)


def test_a_refusal_is_a_problem_document_with_every_fact() -> None:
    whole, headers, document = answer(
        Reason.REJECTED,
        operation="stripe:refunds.create",
        policies=("refunds",),
        decided_by="corp:ann",
        decision_reason="Too much",
        fingerprint=Fingerprint("abcdef0123456789" * 4),
        status_url="https://gate.example/v1/calls/x",
    )
    assert whole.status == document["status"] == 403
    assert headers["content-type"] == "application/problem+json"
    assert headers["assentry-call"] == document["call"] == CALL
    assert document["type"] == "urn:assentry:problem:rejected"
    assert document["title"] == "Rejected"
    assert document["instance"] == f"/v1/calls/{CALL}"
    assert (document["detail"], document["reason"]) == ("Because.", "rejected")
    assert (document["operation"], document["policies"]) == ("stripe:refunds.create", ["refunds"])
    assert (document["decided_by"], document["decision_reason"]) == ("corp:ann", "Too much")
    assert document["fingerprint"] == "abcd-ef01-2345"
    assert document["status_url"] == "https://gate.example/v1/calls/x"
    assert (document["retryable"], document["next_action"]) == (False, "none")


@pytest.mark.parametrize("reason", [reason for reason in Reason if STATUSES.get(reason, 403) not in (429, 503)])
def test_a_no_forbids_retries_and_never_says_when(reason: Reason) -> None:
    _, headers, _ = answer(reason, retry_after_s=5)
    assert headers["x-should-retry"] == headers["stripe-should-retry"] == "false"
    assert "retry-after" not in headers


@pytest.mark.parametrize(
    "reason",
    [
        Reason.STORE_UNAVAILABLE, Reason.LEDGER_UNAVAILABLE, Reason.ISSUER_UNAVAILABLE, Reason.STOPPING,
        Reason.UPSTREAM_UNREACHABLE, Reason.CREDENTIAL_UNAVAILABLE, Reason.TOO_MANY_HELD, Reason.NO_ROOM,
    ],
)  # fmt: skip
def test_an_outage_says_when_to_come_again(reason: Reason) -> None:
    whole, headers, document = answer(reason, retry_after_s=9)
    assert whole.status == (429 if reason is Reason.TOO_MANY_HELD else 503)
    assert headers["retry-after"] == "9"
    assert "x-should-retry" not in headers
    assert (document["retryable"], document["next_action"]) == (True, "retry")


def test_a_failure_of_ours_that_may_follow_a_sent_call_is_not_to_be_retried() -> None:
    for reason in (Reason.OUTCOME_UNKNOWN, Reason.UPSTREAM_BROKE_OFF, Reason.UPSTREAM_MALFORMED, Reason.INTERNAL):
        whole, headers, document = answer(reason)
        assert whole.status >= 500
        assert headers["x-should-retry"] == "false"
        assert document["retryable"] is False


def test_a_missing_token_is_challenged_without_an_error_and_a_bad_one_with() -> None:
    challenge = 'Bearer resource_metadata="https://gate.example/.well-known/oauth-protected-resource"'
    assert answer(Reason.IDENTITY_MISSING)[1]["www-authenticate"] == challenge
    for reason in (Reason.IDENTITY_INVALID, Reason.IDENTITY_EXPIRED, Reason.IDENTITY_REVOKED):
        whole, headers, _ = answer(reason)
        assert whole.status == 401
        assert headers["www-authenticate"] == f'{challenge}, error="invalid_token"'


def test_the_law_and_people_say_403() -> None:
    for reason in (
        Reason.FORBIDDEN,
        Reason.NO_POLICY_PERMITS,
        Reason.REJECTED,
        Reason.EXPIRED,
        Reason.APPROVAL_PENDING,
    ):
        assert answer(reason)[0].status == 403


def test_a_hold_that_ended_without_a_no_may_be_asked_anew() -> None:
    assert answer(Reason.EXPIRED)[2]["next_action"] == "request"
    assert answer(Reason.APPROVAL_PENDING)[2]["next_action"] == "retry"


def test_405_lists_what_is_allowed() -> None:
    assert answer(Reason.METHOD_NOT_ALLOWED)[1]["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


def test_pending_says_where_to_look_and_that_the_preference_was_applied() -> None:
    held = Pending(call=CALL, status_url="/v1/calls/x", fingerprint=Fingerprint("ab" * 32), operation="api:x")
    asked = dict(pending(held, manner=Manner(respond_async=True)).headers)
    assert (asked["Location"], asked["Retry-After"], asked["Assentry-Call"]) == ("/v1/calls/x", "5", CALL)
    assert asked["Preference-Applied"] == "respond-async"
    assert "Preference-Applied" not in dict(pending(held, manner=Manner()).headers)
    assert pending(held, manner=Manner()).status == 202


def shaped(connector: str, status: int = 403) -> dict[str, Any]:
    problem = Problem(sentence="No.", code="rejected", status=status, members={"type": "urn:x", "status": status})
    made = json.loads(shape(problem, connector=connector).body)
    assert isinstance(made, dict)
    return made


def test_each_shape_says_the_sentence_where_its_sdk_looks() -> None:
    for connector in ("generic", "openai", "stripe", "nobody-knows"):
        error = shaped(connector)["error"]
        assert (error["message"], error["code"]) == ("No.", "rejected")
    assert shaped("github")["message"] == "No."
    assert shaped("stripe")["error"]["type"] == "invalid_request_error"
    assert shaped("stripe", 502)["error"]["type"] == "api_error"
    assert shaped("openai")["error"]["param"] is None
    assert shaped("anthropic")["error"]["type"] == "permission_error"
    assert (shaped("slack")["ok"], shaped("slack")["error"]) == (False, "No.")
    assert all(shaped(name)["status"] == 403 for name in ("generic", "openai", "stripe", "github", "anthropic"))


def test_response_headers_that_could_split_a_response_or_speak_for_us_are_dropped() -> None:
    dirty = (
        ("content-type", "a/b"), ("x-a", "b\r\nset-cookie: c"), ("x b", "c"), ("x-nul", "a\x00"), ("x-uni", "☃"),
        ("connection", "close"), ("transfer-encoding", "chunked"), ("Assentry-Call", "call_evil"),
        ("assentry-replayed", "true"), ("upgrade", "h2c"), ("", "x"), ("x-ok", "caf\xe9"),
    )  # fmt: skip
    relay = Relay(status=200, headers=dirty, body=pieces(), call=CALL)
    assert relayed(relay) == (("content-type", "a/b"), ("x-ok", "caf\xe9"), ("Assentry-Call", CALL))


def test_a_replayed_response_says_so() -> None:
    relay = Relay(status=200, headers=(), body=pieces(), call=CALL, replayed=True)
    assert relayed(relay) == (("Assentry-Call", CALL), ("Assentry-Replayed", "true"))


def test_a_status_that_ends_no_exchange_is_not_relayed() -> None:
    for status in (100, 101, 199, 600, 0):
        assert relayed(Relay(status=status, headers=(), body=pieces(), call=CALL)) is None


def test_bodies_and_phrases() -> None:
    assert [has_body(status, method="GET") for status in (200, 204, 304, 404)] == [True, False, False, True]
    assert not has_body(200, method="HEAD")
    assert (phrase(404), phrase(599)) == ("Not Found", "")
