"""The closed list of reason codes. The agent's answer, the ledger, the metrics and the tests all use these words.

`docs/reasons.md` explains each to the person who meets it; a house test keeps the two lists equal.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a call, or a click, ended the way it did."""

    # The law allowed or held it.
    PERMITTED = "permitted"
    NEEDS_APPROVAL = "needs-approval"
    # The law refused it.
    FORBIDDEN = "forbidden"
    NO_POLICY_PERMITS = "no-policy-permits"
    POLICY_ERROR = "policy-error"
    INPUT_UNREADABLE = "input-unreadable"
    INPUT_MISSING = "input-missing"
    # People, clocks, or the agent itself ended it.
    REJECTED = "rejected"
    EXPIRED = "expired"
    LAPSED = "lapsed"
    WITHDRAWN = "withdrawn"
    APPROVAL_PENDING = "approval-pending"
    TOO_MANY_HELD = "too-many-held"
    # Who is calling.
    IDENTITY_MISSING = "identity-missing"
    IDENTITY_INVALID = "identity-invalid"
    IDENTITY_EXPIRED = "identity-expired"
    IDENTITY_REVOKED = "identity-revoked"
    NOT_AN_AGENT = "not-an-agent"
    NOT_A_PERSON = "not-a-person"
    # What came in was not one well-formed call for a configured upstream.
    MALFORMED = "malformed"
    AMBIGUOUS_TARGET = "ambiguous-target"
    UNKNOWN_ROUTE = "unknown-route"
    UNKNOWN_HOST = "unknown-host"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    ENCODING_NOT_ALLOWED = "encoding-not-allowed"
    UPGRADE_NOT_ALLOWED = "upgrade-not-allowed"
    VERSION_NOT_SUPPORTED = "version-not-supported"
    EXPECTATION_FAILED = "expectation-failed"
    BODY_TOO_LARGE = "body-too-large"
    HEADERS_TOO_LARGE = "headers-too-large"
    TARGET_TOO_LONG = "target-too-long"
    TOO_SLOW = "too-slow"
    BODY_MALFORMED = "body-malformed"
    HEADER_MISMATCH = "header-mismatch"
    NO_SUCH_SESSION = "no-such-session"
    FOREIGN_CREDENTIAL = "foreign-credential"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    # The upstream's side.
    EXECUTED = "executed"
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_BROKE_OFF = "upstream-broke-off"
    UPSTREAM_MALFORMED = "upstream-malformed"
    CREDENTIAL_UNAVAILABLE = "credential-unavailable"
    CREDENTIAL_REFUSED = "credential-refused"
    OUTCOME_UNKNOWN = "outcome-unknown"
    RESPONSE_NOT_KEPT = "response-not-kept"
    # We could not decide, so the answer is No.
    STORE_UNAVAILABLE = "store-unavailable"
    LEDGER_UNAVAILABLE = "ledger-unavailable"
    ISSUER_UNAVAILABLE = "issuer-unavailable"
    STOPPING = "stopping"
    NO_ROOM = "no-room"
    INTERNAL = "internal"
    # Clicks.
    NOT_ENTITLED = "not-entitled"
    OWN_CALL = "own-call"
    FINGERPRINT_CHANGED = "fingerprint-changed"
    NOT_SHOWN_WHOLE = "not-shown-whole"
    ALREADY_DECIDED = "already-decided"
    ALREADY_VOTED = "already-voted"
    REASON_REQUIRED = "reason-required"
    CONFLICT = "conflict"
    NO_SUCH_HOLD = "no-such-hold"
