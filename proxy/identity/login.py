"""Sign-in of people: OpenID Connect code flow with PKCE (RFC 7636), state and nonce.

Decides only that a person has just signed in at the configured issuer; the ID token itself is verified by
`proxy.identity.tokens`. What was sent along is kept in the store for ten minutes and used once, so any replica can take
the answer, and a second answer to the same question is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import cast

import aiohttp
from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from pydantic import TypeAdapter

from config.settings import SignIn
from policy.principal import Person
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault, Outage
from proxy.holds.connection import StoreConnection
from proxy.holds.sealing import Sealer
from proxy.identity.documents import LIMIT_BYTES
from proxy.identity.issuers import KeySource
from proxy.identity.jsontext import NotJson, json_object
from proxy.identity.tokens import TokenVerifier

_PENDING_S = 600
_LIMIT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSignIn:
    """What must come back, and where to go then."""

    nonce: str
    verifier: str
    browser: str
    """A secret of the browser that asked; the answer must come from the same one."""
    back_to: str


_PENDING = TypeAdapter(PendingSignIn)


class Login:
    """Sends people to the issuer and takes them back."""

    def __init__(
        self,
        settings: SignIn,
        *,
        redirect_uri: str,
        keys: KeySource,
        tokens: TokenVerifier,
        connection: StoreConnection,
        sealer: Sealer,
    ) -> None:
        self._settings = settings
        self.session_lifetime_s = settings.session_lifetime_s
        self._redirect_uri = redirect_uri
        self._keys = keys
        self._tokens = tokens
        self._connection = connection
        self._sealer = sealer

    async def begin(self, *, browser: str, back_to: str) -> str:
        """The URL to send this browser to. Raises Outage."""
        known = await self._keys.metadata(self._settings.issuer)
        if known.authorization_endpoint is None:
            raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer does not say where people sign in.")
        state, nonce, verifier = generate_token(43), generate_token(43), generate_token(64)
        pending = PendingSignIn(nonce=nonce, verifier=verifier, browser=browser, back_to=back_to)
        key = self._key(state)
        sealed = self._sealer.seal(_PENDING.dump_json(pending), bound_to=key)
        await self._connection.command("SET", key, sealed, "EX", _PENDING_S)
        return cast(
            "str",
            prepare_grant_uri(
                known.authorization_endpoint,
                self._settings.client_id,
                "code",
                redirect_uri=self._redirect_uri,
                scope=" ".join(self._settings.scopes),
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            ),
        )

    async def finish(self, *, code: str, state: str, browser: str) -> tuple[Person, str]:
        """The person who signed in, and where they wanted to go. Raises IdentityFault, or Outage."""
        pending = await self._pending(state)
        if pending is None or not _same(pending.browser, browser):
            raise IdentityFault(Reason.IDENTITY_INVALID, "This sign-in is not one you began here. Begin again.")
        if not code:
            raise IdentityFault(Reason.IDENTITY_INVALID, "The issuer did not sign you in. Begin again.")
        token = await self._exchanged(code, pending.verifier)
        person = await self._tokens.signed_in(
            token, issuer=self._settings.issuer, client_id=self._settings.client_id, nonce=pending.nonce
        )
        return person, pending.back_to

    async def _pending(self, state: str) -> PendingSignIn | None:
        key = self._key(state)
        kept = await self._connection.command("GETDEL", key)
        return _PENDING.validate_json(self._sealer.open(kept, bound_to=key)) if isinstance(kept, bytes) else None

    async def _exchanged(self, code: str, verifier: str) -> BearerText:
        known = await self._keys.metadata(self._settings.issuer)
        if known.token_endpoint is None:
            raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer does not say where codes are exchanged.")
        secret = self._settings.client_secret
        basic = secret is not None and "client_secret_post" not in known.token_endpoint_auth_methods
        client = {"client_id": self._settings.client_id} if not basic else {}
        if secret is not None and not basic:
            client["client_secret"] = secret.get_secret_value()
        form = prepare_token_request(
            "authorization_code", redirect_uri=self._redirect_uri, code=code, code_verifier=verifier, **client
        )
        auth = aiohttp.BasicAuth(self._settings.client_id, secret.get_secret_value()) if basic and secret else None
        return _id_token(await _posted(known.token_endpoint, form, auth))

    def _key(self, state: str) -> str:
        # The digest: what comes back in a link may be anything, and the name of a key should not be.
        digest = hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()
        return self._connection.key(f"sign-in:{digest}", "pending")


def _same(kept: str, sent: str) -> bool:
    return hmac.compare_digest(kept.encode(), sent.encode("utf-8", "surrogateescape"))


async def _posted(url: str, form: str, auth: aiohttp.BasicAuth | None) -> bytes:
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.post(url, data=form, headers=headers, auth=auth, allow_redirects=False) as answer,
        ):
            status, body = answer.status, bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > LIMIT_BYTES:
                    raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer's answer is too large.")
    except (TimeoutError, aiohttp.ClientError, OSError) as exc:
        raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer did not answer the exchange of the code.") from exc
    if status >= 500:
        raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer could not exchange the code.")
    if status != 200:
        raise IdentityFault(Reason.IDENTITY_INVALID, "The issuer refused the code. Begin the sign-in again.")
    return bytes(body)


def _id_token(body: bytes) -> BearerText:
    try:
        token = json_object(body).get("id_token")
    except NotJson as exc:
        raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer's answer is not JSON.") from exc
    if not isinstance(token, str):
        raise IdentityFault(Reason.IDENTITY_INVALID, "The issuer sent no ID token; is `openid` among the scopes?")
    return BearerText(token)
