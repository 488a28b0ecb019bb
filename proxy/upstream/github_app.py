"""Tokens of a GitHub App: asked for call by call, each confined to what its call needs.

Decides what is asked of GitHub and whether the answer is that and no more. Which permission a call needs is
`connectors.apis.github.narrowing`'s; how long a token is kept is `proxy.upstream.credentials`'. The App's key leaves
its wrapping only here, in the line that signs; nothing here logs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from config.settings import GithubAppCredential, Upstream
from connectors.apis.github.narrowing import Narrowing
from policy.reasons import Reason
from proxy.errors import OperatorFault
from proxy.upstream.pool import Outgoing

ASSERTED_S = 540
"""Life of what we sign: GitHub takes at most ten minutes."""
CLOCK_S = 60
"""It is dated back this far, as GitHub advises, in case its clock is behind ours."""
LONGEST_LIFETIME_S = 3600.0
"""GitHub's tokens live an hour."""
REFUSED = frozenset({403, 404, 422})
"""What GitHub says where the installation lacks the repository or the permission; asking again would not help."""
_API_VERSION = b"2022-11-28"


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A GitHub App that is installed somewhere. Says nothing of its key when printed."""

    upstream: str
    id: str
    key: RSAPrivateKey = field(repr=False)
    url: str
    """Where its tokens are made."""

    def asking(self, narrowing: Narrowing, *, now: float) -> Outgoing:
        """The message that asks for a token of this narrowing. `now` is the wall clock."""
        claims = {"iat": int(now) - CLOCK_S, "exp": int(now) + ASSERTED_S, "iss": self.id}
        assertion = jwt.encode(claims, self.key, algorithm="RS256")
        wanted: dict[str, object] = {"permissions": dict(narrowing.permissions)}
        if narrowing.repository is not None:
            wanted["repositories"] = [narrowing.repository]
        body, place = json.dumps(wanted).encode(), urlsplit(self.url)
        headers = (
            (b"host", place.netloc.encode()),
            (b"accept", b"application/vnd.github+json"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"user-agent", b"assentry"),
            (b"x-github-api-version", _API_VERSION),
            (b"authorization", b"Bearer " + assertion.encode()),
        )
        return Outgoing(method="POST", target=place.path, headers=headers, body=body)


def app_of(upstream: Upstream, credential: GithubAppCredential) -> App:
    """The App of an upstream's settings. Raises OperatorFault where its key is none."""
    base = (credential.api_url or upstream.url).rstrip("/")
    try:
        # The text of the exception may hold what was to be read.
        key = load_pem_private_key(credential.private_key.get_secret_value().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        detail = f"The credential for upstream '{upstream.name}' cannot be used: its private key is no RSA key in PEM."
        raise OperatorFault(Reason.CREDENTIAL_UNAVAILABLE, f"{detail} Nothing was sent.")
    url = f"{base}/app/installations/{credential.installation_id}/access_tokens"
    return App(upstream=upstream.name, id=credential.app_id, key=key, url=url)


def granted(found: Mapping[str, object], narrowing: Narrowing, *, now: float) -> tuple[str, float] | None:
    """Token and lifetime, in seconds, of GitHub's answer; None where it is not what was asked for, or is more."""
    token, permissions = found.get("token"), found.get("permissions")
    if not isinstance(token, str) or not isinstance(permissions, dict):
        return None
    # Reading metadata comes with every token; nothing else is taken that was not asked for.
    allowed = {"metadata": "read", **dict(narrowing.permissions)}
    if any(allowed.get(name) != level for name, level in permissions.items()) or not _confined(found, narrowing):
        return None
    lifetime_s = _lifetime(found.get("expires_at"), now=now)
    return None if lifetime_s is None else (token, lifetime_s)


def _confined(found: Mapping[str, object], narrowing: Narrowing) -> bool:
    if narrowing.repository is None:
        return True
    listed = found.get("repositories")
    names = [one.get("name") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [str(name).lower() for name in names] == [narrowing.repository]


def _lifetime(until: object, *, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(until) if isinstance(until, str) else None
    except ValueError:
        return None
    if moment is None or moment.tzinfo is None or moment.timestamp() <= now:
        return None
    return min(moment.timestamp() - now, LONGEST_LIFETIME_S)


def unnarrowed(upstream: str) -> OperatorFault:
    """What is raised for a call of which nobody knows what it needs."""
    detail = (
        f"It is not known which permission of the GitHub App for upstream '{upstream}' this call needs, so it gets no "
        "token. Nothing was sent."
    )
    return OperatorFault(Reason.CREDENTIAL_REFUSED, detail)


def refused(upstream: str, status: int) -> OperatorFault:
    """What is raised where GitHub gives no such token."""
    detail = (
        f"GitHub gives the App for upstream '{upstream}' no token for this call ({status}): it is not installed on "
        "this repository, or not with this permission. Nothing was sent."
    )
    return OperatorFault(Reason.CREDENTIAL_REFUSED, detail)
