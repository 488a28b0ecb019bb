"""Whose keys verify tokens, and where an issuer's endpoints are: OpenID Connect discovery and JWK Sets, kept.

Decides which documents are believed; which keys in them are usable is `jwks`' decision, how long they serve `kept`'s,
and whether a token is good `tokens`'.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from config.settings import Algorithm, Issuer
from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage
from proxy.identity.documents import TIMEOUT_S, Documents, is_loopback, may_fetch
from proxy.identity.jsontext import JsonObject
from proxy.identity.jwks import KeyRing, NotAKeySet, PublishedKey, key_ring
from proxy.identity.kept import Clock, Kept

log = logging.getLogger("assentry.identity")

TEND_EVERY_S = 15.0


class KeyAlarm(StrEnum):
    """What an operator should know about an issuer's documents. The words of the metric."""

    STALE = "stale"
    """A fetch failed; the last good copy serves."""
    GONE = "gone"
    """A fetch failed and there is nothing to serve: the issuer's tokens are answered with 503."""
    KEYS_LEFT_OUT = "keys-left-out"
    """A set came that holds no usable key, or keys that may not be used though they are for signatures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What an issuer's discovery document says (OpenID Connect Discovery 1.0 section 3). Every URL may be fetched."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods: tuple[str, ...] = ("client_secret_basic",)
    """How the token endpoint lets clients authenticate; the default is the specification's."""


class KeySource:
    """The keys and endpoints of the configured issuers. `run` keeps them fresh; without it callers fetch."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        *,
        clock: Clock = time.monotonic,
        timeout_s: float = TIMEOUT_S,
        alarm: Callable[[str, KeyAlarm], None] = lambda _name, _alarm: None,
    ) -> None:
        """`timeout_s` limits each fetch; `alarm` counts, by issuer name.

        Raises OperatorFault for an issuer whose keys would come over plain http from another machine.
        """
        for issuer in issuers:
            _check_addresses(issuer)
        self._alarm = alarm
        self._documents = Documents(timeout_s=timeout_s)
        self._discoveries = {i.name: self._keep_discovery(i, clock=clock) for i in issuers}
        self._rings = {i.name: self._keep_ring(i, clock=clock) for i in issuers}

    async def key(self, issuer: str, *, key_id: str | None, algorithm: Algorithm) -> PublishedKey | None:
        """The key of the named issuer for such a token; None when it publishes none.

        A `kid` that is not known causes at most one fetch in 30 s per issuer. Raises Outage(ISSUER_UNAVAILABLE)
        when no set younger than 24 h is kept.
        """
        kept = self._rings[issuer]
        found = (await kept.get()).find(key_id=key_id, algorithm=algorithm)
        if found is not None:
            return found
        return (await kept.again()).find(key_id=key_id, algorithm=algorithm)

    async def metadata(self, issuer: str) -> Discovery:
        """The named issuer's discovery document. Raises Outage(ISSUER_UNAVAILABLE) when none is kept."""
        return await self._discoveries[issuer].get()

    async def run(self) -> None:
        """Fetches ahead of the callers until cancelled. The wiring's task group owns it."""
        while True:
            for kept in self._rings.values():
                await kept.tend()
            await asyncio.sleep(TEND_EVERY_S)

    async def close(self) -> None:
        """Closes the connections to the issuers."""
        await self._documents.close()

    def _keep_ring(self, issuer: Issuer, *, clock: Clock) -> Kept[KeyRing]:
        async def fetch() -> KeyRing:
            uri = issuer.jwks_uri or (await self._discoveries[issuer.name].get()).jwks_uri
            return self._ring(issuer, document=await self._documents.fetch(uri))

        return Kept(fetch, clock=clock, failed=self._reporter(issuer))

    def _keep_discovery(self, issuer: Issuer, *, clock: Clock) -> Kept[Discovery]:
        async def fetch() -> Discovery:
            # Section 4.1: a slash at the end of the issuer is taken off before the well-known path is put on.
            url = issuer.issuer.removesuffix("/") + "/.well-known/openid-configuration"
            return read_discovery(await self._documents.fetch(url), issuer=issuer.issuer)

        return Kept(fetch, clock=clock, failed=self._reporter(issuer))

    def _ring(self, issuer: Issuer, *, document: JsonObject) -> KeyRing:
        try:
            ring = key_ring(document, pinned=issuer.algorithms)
        except NotAKeySet as exc:
            raise Outage(Reason.ISSUER_UNAVAILABLE, "The issuer did not answer with a set of keys.") from exc
        if not ring.all or "duplicate kid" in ring.refused:
            # An empty set is believed: an issuer that withdraws its keys must be able to. Not knowing is No.
            log.warning("issuer %s: %d usable keys, left out: %s", issuer.name, len(ring.all), list(ring.refused))
            self._alarm(issuer.name, KeyAlarm.KEYS_LEFT_OUT)
        return ring

    def _reporter(self, issuer: Issuer) -> Callable[[Outage, float | None], None]:
        def report(fault: Outage, age_s: float | None) -> None:
            if age_s is None:
                log.error("issuer %s: %s Nothing is kept.", issuer.name, fault.detail)
                self._alarm(issuer.name, KeyAlarm.GONE)
            else:
                log.warning("issuer %s: %s What is kept is %.0f s old.", issuer.name, fault.detail, age_s)
                self._alarm(issuer.name, KeyAlarm.STALE)

        return report


def read_discovery(document: JsonObject, *, issuer: str) -> Discovery:
    """The discovery document of `issuer`. Raises Outage(ISSUER_UNAVAILABLE) when it is another's or misleads.

    Section 4.3: its `issuer` must be exactly the one asked. Plain http is taken only from an issuer on loopback, so
    that no document moves the keys of a remote issuer to a port of this machine.
    """
    if document.get("issuer") != issuer:
        raise Outage(Reason.ISSUER_UNAVAILABLE, "The discovery document names another issuer.")
    jwks_uri = _endpoint(document, "jwks_uri", issuer=issuer)
    if jwks_uri is None:
        raise Outage(Reason.ISSUER_UNAVAILABLE, "The discovery document names no keys.")
    methods = document.get("token_endpoint_auth_methods_supported")
    named = tuple(m for m in methods if isinstance(m, str)) if isinstance(methods, list) else ("client_secret_basic",)
    return Discovery(
        issuer=issuer,
        jwks_uri=jwks_uri,
        authorization_endpoint=_endpoint(document, "authorization_endpoint", issuer=issuer),
        token_endpoint=_endpoint(document, "token_endpoint", issuer=issuer),
        userinfo_endpoint=_endpoint(document, "userinfo_endpoint", issuer=issuer),
        end_session_endpoint=_endpoint(document, "end_session_endpoint", issuer=issuer),
        token_endpoint_auth_methods=named,
    )


def _endpoint(document: JsonObject, name: str, *, issuer: str) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    if isinstance(url, str) and may_fetch(url) and (url.startswith("https:") or is_loopback(issuer)):
        return url
    raise Outage(Reason.ISSUER_UNAVAILABLE, f"The discovery document's {name} is not an acceptable address.")


def _check_addresses(issuer: Issuer) -> None:
    asked = issuer.jwks_uri or issuer.issuer
    if not may_fetch(asked):
        raise OperatorFault(
            Reason.ISSUER_UNAVAILABLE,
            f"Issuer '{issuer.name}': keys are fetched over https, or over http from loopback, not from {asked}.",
        )
