"""What one verdict costs by itself, from `bench_policy`, on the core of the thing under test."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.bench_policy import measured
from tests.bench.machine import on_core


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An allowed call, microseconds of CPU."""

    uncached_us: float
    cached_us: float


def judged(core: int) -> Judged:
    """With the demo's bundle."""
    with on_core(core):
        found = measured(0)
    return Judged(uncached_us=found["Allow, uncached"], cached_us=found["Allow, cached"])
