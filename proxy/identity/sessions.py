"""Signed-in browsers: who they belong to, and the token that their forms must carry.

The cookie holds a random name; the store holds its digest and, sealed, the person. Stealing the store gives no session,
writing to it makes none, and ending a session ends it on every replica.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter

from policy.principal import Person
from proxy.holds.connection import StoreConnection
from proxy.holds.sealing import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One signed-in browser."""

    person: Person
    form_token: str
    """Carried by every form of this session (synchronizer token)."""
    until: int
    """Unix seconds."""


_SESSION = TypeAdapter(Session)


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(
        self,
        connection: StoreConnection,
        *,
        sealer: Sealer,
        lifetime_s: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._sealer = sealer
        self._lifetime_s = lifetime_s
        self._now = now

    async def begin(self, person: Person) -> str:
        """The name of a new session, for the cookie. Never reuses one, so none can be planted beforehand."""
        name = secrets.token_urlsafe(32)
        until = int(self._now()) + self._lifetime_s
        session = Session(person=person, form_token=secrets.token_urlsafe(32), until=until)
        key = self._key(name)
        sealed = self._sealer.seal(_SESSION.dump_json(session), bound_to=key)
        await self._connection.command("SET", key, sealed, "EX", self._lifetime_s)
        return name

    async def find(self, name: str) -> Session | None:
        """The session of that name, if it is still good. Raises OperatorFault for one that we did not write."""
        key = self._key(name)
        kept = await self._connection.command("GET", key) if name else None
        if not isinstance(kept, bytes):
            return None
        session = _SESSION.validate_json(self._sealer.open(kept, bound_to=key))
        return session if self._now() < session.until else None

    async def end(self, name: str) -> None:
        """Sign out everywhere this session is used."""
        await self._connection.command("DEL", self._key(name))

    def _key(self, name: str) -> str:
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        return self._connection.key(f"session:{digest}", "session")


def carries(session: Session, form_token: str) -> bool:
    """Whether a form came from a page of this session."""
    return hmac.compare_digest(session.form_token.encode(), form_token.encode("utf-8", "surrogateescape"))
