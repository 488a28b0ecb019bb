"""Rounds of all variants in turn, in random order, and which of them count.

Rounds in which neighbours had much of the cores do not count where enough others are left; they are chosen by what the
neighbours used, never by the figure.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.calling import Burst
from tests.bench.machine import Others, wait_until_quiet
from tests.bench.running import Live, Run

DISTURBED = 0.10
"""Share of the two cores in the hands of others from which a round is a disturbed one."""
_FEWEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds: int
    extra_rounds: int = 0
    """How many more to do while some variant has too few undisturbed rounds."""
    quiet_s: float = 1.0
    """How long each round waits for the neighbours to be quiet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One burst through one variant."""

    burst: Burst
    spent_s: float
    """CPU time of everything under test."""
    others_share: float
    """How much of the two cores others used meanwhile."""


def rounds(
    run: Run, live: Sequence[Live], *, plan: Plan, burst: Callable[[int, int], Burst]
) -> Mapping[str, Sequence[Round]]:
    """The rounds that count, by name. `burst` makes calls to a port for so many seconds."""
    taken: dict[str, list[Round]] = {one.name: [] for one in live}
    for number in range(plan.rounds + plan.extra_rounds):
        if number >= plan.rounds and all(len(_good(of)) >= plan.rounds for of in taken.values()):
            break
        for one in random.sample(live, len(live)):
            wait_until_quiet(at_most_s=plan.quiet_s)
            taken[one.name].append(_once(run, one, lambda port: burst(port, plan.seconds)))
    return {name: _counted(of) for name, of in taken.items()}


def _once(run: Run, one: Live, burst: Callable[[int], Burst]) -> Round:
    others, upstream_s, before_s = Others(run.used), run.upstream.cpu_s(), one.cpu_s()
    done = burst(one.port)
    spent_s = one.cpu_s() - before_s
    share = others.share(ours_s=spent_s + run.upstream.cpu_s() - upstream_s)
    return Round(burst=done, spent_s=spent_s, others_share=share)


def _counted(of: Sequence[Round]) -> Sequence[Round]:
    good = _good(of)
    return good if len(good) >= _FEWEST else sorted(of, key=lambda one: one.others_share)[:_FEWEST]


def _good(of: Sequence[Round]) -> list[Round]:
    return [one for one in of if one.others_share < DISTURBED]
