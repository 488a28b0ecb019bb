"""The deny list: subjects, clients and tokens that are shut out, whatever their tokens say.

Checked at admission from a copy that is at most a few seconds old, and again at release in the store itself, because a
hold can outlive the credential it came with (threats J11). A copy that could not be refreshed counts as not knowing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from policy.principal import Identity, Person, Principal
from policy.reasons import Reason
from proxy.errors import AssentryError, CallerFault, Outage
from proxy.holds.connection import Command, Reply, StoreConnection, listed, text

_log = logging.getLogger("assentry.identity")

REFRESH_S = 1.0
MOST_STALE_S = 10.0
_VALUE = re.compile(r"[a-z][a-z0-9-]*:[A-Za-z0-9._:@/|+=-]{1,255}")


class Kind(StrEnum):
    """What a denial names. Each value is written `<issuer name>:<value>`."""

    SUBJECT = "subject"
    CLIENT = "client"
    TOKEN = "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One entry of the deny list."""

    kind: Kind
    value: str
    """`corp:robot`, `corp:<client id>` or `corp:<jti>`."""
    by: str
    reason: str
    at: int
    """Unix seconds."""

    @property
    def field(self) -> str:
        """The entry's name in the list."""
        return f"{self.kind.value}:{self.value}"


_DENIAL = TypeAdapter(Denial)


class Denials:
    """The deny list in the store, and this replica's copy of it."""

    def __init__(self, connection: StoreConnection, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._key = connection.key("denials", "list")
        self._fields: frozenset[str] = frozenset()
        self._refreshed_at = float("-inf")
        self.epoch = 0
        """Grows with every change seen: what was cached under an older epoch is void."""

    async def run(self) -> None:
        """Refresh the copy until cancelled; an outage is logged and waited out."""
        while True:
            try:
                await self.refresh()
            except AssentryError as fault:
                _log.warning("deny list not refreshed: %s", fault)
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Read the list again. Raises Outage."""
        fields = frozenset(text(field) for field in listed(await self._connection.command("HKEYS", self._key)))
        if fields != self._fields:
            self._fields = fields
            self.epoch += 1
        self._refreshed_at = self._monotonic()

    @property
    def fresh(self) -> bool:
        """Whether our copy is young enough to go by."""
        return self._monotonic() - self._refreshed_at <= MOST_STALE_S

    def shut_out(self, principal: Principal) -> bool:
        """Whether anyone behind this principal is on the list, by our copy. Raises Outage when the copy is too old."""
        if not self.fresh:
            raise Outage(Reason.STORE_UNAVAILABLE, "The deny list could not be read lately, so nobody is let in.")
        return bool(self._fields) and any(field in self._fields for field in _fields(principal))

    async def shut_out_now(self, who: Principal | Person | Identity) -> bool:
        """The same of an agent, a person or a bare subject, asked of the store itself. Raises Outage."""
        return shuts_out(await self._connection.command(*self.question(who)))

    def question(self, who: Principal | Person | Identity) -> Command:
        """What `shut_out_now` asks the store, for those who ask more at once; `shuts_out` reads the answer."""
        fields = (f"{Kind.SUBJECT.value}:{who}",) if isinstance(who, str) else _fields(who)
        return ("HMGET", self._key, *fields)

    async def add(self, denial: Denial) -> None:
        """Shut out from now on: this replica at once, the others within a second or two."""
        check_value(denial.value)
        await self._connection.command("HSET", self._key, denial.field, _DENIAL.dump_json(denial))
        await self.refresh()

    async def remove(self, kind: Kind, value: str) -> bool:
        """Let in again; False when it was not on the list."""
        removed = await self._connection.command("HDEL", self._key, f"{kind.value}:{value}")
        await self.refresh()
        return removed == 1

    async def listing(self) -> tuple[Denial, ...]:
        """Every entry, oldest first."""
        replies = listed(await self._connection.command("HVALS", self._key))
        entries = [_DENIAL.validate_json(text(reply)) for reply in replies]
        return tuple(sorted(entries, key=lambda entry: (entry.at, entry.field)))


def shuts_out(reply: Reply) -> bool:
    """Whether an answer to `Denials.question` names an entry."""
    return any(entry is not None for entry in listed(reply))


def check_value(value: str) -> None:
    """Nothing for `<issuer name>:<subject, client id or token id>`; CallerFault for anything else."""
    if not _VALUE.fullmatch(value):
        raise CallerFault(Reason.MALFORMED, "A denial names `<issuer name>:<subject, client id or token id>`.")


def _fields(who: Principal | Person) -> tuple[str, ...]:
    if isinstance(who, Person):
        subjects, bearer = frozenset({who.identity}), who.identity
    else:
        # The token's own `sub`: with delegation that is the subject, and the agent may be of another issuer.
        subjects, bearer = who.requesters, who.subject or who.agent
    issuer = bearer.split(":", 1)[0]
    named = [f"{Kind.SUBJECT.value}:{one}" for one in sorted(subjects)]
    if who.client:
        named.append(f"{Kind.CLIENT.value}:{issuer}:{who.client}")
    if who.token_id:
        named.append(f"{Kind.TOKEN.value}:{issuer}:{who.token_id}")
    return tuple(named)
