"""Whether a like call is the same one again: by how the first ended, when, for whom, and what its client says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.settings import Holds
from policy.hold import Conclusion, State
from policy.reasons import Reason
from proxy.holds.retention import Retention
from tests.fakes.values import a_call, a_hold

SAID = Holds(refused_repeat_s=60, replay_window_s=600, idempotency_key_s=86_400, settled_s=604_800)
KEPT = Retention.of(SAID)
ENDED = 1_000_000.0


def ended(state: State, *, key: str | None = None):
    end = Conclusion(reason=Reason.EXECUTED, at=ENDED)
    return a_hold(replace(a_call(), idempotency_key=key), state=state, conclusion=end)


@pytest.mark.parametrize("state", [State.PENDING, State.QUESTIONED, State.APPROVED, State.RELEASING])
@pytest.mark.parametrize("sent_again", [False, True])
def test_a_like_call_is_the_same_one_while_the_first_goes_on(state: State, sent_again: bool):
    assert KEPT.repeats(a_hold(state=state), now=ENDED, delivered=False, sent_again=sent_again)


@pytest.mark.parametrize(
    ("state", "after_s", "delivered", "sent_again", "same"),
    [
        (State.EXECUTED, 599, False, False, True),
        (State.EXECUTED, 600, False, False, False),
        (State.EXECUTED, 1, True, False, False),
        (State.EXECUTED, 599, True, True, True),
        (State.EXECUTED, 600, True, True, False),
        (State.UNKNOWN, 599, True, False, True),
        (State.UNKNOWN, 600, True, True, False),
        (State.REJECTED, 59, True, False, True),
        (State.REJECTED, 60, False, True, False),
        (State.EXPIRED, 59, False, False, True),
        (State.LAPSED, 0, False, True, False),
        (State.WITHDRAWN, 0, False, True, False),
        (State.FAILED, 0, False, True, False),
    ],
)
def test_how_long_a_like_call_is_the_same_one(
    state: State, after_s: float, delivered: bool, sent_again: bool, same: bool
):
    repeats = KEPT.repeats(ended(state), now=ENDED + after_s, delivered=delivered, sent_again=sent_again)
    assert repeats is same


@pytest.mark.parametrize("delivered", [False, True])
def test_a_key_means_its_call_for_its_time_whoever_got_the_response(delivered: bool):
    hold = ended(State.EXECUTED, key="k")
    assert KEPT.repeats(hold, now=ENDED + 86_399, delivered=delivered)
    assert not KEPT.repeats(hold, now=ENDED + 86_400, delivered=delivered)


def test_a_likeness_points_at_its_hold_for_longer_than_the_hold_can_matter():
    hold = a_hold(opened_at=0.0, decide_by=3600.0)
    assert KEPT.pointer_life_s(hold) >= 3600 + hold.execute_within_s + SAID.replay_window_s + SAID.idempotency_key_s
