"""Who is behind a call, and who is behind a click.

Decides nothing about tokens: `proxy.identity` verifies them and builds these values from verified claims only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

Identity = NewType("Identity", str)
"""`<issuer name>:<sub>`, for example `corp:ann`. Stable for the life of the account; never an e-mail address."""


def identity(issuer: str, subject: str) -> Identity:
    """The identity of a subject of a named issuer. Issuer names hold no colon, so the form is unambiguous."""
    return Identity(f"{issuer}:{subject}")


class Proof(StrEnum):
    """How a principal proved who it is."""

    TOKEN = "token"
    AGENT_KEY = "agent-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An agent, on whose behalf it acts, and everyone in between (RFC 8693 `act`)."""

    agent: Identity
    """Who holds the connection: the outermost `act.sub`, or the token's `sub` when nobody delegated."""
    subject: Identity | None = None
    """On whose behalf: the token's `sub` when the token carries an `act` chain."""
    chain: tuple[Identity, ...] = ()
    """Earlier actors of a nested `act`, latest first. Informational for grants, binding for four eyes."""
    owner: Identity | None = None
    groups: frozenset[str] = frozenset()
    client: str | None = None
    token_id: str | None = None
    expires_at: int
    """Unix seconds at which the proof stops counting."""
    proof: Proof = Proof.TOKEN

    @property
    def requesters(self) -> frozenset[Identity]:
        """Everyone who must not approve what this principal asks for."""
        return frozenset(x for x in (self.agent, self.subject, self.owner, *self.chain) if x is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A human who signed in at one of the issuers of people."""

    identity: Identity
    name: str
    groups: frozenset[str] = frozenset()
    authenticated_at: int | None = None
    """Unix seconds of the sign-in (`auth_time`), None when the issuer does not say."""
    methods: frozenset[str] = frozenset()
    """`amr` of RFC 8176."""
    issued_at: int = 0
    """Unix seconds at which the issuer said all this; of two tellings the later one counts."""
    client: str | None = None
    token_id: str | None = None
    """What this was read from, so that a stolen token can be shut out and not only its owner."""
