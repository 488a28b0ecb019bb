"""What is attached to a call at release, and never before: the upstream's credential.

Decides how each kind of credential is written (RFC 6750, RFC 7617, RFC 6749 section 4.4), and keeps access tokens until
they are about to expire; a GitHub App has another one for each thing that calls need. Secrets leave their wrapping only
here, in the line that makes the header; nothing here logs.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from config.settings import (
    AccountCredential,
    AwsCredential,
    BasicCredential,
    BearerCredential,
    ClientCredential,
    GithubAppCredential,
    HeaderCredential,
    NoCredential,
    Upstream,
)
from connectors.apis.github.narrowing import Narrowing, narrowing
from policy.call import Target
from policy.reasons import Reason
from proxy.errors import AssentryError, BrokenPromise, OperatorFault, Outage
from proxy.upstream import github_app
from proxy.upstream.accounts import TokenFiles
from proxy.upstream.github_app import App
from proxy.upstream.pool import Outgoing, UpstreamPool
from proxy.upstream.signing import signer

ANSWER_LIMIT_BYTES = 64 * 1024
"""Largest answer of a token endpoint."""
ANSWER_TIME_S = 10.0
"""Longest wait for a token endpoint, where the upstream's own limit is not shorter."""
UNTOLD_LIFETIME_S = 300.0
"""Lifetime of an access token whose `expires_in` is absent (RFC 6749 section 5.1 only recommends it)."""
LONGEST_LIFETIME_S = 86_400.0
MARGIN_S = 30.0
"""A token is renewed this long before it expires, or after nine tenths of its life if that is later."""
AFTER_FAILURE_S = 1.0
"""How long a failure is the answer to everyone who was waiting for the same token."""
MOST_PURSES = 1024
"""Access tokens that are kept; narrowed ones are one for each repository and permission."""
SHORTEST_HIDDEN_BYTES = 6
"""Shorter secrets are not looked for inside header values: they would be found by chance, everywhere."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_FRAMING = frozenset({"connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"})


Written = NoCredential | BearerCredential | HeaderCredential | BasicCredential | ClientCredential | GithubAppCredential
"""The credentials that are headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A credential, written out. Says nothing when printed."""

    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    """Names in lower case."""
    hidden: tuple[bytes, ...] = field(default=(), repr=False)
    """What must not come back to the agent: the secret, in each form it may be echoed in, longest first."""
    sign: Callable[[Outgoing], Outgoing] | None = field(default=None, repr=False)
    """Makes the credential of the message itself, each time anew; None: the headers are all of it."""


@dataclass(slots=True, kw_only=True)
class _Purse:
    """An access token of one upstream."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    attached: Attached | None = None
    renew_at: float = 0.0
    failure: Outage | OperatorFault | None = None
    failed_until: float = 0.0


_Fetch = Callable[[], Awaitable[tuple[str, float]]]
"""Asks for a token: it, and its lifetime in seconds."""


class Credentials:
    """Resolves what each upstream wants to see."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._now = now
        self._wall = wall
        self._written: dict[str, Attached] = {}
        self._apps: dict[str, App] = {}
        self._purses: dict[tuple[str, Narrowing | None], _Purse] = {}
        """By upstream, and by what the token is confined to; used longest ago first."""
        self._endpoints: dict[str, UpstreamPool] = {}
        self._files = TokenFiles(now=now)

    async def resolve(self, upstream: Upstream, *, target: Target | None = None) -> Attached:
        """What to attach to a call of this target, now.

        Raises Outage where a token endpoint gives none, OperatorFault where the settings hold what no header may carry,
        or where nobody knows how little the call needs.
        """
        match upstream.credential:
            case ClientCredential() as client:
                return await self._kept(upstream, None, lambda: self._fetch(upstream, client))
            case AccountCredential(token_file=file):
                return self._bearing(upstream.name, await self._files.read(file, upstream=upstream.name))
            case GithubAppCredential() as credential:
                app, needed = self._app(upstream, credential), narrowing(target) if target else None
                if needed is None:
                    raise github_app.unnarrowed(upstream.name)
                return await self._kept(upstream, needed, lambda: self._fetch_narrowed(upstream, app, needed))
            case _:
                return self._own(upstream)

    def at_hand(self, upstream: Upstream) -> Attached | None:
        """What `resolve` would give without waiting; None where it would wait. The same object while it is good.

        Raises OperatorFault as `resolve` does.
        """
        if isinstance(upstream.credential, AccountCredential):
            token = self._files.at_hand(upstream.credential.token_file)
            return self._bearing(upstream.name, token) if token is not None else None
        if isinstance(upstream.credential, GithubAppCredential):
            return None  # Another one for each call.
        if not isinstance(upstream.credential, ClientCredential):
            return self._own(upstream)
        purse = self._purses.get((upstream.name, None))
        return purse.attached if purse is not None and self._now() < purse.renew_at else None

    def forget(self, upstream: str) -> None:
        """Drop the access tokens of an upstream, because it answered 401. The next call fetches another."""
        for key in [key for key in self._purses if key[0] == upstream]:
            del self._purses[key]

    async def close(self) -> None:
        """Close the connections to token endpoints."""
        for pool in self._endpoints.values():
            await pool.close()

    def _own(self, upstream: Upstream) -> Attached:
        written = self._written.get(upstream.name)
        if written is None:
            written = self._written[upstream.name] = _written(upstream)
        return written

    def _bearing(self, upstream: str, token: bytes) -> Attached:
        """The token as it is attached: the same object for the same token."""
        value = b"Bearer " + token
        written = self._written.get(upstream)
        if written is None or written.headers != ((b"authorization", value),):
            written = self._written[upstream] = _attach(upstream, "authorization", value, hide=[token])
        return written

    def _app(self, upstream: Upstream, credential: GithubAppCredential) -> App:
        app = self._apps.get(upstream.name)
        if app is None:
            app = self._apps[upstream.name] = github_app.app_of(upstream, credential)
        return app

    async def _kept(self, upstream: Upstream, needed: Narrowing | None, fetch: _Fetch) -> Attached:
        purse = self._purse(upstream.name, needed)
        if purse.attached is not None and self._now() < purse.renew_at:
            return purse.attached
        async with purse.turn:
            # Whoever waited finds what the one before it fetched, or its failure: one fetch for all.
            if purse.attached is not None and self._now() < purse.renew_at:
                return purse.attached
            if purse.failure is not None and self._now() < purse.failed_until:
                raise type(purse.failure)(purse.failure.reason, purse.failure.detail)
            return await self._renew(purse, upstream, fetch)

    def _purse(self, upstream: str, needed: Narrowing | None) -> _Purse:
        key = (upstream, needed)
        purse = self._purses.pop(key, None) or _Purse()
        if len(self._purses) >= MOST_PURSES:
            # The one that was used longest ago: agents choose what is asked for.
            del self._purses[next(iter(self._purses))]
        self._purses[key] = purse
        return purse

    async def _renew(self, purse: _Purse, upstream: Upstream, fetch: _Fetch) -> Attached:
        asked_at = self._now()
        try:
            token, lifetime_s = await fetch()
        except (Outage, OperatorFault) as exc:
            purse.failure, purse.failed_until = exc, self._now() + AFTER_FAILURE_S
            raise
        attached = _attach(upstream.name, "authorization", f"Bearer {token}".encode(), hide=[token.encode()])
        purse.attached = attached
        purse.renew_at = asked_at + max(lifetime_s - MARGIN_S, lifetime_s * 0.9)
        return attached

    async def _fetch(self, upstream: Upstream, client: ClientCredential) -> tuple[str, float]:
        status, answer = await self._ask(upstream, client.token_url, _token_call(client))
        if status != 200:
            raise _unavailable(upstream.name, f"its token endpoint answered {status}")
        return _read(upstream.name, answer)

    async def _fetch_narrowed(self, upstream: Upstream, app: App, needed: Narrowing) -> tuple[str, float]:
        status, answer = await self._ask(upstream, app.url, app.asking(needed, now=self._wall()))
        if status in github_app.REFUSED:
            raise github_app.refused(upstream.name, status)
        if status != 201:
            raise _unavailable(upstream.name, f"GitHub answered {status} when asked for a token")
        found = github_app.granted(_object(answer), needed, now=self._wall())
        if found is None or not _TOKEN.fullmatch(found[0]):
            raise _unavailable(upstream.name, "GitHub answered with another token than was asked for")
        return found

    async def _ask(self, upstream: Upstream, url: str, message: Outgoing) -> tuple[int, bytes]:
        try:
            response = await self._endpoint(upstream, url).send(message)
            answer = bytearray()
            async for chunk in response.chunks():
                answer += chunk
                if len(answer) > ANSWER_LIMIT_BYTES:
                    raise _unavailable(upstream.name, "its token endpoint answered too much")
        except AssentryError as exc:
            if exc.reason is Reason.CREDENTIAL_UNAVAILABLE:
                raise
            raise _unavailable(upstream.name, "its token endpoint did not answer") from exc
        return response.status, bytes(answer)

    def _endpoint(self, upstream: Upstream, url: str) -> UpstreamPool:
        # The pool, not a general HTTP client: addresses are checked on connecting here too, and nothing is sent twice.
        if upstream.name not in self._endpoints:
            limit_s = min(ANSWER_TIME_S, upstream.first_byte_timeout_s)
            place = upstream.model_copy(
                update={
                    "url": url,
                    "connections": 2,
                    "first_byte_timeout_s": limit_s,
                    "total_timeout_s": limit_s,
                }
            )
            # An upstream with a CA of its own may well have its tokens issued by somebody else.
            self._endpoints[upstream.name] = UpstreamPool(place, system_roots=True)
        return self._endpoints[upstream.name]


def _written(upstream: Upstream) -> Attached:
    keys, aws = upstream.credential, upstream.aws
    if isinstance(keys, AccountCredential):
        raise BrokenPromise(Reason.INTERNAL, "The token of a service account is in its file.")
    if not isinstance(keys, AwsCredential):
        return _write(upstream.name, keys)
    if aws is None:
        raise _unusable(upstream.name, "it signs for AWS, and the upstream has no section 'aws'")
    secrets = [one.get_secret_value().encode() for one in (keys.secret_access_key, keys.session_token) if one]
    return Attached(hidden=_hidden(secrets), sign=signer(upstream, aws, keys))


def _write(upstream: str, credential: Written) -> Attached:
    match credential:
        case NoCredential() | ClientCredential() | GithubAppCredential():
            return Attached()
        case BearerCredential():
            secret = credential.token.get_secret_value().encode()
            return _attach(upstream, "authorization", b"Bearer " + secret, hide=[secret])
        case HeaderCredential():
            secret = credential.value.get_secret_value().encode()
            return _attach(upstream, credential.header.lower(), secret, hide=[secret, secret.rpartition(b" ")[2]])
        case BasicCredential():
            if ":" in credential.username:
                raise _unusable(upstream, "its user name holds a colon (RFC 7617 section 2)")
            secret = credential.password.get_secret_value().encode()
            pair = base64.b64encode(credential.username.encode() + b":" + secret)
            return _attach(upstream, "authorization", b"Basic " + pair, hide=[pair, secret])
        case _:
            assert_never(credential)


def _attach(upstream: str, name: str, value: bytes, *, hide: list[bytes]) -> Attached:
    if name in _FRAMING or not _NAME.fullmatch(name):
        raise _unusable(upstream, "its header name is not one that may carry a credential")
    if not _VALUE.fullmatch(value):
        raise _unusable(upstream, "it is empty, or holds a character that no header may carry")
    return Attached(headers=((name.encode(), value),), hidden=_hidden([value, *hide]))


def _hidden(secrets: list[bytes]) -> tuple[bytes, ...]:
    forms = {form for secret in secrets for form in (secret, quote(secret, safe="").encode())}
    return tuple(sorted((form for form in forms if len(form) >= SHORTEST_HIDDEN_BYTES), key=len, reverse=True))


def _token_call(client: ClientCredential) -> Outgoing:
    place = urlsplit(client.token_url)
    form = {"grant_type": "client_credentials"} | ({"scope": " ".join(client.scopes)} if client.scopes else {})
    body = urlencode(form).encode()
    # RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret.get_secret_value())}"
    headers = (
        (b"host", place.netloc.encode()),
        (b"accept", b"application/json"),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", b"%d" % len(body)),
        (b"authorization", b"Basic " + base64.b64encode(pair.encode())),
    )
    return Outgoing(method="POST", target=place.path or "/", headers=headers, body=body)


def _read(upstream: str, answer: bytes) -> tuple[str, float]:
    found = _object(answer)
    token = found.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or str(found.get("token_type")).lower() != "bearer":
        raise _unavailable(upstream, "its token endpoint answered without a bearer token")
    lifetime_s = _lifetime(found.get("expires_in", UNTOLD_LIFETIME_S))
    if lifetime_s is None:
        raise _unavailable(upstream, "its token endpoint answered with a lifetime that is none")
    return token, lifetime_s


def _object(answer: bytes) -> dict[str, object]:
    # The text that was parsed is an attribute of the exception: it must not travel on as a cause.
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lifetime(told: object) -> float | None:
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 10:
        told = int(told)  # Azure AD's first endpoint writes the number as text.
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < float("inf"):
        return None
    return min(float(told), LONGEST_LIFETIME_S) if told < 1e15 else LONGEST_LIFETIME_S


def _unavailable(upstream: str, why: str) -> Outage:
    detail = f"The credential for upstream '{upstream}' is not to be had: {why}. Nothing was sent."
    return Outage(Reason.CREDENTIAL_UNAVAILABLE, detail)


def _unusable(upstream: str, why: str) -> OperatorFault:
    detail = f"The credential for upstream '{upstream}' cannot be used: {why}. Nothing was sent."
    return OperatorFault(Reason.CREDENTIAL_UNAVAILABLE, detail)
