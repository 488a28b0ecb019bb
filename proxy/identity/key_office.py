"""Hands out agent keys and takes them back: on the ledger first, then in force.

What a key is and how it is verified is `proxy.identity.agent_keys`'. Who may come here is decided by whoever gives
access: no door leads to this office.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from policy.principal import Identity
from proxy.audit import record
from proxy.audit.record import Record
from proxy.doors.arrival import BearerText
from proxy.errors import AssentryError
from proxy.identity.agent_keys import AgentKey, AgentKeys


class KeyOffice:
    """Issues and revokes keys, each on the ledger with the operating-system account that asked."""

    def __init__(self, keys: AgentKeys, *, write: Callable[[Record], Awaitable[None]], account: str) -> None:
        """`write` returns when the disk has the record, and raises AssentryError otherwise."""
        self._keys = keys
        self._write = write
        self._account = account

    async def issue(
        self,
        agent: Identity,
        *,
        owner: Identity | None,
        groups: frozenset[str] = frozenset(),
        lifetime_s: int,
        note: str = "",
    ) -> tuple[AgentKey, BearerText]:
        """A new key and its text, which is shown once. Raises AssentryError, and then nobody has a key."""
        key, text = self._keys.draft(agent, owner=owner, groups=groups, lifetime_s=lifetime_s, note=note)
        await self._write(self._about(key, revoked=False))
        await self._keys.keep(key)
        return key, text

    async def issue_pair(
        self,
        agent: Identity,
        *,
        owner: Identity | None,
        groups: frozenset[str] = frozenset(),
        lifetime_s: int,
        note: str = "",
    ) -> AgentKey:
        """A new key to sign with; its secret is shown once. Raises AssentryError, and then nobody has a key."""
        key = self._keys.draft_pair(agent, owner=owner, groups=groups, lifetime_s=lifetime_s, note=note)
        await self._write(self._about(key, revoked=False))
        await self._keys.keep(key)
        return key

    async def revoke(self, key_id: str) -> AgentKey | None:
        """The key that no replica accepts any more; None when there was none.

        Raises AssentryError. When only the ledger failed the key is revoked all the same.
        """
        key = await self._keys.find(key_id)
        if key is None:
            return None
        try:
            await self._write(self._about(key, revoked=True))
        except AssentryError:
            # Shutting out is the safe direction: a full disk must not keep a stolen key in force.
            await self._keys.revoke(key_id)
            raise
        await self._keys.revoke(key_id)
        return key

    def _about(self, key: AgentKey, *, revoked: bool) -> Record:
        return record.key_issued(
            key.id, agent=key.agent, by=None, expires_at=key.expires_at, revoked=revoked, account=self._account
        )
