"""Answers as HTTP: the one file that knows statuses.

What is refused and why was decided before; how bytes reach the socket is `proxy.doors.writing`'s. The rules about
retries come from measured SDKs: OpenAI, Anthropic and Stripe repeat 409, 429 and 5xx unless told otherwise, PyGithub
repeats a 403 that carries Retry-After.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from connectors.apis.shapes import Problem, shape
from policy.call import CallId
from policy.fingerprint import short
from policy.reasons import Reason
from proxy.doors.arrival import Pending, Refusal, Relay
from proxy.doors.hygiene import METHODS

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
INTERIMS: Mapping[int, bytes] = {100: CONTINUE, 102: b"HTTP/1.1 102 Processing\r\n\r\n"}
"""Interim responses whole, by status. A `102` says what is meant, but most clients take only the `100`."""
_RETRY_AFTER_S = 5

STATUSES: Mapping[Reason, int] = {
    Reason.IDENTITY_MISSING: 401,
    Reason.IDENTITY_INVALID: 401,
    Reason.IDENTITY_EXPIRED: 401,
    Reason.IDENTITY_REVOKED: 401,
    Reason.MALFORMED: 400,
    Reason.AMBIGUOUS_TARGET: 400,
    Reason.BODY_MALFORMED: 400,
    Reason.HEADER_MISMATCH: 400,
    Reason.FOREIGN_CREDENTIAL: 400,
    Reason.UNKNOWN_ROUTE: 404,
    Reason.NO_SUCH_HOLD: 404,
    Reason.NO_SUCH_SESSION: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.TOO_SLOW: 408,
    Reason.ALREADY_DECIDED: 409,
    Reason.CONFLICT: 409,
    Reason.RESPONSE_NOT_KEPT: 410,
    Reason.BODY_TOO_LARGE: 413,
    Reason.TARGET_TOO_LONG: 414,
    Reason.ENCODING_NOT_ALLOWED: 415,
    Reason.EXPECTATION_FAILED: 417,
    Reason.UNKNOWN_HOST: 421,
    Reason.IDEMPOTENCY_KEY_REUSED: 422,
    Reason.TOO_MANY_HELD: 429,
    Reason.HEADERS_TOO_LARGE: 431,
    Reason.UPGRADE_NOT_ALLOWED: 501,
    Reason.UPSTREAM_BROKE_OFF: 502,
    Reason.UPSTREAM_MALFORMED: 502,
    Reason.OUTCOME_UNKNOWN: 502,
    Reason.UPSTREAM_UNREACHABLE: 503,
    Reason.CREDENTIAL_UNAVAILABLE: 503,
    Reason.STORE_UNAVAILABLE: 503,
    Reason.LEDGER_UNAVAILABLE: 503,
    Reason.ISSUER_UNAVAILABLE: 503,
    Reason.STOPPING: 503,
    Reason.NO_ROOM: 503,
    Reason.INTERNAL: 503,
    Reason.VERSION_NOT_SUPPORTED: 505,
}
"""By reason. A reason that is not listed is a No of the law or of people: 403."""

_CLICKS: Mapping[Reason, int] = {
    Reason.FINGERPRINT_CHANGED: 409,
    Reason.NOT_SHOWN_WHOLE: 409,
    Reason.ALREADY_VOTED: 409,
    Reason.EXPIRED: 409,
    Reason.LAPSED: 409,
    Reason.REASON_REQUIRED: 422,
}
"""Where a click that comes too late, or without its words, is answered otherwise than a call."""

# Nothing was sent and nobody was asked, so the same call may simply come again.
_RETRYABLE = frozenset({
    Reason.TOO_MANY_HELD, Reason.UPSTREAM_UNREACHABLE, Reason.CREDENTIAL_UNAVAILABLE, Reason.STORE_UNAVAILABLE,
    Reason.LEDGER_UNAVAILABLE, Reason.ISSUER_UNAVAILABLE, Reason.STOPPING, Reason.NO_ROOM,
})  # fmt: skip
# The hold ended without a No: sending the call anew asks anew.
_ASKABLE = frozenset({Reason.EXPIRED, Reason.LAPSED, Reason.WITHDRAWN})
_IDENTITY = frozenset({
    Reason.IDENTITY_MISSING, Reason.IDENTITY_INVALID, Reason.IDENTITY_EXPIRED, Reason.IDENTITY_REVOKED,
})  # fmt: skip

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
# Hop-by-hop (RFC 9110 section 7.6.1), and what only this gate may say.
_NOT_RELAYED = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "assentry-call", "assentry-replayed",
})  # fmt: skip
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An answer of our own, complete."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    close: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How answers to one client look."""

    connector: str = "generic"
    resource_metadata: str = ""
    """URL of the protected-resource metadata (RFC 9728 section 5.1)."""
    respond_async: bool = False
    """Whether the client asked for it, so that it is told that this was applied (RFC 7240 section 3)."""


def refused(refusal: Refusal, *, manner: Manner) -> Whole:
    """The problem document of a refusal, in the shape of the upstream's SDK."""
    told = problem(refusal)
    shaped = shape(told, connector=manner.connector)
    about = (("Content-Type", shaped.media_type), *shaped.headers)
    return Whole(
        status=told.status,
        headers=(*about, *_refusal_headers(refusal, told.status, manner)),
        body=shaped.body,
        close=refusal.close,
    )


def problem(refusal: Refusal) -> Problem:
    """What is to be told of a refusal, before it has a shape."""
    status = STATUSES.get(refusal.reason, 403)
    return Problem(
        sentence=_sentence(refusal),
        code=refusal.reason.value,
        status=status,
        members=_members(refusal, status),
    )


def click_status(reason: Reason) -> int:
    """The status of a refusal at the approvers' door."""
    return _CLICKS.get(reason) or STATUSES.get(reason, 403)


def pending(answer: Pending, *, manner: Manner) -> Whole:
    """202 for a client that asked not to wait (RFC 9110 section 15.3.3)."""
    body = {
        "status": "pending",
        "call": answer.call,
        "operation": answer.operation,
        "fingerprint": short(answer.fingerprint),
        "location": answer.status_url,
    }
    applied = (("Preference-Applied", "respond-async"),) if manner.respond_async else ()
    headers = (
        ("Content-Type", "application/json"),
        ("Assentry-Call", answer.call),
        ("Location", _safe(answer.status_url)),
        ("Retry-After", str(answer.retry_after_s)),
        *applied,
    )
    return Whole(status=202, headers=headers, body=orjson.dumps(body))


def document(members: Mapping[str, object]) -> Whole:
    """A JSON document of our own."""
    return Whole(status=200, headers=(("Content-Type", "application/json"),), body=orjson.dumps(members))


def relayed(relay: Relay) -> tuple[tuple[str, str], ...] | None:
    """The response headers of a relay as they are written, or None where its status is none that ends an exchange."""
    shown = passed_on(relay.status, relay.headers, call=relay.call)
    return (*shown, ("Assentry-Replayed", "true")) if shown and relay.replayed else shown


def passed_on(status: int, headers: tuple[tuple[str, str], ...], *, call: CallId) -> tuple[tuple[str, str], ...] | None:
    """The same of an upstream's response that nothing is known of but this."""
    if not 200 <= status <= 599:
        return None
    kept = tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in _NOT_RELAYED and _NAME.fullmatch(name) and _VALUE.fullmatch(value)
    )
    return (*kept, ("Assentry-Call", call))


def has_body(status: int, *, method: str) -> bool:
    """Whether a response to this method carries a body (RFC 9112 section 6.3)."""
    return method != "HEAD" and status not in _BODILESS


def bad_relay(relay: Relay) -> Refusal:
    """What is answered instead of an upstream's response that cannot be passed on."""
    return Refusal(
        reason=Reason.UPSTREAM_MALFORMED,
        detail="The upstream did something, but its response is not one that can be passed on. Check before repeating.",
        call=relay.call,
    )


def phrase(status: int) -> str:
    """The reason phrase; empty for a status nobody has named."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _members(refusal: Refusal, status: int) -> dict[str, object]:
    members = {
        "type": f"urn:assentry:problem:{refusal.reason.value}",
        "title": refusal.reason.value.replace("-", " ").capitalize(),
        "status": status,
        "detail": refusal.detail,
        "instance": f"/v1/calls/{refusal.call}",
        "call": refusal.call,
        "operation": refusal.operation,
        "policies": list(refusal.policies),
        "reason": refusal.reason.value,
        "decided_by": refusal.decided_by,
        "decision_reason": refusal.decision_reason,
        "fingerprint": short(refusal.fingerprint) if refusal.fingerprint else None,
        "status_url": refusal.status_url,
        "retryable": _retryable(refusal.reason),
        "next_action": _next_action(refusal.reason),
    }
    return {name: value for name, value in members.items() if value is not None}


def _sentence(refusal: Refusal) -> str:
    words = refusal.decision_reason
    said = refusal.detail if not words or words in refusal.detail else f"{refusal.detail} Reviewer: “{words}”."
    return f"{said} ({refusal.reason.value}, {refusal.call})"


def _retryable(reason: Reason) -> bool:
    return reason in _RETRYABLE or reason is Reason.APPROVAL_PENDING


def _next_action(reason: Reason) -> str:
    if _retryable(reason):
        return "retry"
    return "request" if reason in _ASKABLE else "none"


def _refusal_headers(refusal: Refusal, status: int, manner: Manner) -> Iterator[tuple[str, str]]:
    yield "Assentry-Call", refusal.call
    if refusal.reason in _RETRYABLE:
        yield "Retry-After", str(refusal.retry_after_s or _RETRY_AFTER_S)
    else:
        # Also for a pending approval: the SDK must hand the answer to the agent, not repeat the call behind its back.
        yield "x-should-retry", "false"
        yield "Stripe-Should-Retry", "false"
    if refusal.reason in _IDENTITY:
        yield "WWW-Authenticate", _challenge(refusal.reason, manner)
    if status == 405:
        yield "Allow", ", ".join(sorted(METHODS))


def _challenge(reason: Reason, manner: Manner) -> str:
    # RFC 6750 section 3.1: no error code when the client sent no credential.
    error = "" if reason is Reason.IDENTITY_MISSING else ', error="invalid_token"'
    return f'Bearer resource_metadata="{manner.resource_metadata}"{error}'


def _safe(value: str) -> str:
    return value if _VALUE.fullmatch(value) else ""
