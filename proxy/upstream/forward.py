"""What crosses the gate: a call and its credential become one message; an answer becomes what the agent may see.

Decides which header fields travel, either way. Raw targets and bodies pass byte for byte. Which call may go out at all
was decided before; who carries it is the pool's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from config.settings import HeaderCredential, Upstream
from connectors.apis.aws import headers as aws
from connectors.apis.mcp.mirrors import is_ours
from policy.call import Call
from policy.reasons import Reason
from proxy.errors import BrokenPromise
from proxy.upstream.accounts import in_name_of
from proxy.upstream.credentials import Attached
from proxy.upstream.pool import Outgoing, Upload

TRAVELS = frozenset({
    # Content and its negotiation (RFC 9110 sections 8 and 12), digests (RFC 9530).
    "accept", "accept-encoding", "accept-language", "content-digest", "content-disposition", "content-encoding",
    "content-language", "content-type", "repr-digest",
    # Conditions and ranges (RFC 9110 sections 13 and 14).
    "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range",
    # What tells two calls apart, and who wrote the client.
    "idempotency-key", "user-agent",
    # Versions of the APIs we know. What selects an account (Stripe-Account, OpenAI-Organization) is not among them:
    # it changes on whose behalf the credential acts, so an operator has to name it.
    "anthropic-beta", "anthropic-version", "openai-beta", "stripe-version", "x-github-api-version",
})  # fmt: skip
"""Request headers that travel to every upstream. An allow-list: what is not here, or in settings, stays behind."""

_IN_BYTES = {name: name.encode("ascii") for name in TRAVELS}

NEVER_TRAVELS = frozenset({
    "authorization", "connection", "content-length", "cookie", "expect", "forwarded", "host", "http2-settings",
    "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "remote-user", "te", "trailer",
    "traceparent", "tracestate", "transfer-encoding", "upgrade", "via", "x-api-key", "x-http-method",
    "x-http-method-override", "x-method-override", "x-original-url", "x-real-ip", "x-rewrite-url",
})  # fmt: skip
"""Request headers that no setting lets through: framing, identity, credentials, other targets than the judged one."""

_NEVER_BEGINS = ("assentry-", "impersonate-", "proxy-", "sec-", "x-assentry-", "x-forwarded-", "x-remote-")

HOP_BY_HOP = frozenset({
    "connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authentication-info",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""RFC 9110 section 7.6.1, and what older software sends."""

NOT_FOR_AGENTS = frozenset({"alt-svc", "set-cookie", "set-cookie2", "strict-transport-security"})
"""Agents have no cookie jar here: a session would outlive the call that was judged. Alt-Svc leads round the gate, and
Strict-Transport-Security speaks for the upstream's host, not for ours."""

REDACTED = b"[redacted]"

_DROPPED = HOP_BY_HOP | NOT_FOR_AGENTS

_NAME = re.compile(r"[!#$%&'*+.^`|~0-9a-z-]+")
"""RFC 9110 section 5.6.2 in lower case, without the underscore, which CGI-like upstreams take for a hyphen."""
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")
"""Visible ASCII, as the door takes it."""


class Answer(Protocol):
    """The head of an answer: what `proxy.upstream.pool.Response` and a test's own have in common."""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """As they came."""


def travelling(headers: Iterable[tuple[str, str]], upstream: Upstream) -> tuple[tuple[str, str], ...]:
    """The request headers that may reach this upstream: names in lower case, order kept, the rest left behind."""
    return tuple(
        [(name, value) for raw, value in headers if (name := raw.lower()) in TRAVELS or _is_let_through(name, upstream)]
    )


def outgoing(
    upstream: Upstream,
    call: Call,
    body: bytes | Upload,
    attached: Attached,
    *,
    via: str = "assentry",
    traceparent: str | None = None,
) -> Outgoing:
    """The one message that carries this call: its target and body as judged, its headers, and the credential.

    `via` is our pseudonym (RFC 9110 section 7.6.3). The agent's address is not told (no Forwarded): it is none of the
    upstream's business. Raises BrokenPromise where a header is none that the door lets in.
    """
    host, base = _where(upstream.url)
    fields = [(b"host", host)]
    fields += [_checked(name, value, upstream) for name, value in call.headers]
    upload = body if isinstance(body, Upload) else None
    whole = b"" if isinstance(body, Upload) else body
    length = upload.length if upload else len(whole)
    if length or call.target.method in _WITH_BODY:
        fields.append((b"content-length", b"%d" % length))
    fields.append((b"via", f"1.1 {via}".encode("ascii")))
    if traceparent is not None:
        fields.append((b"traceparent", traceparent.encode("ascii")))
    fields += attached.headers
    fields += in_name_of(upstream, call.principal)
    target = base + call.target.raw
    return Outgoing(method=call.target.method, target=target, headers=tuple(fields), body=whole, upload=upload)


@lru_cache(maxsize=256)
def _where(url: str) -> tuple[bytes, str]:
    """The Host of an upstream, and what is put before every target."""
    parts = urlsplit(url)
    return parts.netloc.encode("ascii"), parts.path.rstrip("/")


def answer_headers(response: Answer, attached: Attached) -> tuple[tuple[str, str], ...]:
    """The response headers that the agent may see: end-to-end ones, with our credential blotted out wherever it stands.

    Never raises: it is used when the call has already been sent.
    """
    dropped = _DROPPED | _nominated(response.headers)
    shown = []
    for raw, value in response.headers:
        name = raw.decode("latin-1").lower()
        # Our own marks are ours to set: an upstream cannot claim that an answer was replayed, or is another call's.
        if name in dropped or name.startswith("assentry-") or _blotted(raw, attached) != raw:
            continue
        shown.append((name, _blotted(value, attached).decode("latin-1")))
    return tuple(shown)


_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Methods that say `Content-Length: 0` where there is no body (RFC 9110 section 8.6)."""


def _is_let_through(name: str, upstream: Upstream) -> bool:
    """Whether the settings let this field travel to this upstream, and may."""
    if upstream.aws is not None and aws.travels(name) and _NAME.fullmatch(name):
        return True
    if name not in upstream.headers and not (upstream.connector == "mcp" and is_ours(name)):
        return False
    if name in NEVER_TRAVELS or name.startswith(_NEVER_BEGINS) or not _NAME.fullmatch(name):
        return False
    # Where our credential goes, the agent's own word is never beside it.
    return not (isinstance(upstream.credential, HeaderCredential) and name == upstream.credential.header.lower())


def _checked(name: str, value: str, upstream: Upstream) -> tuple[bytes, bytes]:
    # Dropping it here instead would send something else than what was judged and approved.
    raw = _IN_BYTES.get(name)
    if (raw is None and not _is_let_through(name, upstream)) or not _VALUE.fullmatch(value):
        raise BrokenPromise(Reason.INTERNAL, "The call carries a header that may not travel; it was not sent.")
    return raw or name.encode("ascii"), value.encode("ascii")


def _nominated(headers: tuple[tuple[bytes, bytes], ...]) -> frozenset[str]:
    listed = [value.decode("latin-1") for name, value in headers if name.lower() == b"connection"]
    # Content-Length cannot be nominated away (RFC 9110 section 7.6.1 forbids it, smugglers try it).
    names = {member.strip().lower() for value in listed for member in value.split(",")}
    return frozenset(names - {"content-length", "content-type", "content-encoding"})


def _blotted(text: bytes, attached: Attached) -> bytes:
    for secret in attached.hidden:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text
