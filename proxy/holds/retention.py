"""How long what is over is remembered, and so whether a like call is the same one again. Pure; keeps nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from config.settings import Holds
from policy.hold import FINAL, Hold, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are remembered once they are over, seconds."""

    refused_repeat_s: int
    """A repeat of a rejected or expired call is refused without asking again for so long."""
    replay_s: int
    """The response of a call is kept for its repeats for so long."""
    key_s: int
    """An idempotency key means the call it came with for so long, delivered or not."""
    documents_s: int
    """Settled holds can be looked at for so long; the ledger keeps them for good."""
    opening_s: int = 30
    """How long opening a hold may take before what was written of it vanishes."""

    @classmethod
    def of(cls, holds: Holds) -> Self:
        """What the settings say."""
        return cls(
            refused_repeat_s=holds.refused_repeat_s,
            replay_s=holds.replay_window_s,
            key_s=holds.idempotency_key_s,
            documents_s=holds.settled_s,
        )

    def pointer_life_s(self, hold: Hold) -> int:
        """How long a likeness points at its hold, seconds."""
        # Longer than the hold can live: a pointer that goes first would let the same call in a second time.
        return int(hold.decide_by - hold.opened_at + hold.execute_within_s) + self.replay_s + self.key_s

    def repeats(self, hold: Hold, *, now: float, delivered: bool, sent_again: bool = False) -> bool:
        """Whether a call like this one, asked for `now`, is this one again, rather than a new one.

        `sent_again`: the client says that it is. Then whoever got the response, it was not this client.
        """
        if hold.conclusion is None or hold.state not in FINAL | {State.UNKNOWN}:
            return True
        since_s = now - hold.conclusion.at
        if hold.state in {State.REJECTED, State.EXPIRED}:
            return since_s < self.refused_repeat_s
        if hold.state in {State.LAPSED, State.WITHDRAWN, State.FAILED}:
            return False  # Nothing was sent, and nobody said No.
        if hold.call.idempotency_key is not None:
            return since_s < self.key_s
        if hold.state is not State.UNKNOWN and delivered and not sent_again:
            return False
        return since_s < self.replay_s
