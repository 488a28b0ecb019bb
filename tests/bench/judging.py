"""What one verdict costs by itself, with the law of `bench_policy`, on the core of the thing under test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from policy.engine import Engine
from tests.bench.bench_policy import NOW, call, cost_us, law
from tests.bench.machine import on_core


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An allowed call, microseconds of CPU."""

    uncached_us: float
    cached_us: float


def judged(core: int) -> Judged:
    """With the demo's bundle. Uncached: another amount each time, and a policy looks at the amount."""
    with on_core(core):
        bundle = law(0)
        engine = Engine(bundle)
        calls = (call(bundle, amount, 0) for amount in itertools.count(1))
        known = next(calls)
        making_us = cost_us(lambda: next(calls))
        return Judged(
            uncached_us=cost_us(lambda: engine.judge(next(calls), now=NOW)) - making_us,
            cached_us=cost_us(lambda: engine.judge(known, now=NOW)),
        )
