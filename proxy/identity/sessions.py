"""Signed-in browsers: who they belong to, and the token that their forms must carry.

The cookie holds a random name; the store holds its digest and the person. Stealing the store gives no session, and
ending a session ends it on every replica.
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

    def __init__(self, connection: StoreConnection, *, lifetime_s: int, now: Callable[[], float] = time.time) -> None:
        self._connection = connection
        self._lifetime_s = lifetime_s
        self._now = now

    async def begin(self, person: Person) -> str:
        """The name of a new session, for the cookie. Never reuses one, so none can be planted beforehand."""
        name = secrets.token_urlsafe(32)
        until = int(self._now()) + self._lifetime_s
        session = Session(person=person, form_token=secrets.token_urlsafe(32), until=until)
        await self._connection.command("SET", self._key(name), _SESSION.dump_json(session), "EX", self._lifetime_s)
        return name

    async def find(self, name: str) -> Session | None:
        """The session of that name, if it is still good."""
        kept = await self._connection.command("GET", self._key(name)) if name else None
        session = _SESSION.validate_json(kept) if isinstance(kept, bytes) else None
        return session if session is not None and self._now() < session.until else None

    async def end(self, name: str) -> None:
        """Sign out everywhere this session is used."""
        await self._connection.command("DEL", self._key(name))

    def _key(self, name: str) -> str:
        return self._connection.key(f"session:{hashlib.sha256(name.encode()).hexdigest()}", "session")


def carries(session: Session, form_token: str) -> bool:
    """Whether a form came from a page of this session."""
    return hmac.compare_digest(session.form_token.encode(), form_token.encode("utf-8", "replace"))
