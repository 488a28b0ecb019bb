"""Agent keys: credentials of ours for SDKs that cannot fetch tokens.

A key stands for one OIDC subject and is accepted wherever an SDK puts its own key. It is shown once and kept as a
digest only. A long random secret needs no slow hash: SHA-256 of 256 random bits cannot be guessed backwards.

A key for AWS's SDKs is a pair instead, with which calls are signed. Whoever checks a signature has to know the secret,
so of such a key the secret is kept, in the sealed record; nothing else opens with it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

from policy.principal import Identity, Principal, Proof
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault
from proxy.holds.connection import StoreConnection, listed, text
from proxy.holds.sealing import Sealer
from proxy.identity.cache import Believed

PREFIX = "ask_"
"""Secret scanners and people recognise a key by it."""
REMEMBERED_S = 5.0
"""How long a verified key is believed without asking the store: the longest a revocation takes."""
_MOST_REMEMBERED = 10_000
_FORM = re.compile(r"ask_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
PAIR_PREFIX = "ASSENTRY"
"""Before the id of a key, in capitals: with it an access key id is as long as one of AWS's."""
_PAIR_ID = re.compile(r"ASSENTRY([A-Z0-9]{12})")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKey:
    """What is kept of a key: everything but the key."""

    id: str
    digest: str
    """SHA-256 of the secret, hex."""
    agent: Identity
    owner: Identity | None = None
    groups: frozenset[str] = frozenset()
    note: str = ""
    issued_at: int
    expires_at: int
    signing_secret: str = field(default="", repr=False)
    """The secret half of a pair; empty for a key that is shown as it is."""

    @property
    def access_key_id(self) -> str:
        """The other half of a pair."""
        return PAIR_PREFIX + self.id.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Who signs with an access key id, and with what."""

    principal: Principal
    secret: str = field(repr=False)


_KEY = TypeAdapter(AgentKey)


class AgentKeys:
    """Issues, verifies and revokes agent keys."""

    def __init__(self, connection: StoreConnection, *, sealer: Sealer, now: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._sealer = sealer
        self._now = now
        self._remembered: dict[str, Believed[Principal]] = {}
        self._pairs: dict[str, Believed[Pair]] = {}
        self.epoch = 0
        """Grows when this replica revokes a key: what rests on an older proof is void."""

    def draft(
        self,
        agent: Identity,
        *,
        owner: Identity | None,
        groups: frozenset[str] = frozenset(),
        lifetime_s: int,
        note: str = "",
    ) -> tuple[AgentKey, BearerText]:
        """A new key for this subject, and its text, which is shown once and never kept. In force once kept."""
        # Lower case and digits only, so that an id can be read aloud.
        key_id = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(12))
        secret = secrets.token_urlsafe(32)
        issued_at = int(self._now())
        key = AgentKey(
            id=key_id,
            digest=_digest(secret),
            agent=agent,
            owner=owner,
            groups=groups,
            note=note,
            issued_at=issued_at,
            expires_at=issued_at + lifetime_s,
        )
        return key, BearerText(f"{PREFIX}{key_id}_{secret}")

    def draft_pair(
        self,
        agent: Identity,
        *,
        owner: Identity | None,
        groups: frozenset[str] = frozenset(),
        lifetime_s: int,
        note: str = "",
    ) -> AgentKey:
        """A new key to sign with: its access key id and secret are in it. In force once kept."""
        key, _ = self.draft(agent, owner=owner, groups=groups, lifetime_s=lifetime_s, note=note)
        # Nobody is told the text of the key, so it is of no use without signing.
        return replace(key, signing_secret=secrets.token_urlsafe(30))

    async def keep(self, key: AgentKey) -> None:
        """The key is in force on every replica. Raises Outage: then nobody may be given its text."""
        lifetime_s = key.expires_at - key.issued_at
        # Listed before it is in force: an outage in between leaves a name that stands for nothing.
        await self._connection.command("SADD", self._index, key.id)
        name = self._name(key.id)
        sealed = self._sealer.seal(_KEY.dump_json(key), bound_to=name)
        await self._connection.command("SET", name, sealed, "EX", lifetime_s)

    async def find(self, key_id: str) -> AgentKey | None:
        """The key in force with this id."""
        return await self._read(key_id)

    async def principal(self, bearer: BearerText) -> Principal:
        """Who this key stands for. Raises IdentityFault for a key that is malformed, unknown, revoked or expired."""
        if (known := self.believed(bearer)) is not None:
            return known.proof
        now = self._now()
        principal = _principal(await self._verified(bearer))
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        until = min(now + REMEMBERED_S, principal.expires_at)
        self._remembered[_digest(bearer)] = Believed(principal, now, until)
        return principal

    async def pair(self, access_key_id: str) -> Pair:
        """Who signs with this access key id. Raises IdentityFault for one that is unknown, revoked or expired."""
        now = self._now()
        remembered = self._pairs.get(access_key_id)
        if remembered is not None and remembered.good(now):
            return remembered.proof
        form = _PAIR_ID.fullmatch(access_key_id)
        key = await self._read(form[1].lower()) if form else None
        if key is None or not key.signing_secret:
            detail = "This access key id is not in force: it is unknown or revoked, or none that this gate issued."
            raise IdentityFault(Reason.IDENTITY_INVALID, detail)
        if now >= key.expires_at:
            raise IdentityFault(Reason.IDENTITY_EXPIRED, "This agent key has expired; ask for a new one.")
        pair = Pair(principal=_principal(key), secret=key.signing_secret)
        if len(self._pairs) >= _MOST_REMEMBERED:
            self._pairs.clear()
        self._pairs[access_key_id] = Believed(pair, now, min(now + REMEMBERED_S, key.expires_at))
        return pair

    def believed(self, bearer: BearerText) -> Believed[Principal] | None:
        """Who a key that was verified a moment ago stands for, without waiting; None: ask `principal`."""
        remembered = self._remembered.get(_digest(bearer))
        return remembered if remembered is not None and remembered.good(self._now()) else None

    async def revoke(self, key_id: str) -> bool:
        """True when there was such a key; no replica accepts it from `REMEMBERED_S` seconds on."""
        self._remembered.clear()
        self._pairs.clear()
        self.epoch += 1
        removed = await self._connection.command("DEL", self._name(key_id))
        await self._connection.command("SREM", self._index, key_id)
        return removed == 1

    async def revoked(self, principal: Principal) -> bool:
        """Whether this principal came with a key that was revoked since. Running out is not revocation."""
        if principal.proof is not Proof.AGENT_KEY or self._now() >= principal.expires_at:
            return False
        return principal.token_id is None or await self._read(principal.token_id) is None

    async def listing(self) -> tuple[AgentKey, ...]:
        """Every key in force, oldest first."""
        ids = [text(one) for one in listed(await self._connection.command("SMEMBERS", self._index))]
        keys = [await self._read(key_id) for key_id in ids]
        return tuple(sorted((key for key in keys if key is not None), key=lambda key: (key.issued_at, key.id)))

    async def _verified(self, bearer: BearerText) -> AgentKey:
        form = _FORM.fullmatch(bearer)
        key = await self._read(form[1]) if form else None
        if form is None or key is None or not hmac.compare_digest(key.digest, _digest(form[2])):
            raise IdentityFault(Reason.IDENTITY_INVALID, "This agent key is not in force: it is unknown or revoked.")
        if self._now() >= key.expires_at:
            raise IdentityFault(Reason.IDENTITY_EXPIRED, "This agent key has expired; ask for a new one.")
        return key

    async def _read(self, key_id: str) -> AgentKey | None:
        name = self._name(key_id)
        kept = await self._connection.command("GET", name)
        # Sealed, so that whoever can write to the store cannot make an agent up. Raises OperatorFault for a forgery.
        return _KEY.validate_json(self._sealer.open(kept, bound_to=name)) if isinstance(kept, bytes) else None

    def _name(self, key_id: str) -> str:
        return self._connection.key(f"agent-key:{key_id}", "key")

    @property
    def _index(self) -> str:
        return self._connection.key("agent-keys", "index")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _principal(key: AgentKey) -> Principal:
    return Principal(
        agent=key.agent,
        owner=key.owner,
        groups=key.groups,
        token_id=key.id,
        expires_at=key.expires_at,
        proof=Proof.AGENT_KEY,
    )
