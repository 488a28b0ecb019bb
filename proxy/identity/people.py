"""What we know of people's groups: what their issuer last said, and what the settings add.

Every sign-in and every call to the approvers' API tells us anew; what is older than `person_max_age_s` is forgotten,
and a forgotten person's approval no longer counts. Who may do what with a group is the law's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pydantic import TypeAdapter

from config.settings import Group
from policy.principal import Identity, Person
from policy.reasons import Reason
from proxy.errors import IdentityFault
from proxy.holds.connection import StoreConnection, load
from proxy.holds.sealing import Sealer
from proxy.identity.denials import Denials

_PERSON = TypeAdapter(Person)
_LATER = load("later")


class People:
    """The directory, as far as sign-ins filled it. Sealed, so that nobody writes themselves into a group."""

    def __init__(
        self,
        connection: StoreConnection,
        *,
        sealer: Sealer,
        groups: Mapping[str, Group],
        max_age_s: int,
        denials: Denials,
    ) -> None:
        self._connection = connection
        self._sealer = sealer
        self._groups = groups
        self._max_age_s = max_age_s
        self._denials = denials

    async def seen(self, person: Person) -> Person:
        """The person, in the groups that their issuer last named and those of the settings; remembered.

        An older telling never replaces a later one: who left a group has left it, whatever an older token says. How
        and when the person signed in stays what was shown just now. Raises IdentityFault when all that is known is
        too old, and Outage.
        """
        key = self._key(person.identity)
        sealed = self._sealer.seal(_PERSON.dump_json(person), bound_to=key)
        kept = await self._connection.script(_LATER, keys=[key], args=[sealed, person.issued_at, self._max_age_s])
        if not isinstance(kept, bytes):
            detail = "Your sign-in is too old for what may have changed since. Sign in again."
            raise IdentityFault(Reason.IDENTITY_EXPIRED, detail)
        latest = self._opened(key, kept)
        return self._placed(replace(person, name=latest.name, groups=latest.groups))

    async def read(self, identities: Iterable[Identity]) -> Mapping[Identity, Person]:
        """Those of these people of whom we know enough, as of today. Who is on the deny list is not among them."""
        wanted = tuple(identities)
        found = await asyncio.gather(*(self._read(one) for one in wanted))
        return {one.identity: one for one in found if one is not None}

    async def _read(self, identity: Identity) -> Person | None:
        key = self._key(identity)
        kept = await self._connection.command("HGET", key, "text")
        if not isinstance(kept, bytes) or await self._denials.shut_out_now(identity):
            return None
        return self._placed(self._opened(key, kept))

    def _opened(self, key: str, sealed: bytes) -> Person:
        return _PERSON.validate_json(self._sealer.open(sealed, bound_to=key))

    def _placed(self, person: Person) -> Person:
        claimed = {name for name in person.groups if name not in self._groups or self._groups[name].from_claims}
        named = {name for name, group in self._groups.items() if person.identity in group.members}
        return replace(person, groups=frozenset(claimed | named))

    def _key(self, identity: Identity) -> str:
        return self._connection.key(f"person:{identity}", "said")
