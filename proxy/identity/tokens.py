"""Verifies bearer tokens by what is configured, never by what the token asks for (RFC 8725, RFC 9068 section 4).

Decides whether a token is good for the agents' door or for the approvers': signature, issuer, audience, kind and times.
Who it names is `principals`' reading, which keys count is `issuers`'. No token, whatever is in it, causes anything but
an IdentityFault.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import jwt

from config.settings import Algorithm, Issuer
from policy.principal import Person, Principal
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault, OperatorFault
from proxy.identity.cache import Believed, ProofCache
from proxy.identity.compact import Unproven, read_compact, refused
from proxy.identity.issuers import KeySource
from proxy.identity.jsontext import Json, JsonObject
from proxy.identity.jwks import PublicKey
from proxy.identity.principals import Issuers, VerifiedClaims, person, principal

MOST_AUDIENCES = 20

# An instance of its own: `none` and the HMAC algorithms are not in it, whatever is registered elsewhere.
_JWS: Final = jwt.PyJWS(
    algorithms=[a.value for a in Algorithm], options={"verify_signature": True, "enforce_minimum_key_length": True}
)


class TokenVerifier:
    """Bearer text in, a Principal or a Person out. One per process; safe to share among calls."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        keys: KeySource,
        *,
        now: Callable[[], float] = time.time,
        cache_size: int = 50_000,
    ) -> None:
        """`cache_size` bounds remembered proofs per door. Raises OperatorFault as `check_issuers`."""
        check_issuers(issuers)
        self._issuers = Issuers({issuer.issuer: issuer for issuer in issuers})
        self._agents_audiences = frozenset(i.agents_audience for i in issuers if i.agents_audience is not None)
        self._people_audiences = frozenset(i.people_audience for i in issuers if i.people_audience is not None)
        self._keys = keys
        self._now = now
        self._agents: ProofCache[Principal] = ProofCache(size=cache_size)
        self._people: ProofCache[Person] = ProofCache(size=cache_size)
        self.epoch = 0
        """Grows when everything is forgotten: what rests on an older proof is void."""

    def believed(self, text: BearerText) -> Believed[Principal] | None:
        """The agent behind a token verified less than a minute ago, without waiting; None: ask `agent`."""
        return self._agents.find(text, now=self._now())

    async def agent(self, text: BearerText) -> Principal:
        """The agent that holds this token. Raises IdentityFault, or Outage(ISSUER_UNAVAILABLE)."""
        if (known := self.believed(text)) is not None:
            return known.proof
        unproven, issuer = await self._proven(text)
        if self._people_audiences & set(_audiences(unproven.claims)):
            raise IdentityFault(Reason.NOT_AN_AGENT, "The bearer token is a person's; agents have tokens of their own.")
        if issuer.agents_audience is None:
            raise IdentityFault(Reason.NOT_AN_AGENT, f"Issuer '{issuer.name}' has no agents here.")
        verified = self._verified(unproven, issuer=issuer, audience=issuer.agents_audience)
        found = principal(verified, issuers=self._issuers)
        self._agents.put(text, found, now=self._now(), expires_at=verified.expires_at)
        return found

    async def person(self, text: BearerText) -> Person:
        """The person whom this token proves. Raises IdentityFault, or Outage(ISSUER_UNAVAILABLE)."""
        if (known := self._people.get(text, now=self._now())) is not None:
            return known
        unproven, issuer = await self._proven(text)
        self._refuse_agents(unproven)
        if issuer.people_audience is None:
            raise IdentityFault(Reason.NOT_A_PERSON, f"Issuer '{issuer.name}' has no people here.")
        verified = self._verified(unproven, issuer=issuer, audience=issuer.people_audience)
        found = person(verified)
        self._people.put(text, found, now=self._now(), expires_at=verified.expires_at)
        return found

    async def signed_in(self, text: BearerText, *, issuer: str, client_id: str, nonce: str) -> Person:
        """The person in an ID token of the named issuer, just received for a sign-in of ours. Raises as `person`.

        OpenID Connect Core section 3.1.3.7: `aud` is our client id, `azp` if there is ours too, and `nonce` the one
        that was sent. Not remembered: an ID token is looked at once.
        """
        unproven, signer = await self._proven(text, types=("jwt",))
        self._refuse_agents(unproven)
        if signer.name != issuer:
            raise refused("it is of another issuer than the one asked to sign in")
        sent = unproven.claims.get("nonce")
        if not isinstance(sent, str) or not hmac.compare_digest(sent.encode("utf-8", "replace"), nonce.encode()):
            raise refused("it does not belong to this sign-in")
        if unproven.claims.get("azp", client_id) != client_id:
            raise refused("it was issued to another client")
        return person(self._verified(unproven, issuer=signer, audience=client_id))

    def forget(self) -> None:
        """Drops all remembered proofs: every token is verified anew at its next use."""
        self._agents.forget()
        self._people.forget()
        self.epoch += 1

    async def _proven(self, text: BearerText, *, types: Sequence[str] | None = None) -> tuple[Unproven, Issuer]:
        """The token's parts, once its signature is known to be its issuer's. Its claims are still to be judged.

        `types` are the kinds taken (`typ`); None: those of the issuer's settings.
        """
        unproven = read_compact(text)
        issuer = self._issuers.get(unproven.issuer)
        if issuer is None:
            raise refused("its issuer is not one of ours")
        algorithm = next((a for a in issuer.algorithms if a.value == unproven.algorithm), None)
        if algorithm is None:
            raise refused(f"it is not signed with an algorithm of issuer '{issuer.name}'")
        if unproven.type not in (issuer.token_types if types is None else types):
            raise refused("it is of another kind than the tokens taken here")
        published = await self._keys.key(issuer.name, key_id=unproven.key_id, algorithm=algorithm)
        if published is None:
            raise refused(f"issuer '{issuer.name}' publishes no key that it was signed with")
        _check_signature(unproven, key=published.key, algorithm=algorithm)
        return unproven, issuer

    def _refuse_agents(self, unproven: Unproven) -> None:
        if self._agents_audiences & set(_audiences(unproven.claims)):
            raise IdentityFault(Reason.NOT_A_PERSON, "The bearer token is an agent's; people sign in.")

    def _verified(self, unproven: Unproven, *, issuer: Issuer, audience: str) -> VerifiedClaims:
        claims = unproven.claims
        _check_audience(claims, issuer=issuer, audience=audience)
        _check_kind(claims)
        expires_at = _check_times(claims, issuer=issuer, now=self._now())
        return VerifiedClaims(issuer=issuer, claims=claims, issued_at=_time(claims, "iat"), expires_at=expires_at)


def check_issuers(issuers: Sequence[Issuer]) -> None:
    """Nothing, or OperatorFault: two issuers of one name or `iss`, or an audience that agents and people share."""
    for what, values in (("name", [i.name for i in issuers]), ("issuer", [i.issuer for i in issuers])):
        if len(set(values)) != len(values):
            # Two names for one `iss` would give one person two identities, and four eyes to one pair.
            raise OperatorFault(Reason.IDENTITY_INVALID, f"Two entries of `issuers` have the same `{what}`.")
    agents = {i.agents_audience for i in issuers} - {None}
    people = {i.people_audience for i in issuers} - {None}
    if agents & people:
        raise OperatorFault(
            Reason.IDENTITY_INVALID,
            "An `agents_audience` equals a `people_audience`: an agent's token would open the approvers' door.",
        )
    unknown = {name for i in issuers for name in i.vouches_for} - {i.name for i in issuers}
    if unknown:
        raise OperatorFault(Reason.IDENTITY_INVALID, f"`vouches_for` names no issuer of ours: {sorted(unknown)}.")


def _check_signature(unproven: Unproven, *, key: PublicKey, algorithm: Algorithm) -> None:
    try:
        signed: object = _JWS.decode(unproven.text, key=key, algorithms=[algorithm.value])
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise refused("its signature does not verify") from exc
    # INVARIANT: the bytes that were verified are the bytes that were read.
    if signed != unproven.payload:
        raise refused("its signature does not verify")


def _audiences(claims: JsonObject) -> tuple[str, ...]:
    """The values of `aud`: a string, or a list of strings none of which stands twice (RFC 7519 section 4.1.3)."""
    value: Json = claims.get("aud")
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or len(value) > MOST_AUDIENCES:
        raise refused("it does not say whom it is for")
    texts = tuple(text for text in value if isinstance(text, str))
    if len(texts) != len(value) or len(set(texts)) != len(texts):
        raise refused("it does not say clearly whom it is for")
    return texts


def _check_audience(claims: JsonObject, *, issuer: Issuer, audience: str) -> None:
    """Refuses unless the token is for us, character by character, and for nobody else who is not named.

    A list is taken, since Keycloak and Auth0 send lists. But whoever else stands in it has held this token and could
    send it on to us, so every other member must be a `companion_audiences` of the issuer.
    """
    audiences = _audiences(claims)
    if audience not in audiences:
        raise refused("it is not for this gate: `aud` is another")
    if not _all_in(audiences, (audience, *issuer.companion_audiences)):
        raise refused(
            "it is for others too: `aud` must be this gate alone; the operator may name `companion_audiences` "
            f"of issuer '{issuer.name}'"
        )


def _all_in(values: Iterable[str], allowed: Iterable[str]) -> bool:
    return set(values) <= set(allowed)


def _check_kind(claims: JsonObject) -> None:
    if "events" in claims:
        # RFC 8417 and back-channel logout: older ones carry no `typ` of their own, but always this claim.
        raise refused("it is a security event, not an access token")
    if "cnf" in claims:
        # RFC 9449 section 7.1, RFC 8705 section 3: a bound token must not pass as a bearer token.
        raise refused("it is bound to a key of its holder, and proof of that key is not taken here")


def _check_times(claims: JsonObject, *, issuer: Issuer, now: float) -> float:
    """The expiry, Unix seconds. `exp` and `iat` are required, `nbf` is not; a token of unknown age is refused."""
    expires_at, issued_at = _time(claims, "exp"), _time(claims, "iat")
    not_before = _time(claims, "nbf") if "nbf" in claims else issued_at
    if max(issued_at, not_before) > now + issuer.leeway_s:
        raise refused("it is not valid yet")
    if not 0 < expires_at - issued_at <= issuer.max_lifetime_s:
        raise refused(f"it lives longer than issuer '{issuer.name}' is allowed to let it")
    if expires_at + issuer.leeway_s <= now:
        raise IdentityFault(Reason.IDENTITY_EXPIRED, "The bearer token has expired; get a new one.")
    return expires_at


def _time(claims: JsonObject, name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise refused(f"its {name} is not a time")
    return float(value)
