"""How long a client is kept waiting: what it bears less a margin, its upstream's limit, the gate's."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Holds, Settings, Upstream
from proxy.doors.arrival import Patience
from proxy.holds.departure import Departure
from proxy.holds.store import HoldStore
from proxy.holds.waiting import Waiting
from proxy.holds.wakeups import Wakeups

HOLDS = Holds(wait_s=55, wait_margin_s=5, max_wait_s=590)
NOTHING = object()


def waits_s(patience: Patience, *, max_wait_s: float | None = None, holds: Holds = HOLDS) -> float:
    upstreams = (
        Upstream(name="api", url="http://127.0.0.1:9", max_wait_s=max_wait_s),
        Upstream(name="other", url="http://127.0.0.1:9", max_wait_s=0.001),
    )
    waiting = Waiting(
        store=cast("HoldStore", NOTHING),
        wakeups=cast("Wakeups", NOTHING),
        departure=cast("Departure", NOTHING),
        settings=Settings(holds=holds, upstreams=upstreams),
        monotonic=lambda: 1000.0,
    )
    return waiting.deadline(patience, upstream="api") - 1000


@pytest.mark.parametrize(
    ("patience", "seconds"),
    [
        (Patience(), 55),
        (Patience(wait_s=600), 590),
        (Patience(wait_s=80), 75),
        (Patience(wait_s=5), 2.5),
        (Patience(wait_s=0), 0),
        (Patience(wait_s=15, interim=100), 590),
        (Patience(interim=100), 590),
        (Patience(wait_s=15, total_s=300, interim=100), 295),
        (Patience(wait_s=4, total_s=4, interim=102), 2),
        # As many as it takes, every five seconds, and then its silence.
        (Patience(interim=100, interims=95), 475),
        (Patience(wait_s=15, interim=100, interims=95), 485),
        (Patience(wait_s=80, interim=100, interims=95), 550),
        (Patience(wait_s=6, interim=100, interims=95), 193),
        (Patience(wait_s=80, total_s=80, interim=100, interims=95), 75),
    ],
)
def test_a_client_is_kept_waiting_as_long_as_it_bears_less_a_margin(patience: Patience, seconds: float):
    assert waits_s(patience) == seconds


def test_an_upstreams_own_limit_counts_within_the_gates():
    assert waits_s(Patience(wait_s=600), max_wait_s=20) == 20
    assert waits_s(Patience(wait_s=600), max_wait_s=10_000) == 590
    assert waits_s(Patience(wait_s=15, interim=100), max_wait_s=20) == 20


_TIMES = st.none() | st.floats(0, 1e5)


@given(_TIMES, _TIMES, st.sampled_from([None, 100, 102]), st.none() | st.floats(0.1, 1e4), st.floats(0, 60))
def test_the_refusal_always_has_time_to_arrive(
    silence: float | None, whole: float | None, interim: int | None, own: float | None, margin: float
):
    bounds = [one for one in (silence, whole) if one is not None]
    patience = Patience(wait_s=min(bounds, default=None), total_s=whole, interim=interim)
    waits = waits_s(patience, max_wait_s=own, holds=Holds(wait_margin_s=margin))
    fewer = waits_s(replace(patience, interims=10), max_wait_s=own, holds=Holds(wait_margin_s=margin))
    assert fewer <= waits
    assert 0 <= waits <= min(590, own or 590) + 1e-6
    for bound in [whole] if interim else bounds:
        if bound is not None:
            assert bound - waits >= min(margin, bound / 2) - 1e-6
