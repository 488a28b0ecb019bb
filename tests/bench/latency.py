"""What each variant adds to the way without anything between, at fixed rates: medians of interleaved rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.rounds import DISTURBED, Plan, Round, rounds
from tests.bench.running import Live, Run
from tests.bench.throughput import Throughput
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
    others_share: float
    """How much of the two cores others used meanwhile."""
    wrong: int
    """Answers other than 200, and calls not answered in time."""

    @property
    def disturbed(self) -> bool:
        """Whether neighbours had more of the cores than a latency can bear."""
        return self.others_share >= DISTURBED


ByRate = Mapping[int, Mapping[str, Latency]]


def latency(run: Run, live: Sequence[Live], *, plan: Plan, carried: Mapping[str, Throughput]) -> ByRate:
    """By rate and name; variants that cannot carry a rate are left out of it."""
    return {rate: _at(run, rate, [one for one in live if _carries(carried[one.name], rate)], plan) for rate in RATES}


def _at(run: Run, rate: int, live: Sequence[Live], plan: Plan) -> Mapping[str, Latency]:
    taken = rounds(run, live, plan=plan, burst=lambda port, seconds: run.load.at_rate(port, rate=rate, seconds=seconds))
    middles = {name: _middle(of) for name, of in taken.items()}
    return {name: one if name == DIRECT else _over(one, middles[DIRECT]) for name, one in middles.items()}


def _carries(measured: Throughput, rate: int) -> bool:
    return measured.cpu_us * rate * _HEADROOM < 1e6


def _middle(of: Sequence[Round]) -> Latency:
    return Latency(
        p50_us=median(one.burst.p50_us for one in of),
        p99_us=median(one.burst.p99_us for one in of),
        p999_us=median(one.burst.p999_us for one in of),
        others_share=median(one.others_share for one in of),
        wrong=sum(one.burst.wrong for one in of),
    )


def _over(one: Latency, direct: Latency) -> Latency:
    return replace(
        one,
        p50_us=one.p50_us - direct.p50_us,
        p99_us=one.p99_us - direct.p99_us,
        p999_us=one.p999_us - direct.p999_us,
    )
