"""Who is let in: an agent by token or key, a person by token, and nobody who is on the deny list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from policy.principal import Person, Principal
from policy.reasons import Reason
from proxy.doors.arrival import Arrival, BearerText, SignedCall
from proxy.errors import IdentityFault
from proxy.identity import sigv4
from proxy.identity.agent_keys import PREFIX, AgentKeys
from proxy.identity.cache import Believed
from proxy.identity.denials import Denials
from proxy.identity.people import People
from proxy.identity.tokens import TokenVerifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An agent that was let in a moment ago, and what that rests on."""

    believed: Believed[Principal]
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Turns what a caller showed into who the caller is."""

    tokens: TokenVerifier
    keys: AgentKeys
    denials: Denials
    people: People
    now: Callable[[], float] = time.time

    async def caller(self, arrival: Arrival) -> Principal:
        """The agent behind a call, by what it showed or by what it signed with. Raises as `agent`."""
        if arrival.signed is None:
            return await self.agent(arrival.bearer)
        return self._let_in(await self._signer(arrival.signed, arrival.body))

    async def _signer(self, call: SignedCall, content: bytes) -> Principal:
        claim = sigv4.read_claim(call, now=self.now())
        pair = await self.keys.pair(claim.access_key_id)
        sigv4.check(claim, call, content, secret=pair.secret)
        return pair.principal

    async def agent(self, bearer: BearerText | None) -> Principal:
        """The agent behind this credential. Raises IdentityFault, or Outage when that cannot be known."""
        if bearer is None:
            detail = "Send an access token or an agent key where your SDK puts its API key."
            raise IdentityFault(Reason.IDENTITY_MISSING, detail)
        found = await (self.keys.principal(bearer) if bearer.startswith(PREFIX) else self.tokens.agent(bearer))
        return self._let_in(found)

    def _let_in(self, found: Principal) -> Principal:
        if self.denials.shut_out(found):
            raise IdentityFault(Reason.IDENTITY_REVOKED, "This agent, or someone it acts for, has been shut out.")
        return found

    def at_hand(self, bearer: BearerText | None) -> Known | None:
        """The agent as `agent` would give it without waiting; None where it would wait, or refuse."""
        if bearer is None:
            return None
        found = self.keys.believed(bearer) if bearer.startswith(PREFIX) else self.tokens.believed(bearer)
        if found is None or not self.denials.fresh or self.denials.shut_out(found.proof):
            return None
        return Known(believed=found, epoch=self._epoch)

    def stands(self, known: Known, *, now: float) -> bool:
        """Whether `at_hand` would say the same now (Unix seconds)."""
        return known.believed.good(now) and self.denials.fresh and known.epoch == self._epoch

    @property
    def _epoch(self) -> int:
        # Each of them only grows, so none can change without their sum.
        return self.denials.epoch + self.tokens.epoch + self.keys.epoch

    async def person(self, bearer: BearerText | None) -> Person:
        """The human behind this token, with today's groups. Raises IdentityFault, or Outage."""
        if bearer is None:
            raise IdentityFault(Reason.IDENTITY_MISSING, "Send a person's access token as a bearer token.")
        return await self.known(await self.tokens.person(bearer))

    async def known(self, person: Person) -> Person:
        """The same person, placed in groups and remembered; refused if shut out. For sessions and fresh sign-ins."""
        return await self.people.seen(person)
