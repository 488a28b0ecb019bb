"""Turns verified claims into a Principal or a Person: who is named, in which form, by whom.

Decides nothing about signatures, audiences or times (`tokens` has), and nothing about what the named may do. A claim
that is there but malformed refuses the token: four eyes depend on these names, and not knowing is No.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NewType

from config.settings import Issuer
from policy.principal import Identity, Person, Principal, identity
from policy.reasons import Reason
from proxy.errors import IdentityFault
from proxy.identity.compact import refused
from proxy.identity.jsontext import Json, JsonObject

Issuers = NewType("Issuers", Mapping[str, Issuer])
"""The configured issuers by exact `iss`."""

MOST_ACTORS = 16
MOST_GROUPS = 500
GROUP_CHARACTERS = 256
NAME_CHARACTERS = 200

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._:@/|+=-]{1,255}")
"""Threat J10: no control, bidirectional or markup characters in anything that is logged, shown or compared."""
_MACHINE_MARKS: Final = (("gty", "client-credentials"), ("idtyp", "app"))
"""How Auth0 and Entra ID mark tokens without a person behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedClaims:
    """The claims of a token whose signature, issuer, audience and times hold."""

    issuer: Issuer
    claims: JsonObject
    issued_at: float
    """Unix seconds."""
    expires_at: float
    """Unix seconds."""


def principal(verified: VerifiedClaims, *, issuers: Issuers) -> Principal:
    """The agent behind verified claims (RFC 8693 section 4.1).

    With `act`, the outermost actor is the agent, nested actors are the chain, latest first, and the token's `sub` is
    on whose behalf; without, `sub` is the agent. Raises IdentityFault.
    """
    claims, issuer = verified.claims, verified.issuer
    subject = identity(issuer.name, _identifier(claims.get("sub"), "sub"))
    actors = _actors(claims, issuer=issuer, issuers=issuers)
    owner = _at(claims, issuer.claims.owner)
    return Principal(
        agent=actors[0] if actors else subject,
        subject=subject if actors else None,
        chain=actors[1:],
        owner=None if owner is None else identity(issuer.name, _identifier(owner, "owner claim")),
        groups=_groups(claims, issuer=issuer),
        client=_client(claims),
        token_id=_optional_identifier(claims, "jti"),
        expires_at=math.floor(verified.expires_at),
    )


def person(verified: VerifiedClaims) -> Person:
    """The human behind verified claims. Raises IdentityFault: NOT_A_PERSON for an actor or a machine."""
    claims, issuer = verified.claims, verified.issuer
    subject = _identifier(claims.get("sub"), "sub")
    if "act" in claims:
        raise _no_person("it is held by an actor on a person's behalf")
    if subject == _client(claims) or any(claims.get(name) == mark for name, mark in _MACHINE_MARKS):
        # RFC 9068 section 2.2: without a resource owner `sub` names the client itself.
        raise _no_person("it names a client, not a person")
    return Person(
        identity=identity(issuer.name, subject),
        name=_display_name(_at(claims, issuer.claims.name), fallback=subject),
        groups=_groups(claims, issuer=issuer),
        authenticated_at=_signed_in_at(claims),
        methods=frozenset(_texts(claims.get("amr"), "amr")),
        issued_at=math.floor(verified.issued_at),
        client=_client(claims),
        token_id=_optional_identifier(claims, "jti"),
    )


def _no_person(why: str) -> IdentityFault:
    return IdentityFault(Reason.NOT_A_PERSON, f"The bearer token does not prove a person: {why}.")


def _actors(claims: JsonObject, *, issuer: Issuer, issuers: Issuers) -> tuple[Identity, ...]:
    actors: list[Identity] = []
    member: JsonObject = claims
    while "act" in member:
        actor = member["act"]
        if not isinstance(actor, dict) or len(actors) == MOST_ACTORS:
            raise refused("its act claim is not a chain of actors")
        home = _home(actor, issuer=issuer, issuers=issuers)
        actors.append(identity(home, _identifier(actor.get("sub"), "act.sub")))
        member = actor
    return tuple(actors)


def _home(actor: JsonObject, *, issuer: Issuer, issuers: Issuers) -> str:
    """Name of the issuer whose subject an actor is: the token's own, or one that it may vouch for.

    One issuer must not be able to speak in the name of another's agents only because both are configured.
    """
    if "iss" not in actor:
        return issuer.name
    named = actor["iss"]
    home = issuers.get(named) if isinstance(named, str) else None
    if home is None or (home.name != issuer.name and home.name not in issuer.vouches_for):
        raise refused("its act claim names an actor of an issuer that this one may not vouch for")
    return home.name


def _identifier(value: Json, name: str) -> str:
    if not isinstance(value, str) or _IDENTIFIER.fullmatch(value) is None:
        raise refused(f"its {name} is missing, too long or holds characters that are not allowed")
    return value


def _optional_identifier(claims: JsonObject, name: str) -> str | None:
    value = claims.get(name)
    return None if value is None else _identifier(value, name)


def _client(claims: JsonObject) -> str | None:
    return _optional_identifier(claims, "azp") or _optional_identifier(claims, "client_id")


def _at(claims: JsonObject, path: str) -> Json:
    """The claim of that very name (`https://example.com/roles`), or else the one at the dotted path."""
    if path in claims:
        return claims[path]
    found: Json = dict(claims)
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _groups(claims: JsonObject, *, issuer: Issuer) -> frozenset[str]:
    return frozenset(_texts(_at(claims, issuer.claims.groups), "groups claim"))


def _texts(value: Json, name: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_GROUPS:
        raise refused(f"its {name} is not a list of at most {MOST_GROUPS} names")
    texts = [text for text in value if isinstance(text, str) and _is_plain(text, limit=GROUP_CHARACTERS)]
    if len(texts) != len(value):
        raise refused(f"its {name} holds something that is not a plain name")
    return texts


def _is_plain(text: str, *, limit: int) -> bool:
    """True for 1 to `limit` characters, none of them control, format, surrogate or unassigned (category C)."""
    return 0 < len(text) <= limit and not any(unicodedata.category(c).startswith("C") for c in text)


def _display_name(value: Json, *, fallback: str) -> str:
    """The name to show. It identifies nobody, so an odd one is passed over rather than refused."""
    return value if isinstance(value, str) and _is_plain(value, limit=NAME_CHARACTERS) else fallback


def _signed_in_at(claims: JsonObject) -> int | None:
    value = claims.get("auth_time")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise refused("its auth_time is not a time")
    return math.floor(value)
