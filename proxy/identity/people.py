"""What we know of people's groups: what their issuer last said, and what the settings add.

Every sign-in and every call to the approvers' API tells us anew; what is older than `person_max_age_s` is forgotten,
and a forgotten person's approval no longer counts. Who may do what with a group is the law's business.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace

import orjson
from pydantic import TypeAdapter

from config.settings import Group
from policy.principal import Identity, Person
from policy.reasons import Reason
from proxy.errors import IdentityFault
from proxy.holds.connection import StoreConnection, load
from proxy.holds.sealing import Sealer
from proxy.identity.denials import Denials, shuts_out

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
        and when the person signed in stays what was shown just now. Raises IdentityFault for somebody who is shut out,
        or when all that is known is too old, and Outage.
        """
        key = self._key(person.identity)
        sealed = self._sealer.seal(_PERSON.dump_json(person), bound_to=key)
        told = _LATER.on(keys=(key,), args=(sealed, person.issued_at, self._max_age_s, self._mark(person)))
        denied, kept = await self._connection.together(self._denials.question(person), told)
        if shuts_out(denied):
            raise IdentityFault(Reason.IDENTITY_REVOKED, "You have been shut out. Ask an operator.")
        if not isinstance(kept, bytes):
            detail = "Your sign-in is too old for what may have changed since. Sign in again."
            raise IdentityFault(Reason.IDENTITY_EXPIRED, detail)
        latest = self._opened(key, kept)
        return self._placed(replace(person, name=latest.name, groups=latest.groups))

    async def read(self, identities: Iterable[Identity]) -> Mapping[Identity, Person]:
        """Those of these people of whom we know enough, as of today. Who is on the deny list is not among them."""
        wanted = tuple(identities)
        if not wanted:
            return {}
        told = [("HGET", self._key(one), "text") for one in wanted]
        denied = [self._denials.question(one) for one in wanted]
        replies = await self._connection.together(*told, *denied)
        return {
            identity: self._placed(self._opened(self._key(identity), kept))
            for identity, kept, denial in zip(wanted, replies[: len(wanted)], replies[len(wanted) :], strict=True)
            if isinstance(kept, bytes) and not shuts_out(denial)
        }

    def _opened(self, key: str, sealed: bytes) -> Person:
        return _PERSON.validate_json(self._sealer.open(sealed, bound_to=key))

    def _placed(self, person: Person) -> Person:
        claimed = {name for name in person.groups if name not in self._groups or self._groups[name].from_claims}
        named = {name for name, group in self._groups.items() if person.identity in group.members}
        return replace(person, groups=frozenset(claimed | named))

    def _mark(self, person: Person) -> str:
        # Keyed, because groups are few enough to be guessed from a bare digest.
        said = orjson.dumps((person, self._max_age_s), default=sorted)
        return hmac.digest(self._sealer.veiling_key, said, "sha256").hex()

    def _key(self, identity: Identity) -> str:
        return self._connection.key(f"person:{identity}", "said")
