"""What may go wrong in the clerk's room, by whose fault it is. Every family refuses the call.

Expected outcomes are values (`policy.verdict.Refused`); an exception here means "could not decide" or "broken
promise". Exceptions carry facts; the door that catches them answers, counts and logs, once.
"""

from __future__ import annotations

from policy.reasons import Reason


class AssentryError(Exception):
    """Root of everything this room raises on purpose. Never raised itself."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        """One sentence that may be shown to the caller: what happened and what to do. Never a secret."""


class CallerFault(AssentryError):
    """The caller sent something that cannot be taken: 4xx."""


class IdentityFault(CallerFault):
    """The caller did not prove who it is: 401."""


class Outage(AssentryError):
    """Something we depend on did not answer: 503, nothing was sent."""


class OperatorFault(AssentryError):
    """The settings, the policies or the machine are wrong: an alarm, and a refusal."""


class BrokenPromise(AssentryError):
    """A bug: an invariant did not hold. Refused, and reported."""


class NotSent(Outage):
    """The upstream could not be reached, and no byte of the call left us: certain, so it may be called failed."""


class BrokeOff(AssentryError):
    """The call left us and its answer did not come whole: 502, and nobody here knows what the upstream did."""
