"""Calls a second through one core, and what a call costs of it: rounds of all variants in turn, medians of the rounds.

Rounds in which neighbours had much of the cores do not count where enough others are left; they are chosen by what the
neighbours used, never by the figure.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.machine import Others, wait_until_quiet
from tests.bench.running import Live, Run

DISTURBED = 0.10
"""Share of the two cores in the hands of others from which a round is a disturbed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Of one variant."""

    calls_per_s: float
    cpu_us: float
    """CPU of everything under test, microseconds for each call."""
    core_share: float
    """How much of its core it used; well under 1, the load or the neighbours were the limit."""
    others_share: float
    """How much of the two cores others used meanwhile."""
    wrong: int
    """Answers other than 200."""

    @property
    def disturbed(self) -> bool:
        """Whether neighbours had more of the cores than a rate can bear."""
        return self.others_share >= DISTURBED


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: int
    extra_rounds: int = 0
    """How many more to do while some variant has too few undisturbed rounds."""
    quiet_s: float = 1.0
    """How long each round waits for the neighbours to be quiet."""


Measured = dict[str, list[Throughput]]


def throughput(run: Run, live: Sequence[Live], *, plan: Plan) -> Mapping[str, Throughput]:
    """The medians by name."""
    for one in live:
        run.load.full_speed(one.port, seconds=1)  # Connections, caches and pools warm up.
    taken: Measured = {one.name: [] for one in live}
    for number in range(plan.rounds + plan.extra_rounds):
        if number >= plan.rounds and _enough(taken, plan.rounds):
            break
        for one in random.sample(live, len(live)):
            wait_until_quiet(at_most_s=plan.quiet_s)
            taken[one.name].append(_once(run, one, plan.seconds))
    return {name: middle(of) for name, of in taken.items()}


def middle(of: Sequence[Throughput]) -> Throughput:
    """The medians of the undisturbed rounds, or of the least disturbed three."""
    ordered = sorted(of, key=lambda one: one.others_share)
    good = [one for one in ordered if not one.disturbed]
    kept = good if len(good) >= 3 else ordered[:3]
    return Throughput(
        calls_per_s=median(one.calls_per_s for one in kept),
        cpu_us=median(one.cpu_us for one in kept),
        core_share=median(one.core_share for one in kept),
        others_share=median(one.others_share for one in kept),
        wrong=sum(one.wrong for one in of),
    )


def _enough(taken: Measured, rounds: int) -> bool:
    return all(sum(not one.disturbed for one in of) >= rounds for of in taken.values())


def _once(run: Run, one: Live, seconds: int) -> Throughput:
    others, upstream_s, before_s = Others(run.used), run.upstream.cpu_s(), one.cpu_s()
    burst = run.load.full_speed(one.port, seconds=seconds)
    spent_s = one.cpu_s() - before_s
    return Throughput(
        calls_per_s=burst.calls_per_s,
        cpu_us=spent_s / max(burst.calls, 1) * 1e6,
        core_share=spent_s / burst.seconds,
        others_share=others.share(ours_s=spent_s + run.upstream.cpu_s() - upstream_s),
        wrong=burst.wrong,
    )
