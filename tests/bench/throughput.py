"""Calls a second through one core, and what a call costs of it: medians of the rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.rounds import DISTURBED, Plan, Round, rounds
from tests.bench.running import Live, Run


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


def throughput(run: Run, live: Sequence[Live], *, plan: Plan) -> Mapping[str, Throughput]:
    """The medians by name."""
    for one in live:
        run.load.full_speed(one.port, seconds=1)  # Connections, caches and pools warm up.
    taken = rounds(run, live, plan=plan, burst=lambda port, seconds: run.load.full_speed(port, seconds=seconds))
    return {name: _middle(of) for name, of in taken.items()}


def _middle(of: Sequence[Round]) -> Throughput:
    return Throughput(
        calls_per_s=median(one.burst.calls_per_s for one in of),
        cpu_us=median(one.spent_s / max(one.burst.calls, 1) * 1e6 for one in of),
        core_share=median(one.spent_s / one.burst.seconds for one in of),
        others_share=median(one.others_share for one in of),
        wrong=sum(one.burst.wrong for one in of),
    )
