"""A person's attempt to do something about a held call, as the law sees it.

Whether it is permitted is `policy.electorate`'s to say; this is only the value that it asks the engine about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from policy.hold import Hold
from policy.principal import Person


class Act(StrEnum):
    """What a person may try. Each is a Cedar action in the group `review`."""

    VIEW = "view"
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One person, one act, one hold, and how sure we are that it is this person."""

    person: Person
    act: Act
    hold: Hold
    now: float
    """Unix seconds, the store's time."""
    reason: str = ""
    """What the person wrote."""
    channel: str = "api"
    sign_in_age_s: float | None = None
    """Seconds between the sign-in and the click; None where the issuer does not say."""
