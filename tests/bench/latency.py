"""What each variant adds to the way without anything between, at fixed rates: medians of interleaved rounds."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.calling import Burst
from tests.bench.machine import wait_until_quiet
from tests.bench.running import Live, Run
from tests.bench.throughput import Plan, Throughput
from tests.bench.variants import DIRECT

RATES = (500, 3_000)
"""Calls a second: a busy agent or two, and a busy house."""
_HEADROOM = 1.2
"""How much more than a rate a variant must be able to carry to be measured at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of one variant at one rate, microseconds over the direct way. The direct way's own are over nothing."""

    p50_us: float
    p99_us: float
    p999_us: float
    wrong: int
    """Answers other than 200, and calls not answered in time."""


ByRate = Mapping[int, Mapping[str, Latency]]


def latency(run: Run, live: Sequence[Live], *, plan: Plan, carried: Mapping[str, Throughput]) -> ByRate:
    """By rate and name; variants that cannot carry a rate are left out of it."""
    return {rate: _at(run, rate, [one for one in live if _carries(carried[one.name], rate)], plan) for rate in RATES}


def _at(run: Run, rate: int, live: Sequence[Live], plan: Plan) -> Mapping[str, Latency]:
    taken: dict[str, list[Burst]] = {one.name: [] for one in live}
    for _ in range(plan.rounds):
        for one in random.sample(live, len(live)):
            wait_until_quiet(at_most_s=plan.quiet_s)
            taken[one.name].append(run.load.at_rate(one.port, rate=rate, seconds=plan.seconds))
    middles = {name: _middle(of) for name, of in taken.items()}
    return {name: one if name == DIRECT else _over(one, middles[DIRECT]) for name, one in middles.items()}


def _carries(measured: Throughput, rate: int) -> bool:
    return measured.cpu_us * rate * _HEADROOM < 1e6


def _middle(of: Sequence[Burst]) -> Latency:
    return Latency(
        p50_us=median(one.p50_us for one in of),
        p99_us=median(one.p99_us for one in of),
        p999_us=median(one.p999_us for one in of),
        wrong=sum(one.wrong for one in of),
    )


def _over(one: Latency, direct: Latency) -> Latency:
    return Latency(
        p50_us=one.p50_us - direct.p50_us,
        p99_us=one.p99_us - direct.p99_us,
        p999_us=one.p999_us - direct.p999_us,
        wrong=one.wrong,
    )
