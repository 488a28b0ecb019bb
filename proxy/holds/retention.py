"""How long what is over is remembered, and so whether a like call is the same one again. Pure; keeps nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

from policy.hold import FINAL, Hold, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are remembered once they are over, seconds."""

    refused_repeat_s: int = 60
    """A repeat of a rejected or expired call is refused without asking again for so long."""
    key_s: int = 86_400
    """An idempotency key means the call it came with for so long, delivered or not (Stripe's own: 24 h)."""
    documents_s: int = 7 * 86_400
    """Settled holds can be looked at for so long; the ledger keeps them for good."""
    opening_s: int = 30
    """How long opening a hold may take before what was written of it vanishes."""

    def pointer_life_s(self, hold: Hold, *, replay_window_s: int) -> int:
        """How long a likeness points at its hold, seconds."""
        # Longer than the hold can live: a pointer that goes first would let the same call in a second time.
        return int(hold.decide_by - hold.opened_at + hold.execute_within_s + replay_window_s) + self.key_s

    def repeats(self, hold: Hold, *, now: float, delivered: bool, replay_window_s: int) -> bool:
        """Whether a call like this one, asked for `now`, is this one again, rather than a new one."""
        if hold.conclusion is None or hold.state not in FINAL | {State.UNKNOWN}:
            return True
        since_s = now - hold.conclusion.at
        if hold.state in {State.REJECTED, State.EXPIRED}:
            return since_s < self.refused_repeat_s
        if hold.state in {State.LAPSED, State.WITHDRAWN, State.FAILED}:
            return False  # Nothing was sent, and nobody said No.
        if hold.call.idempotency_key is not None:
            return since_s < self.key_s
        if hold.state is State.UNKNOWN:
            return since_s < replay_window_s
        return not delivered and since_s < replay_window_s


DEFAULT = Retention()
"""What is used; tests shorten it."""
