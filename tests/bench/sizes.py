"""The gate alone, with more and more policies and operations: what a call costs, remembered and not.

A repeated call finds its decision remembered. With another resource in each call, every one is judged by Cedar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tests.bench.product import OPERATIONS, POLICIES, product
from tests.bench.rounds import Plan
from tests.bench.running import Live, Run, start, stop
from tests.bench.site import Site
from tests.bench.throughput import Throughput, throughput
from tests.bench.variants import Variant

POLICY_COUNTS = (10, 100, 1_000)
OPERATION_COUNTS = (100, 10_000)
ANOTHER_EACH = "/api/v1/kind1/{n}/part1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """One gate."""

    repeated: Throughput
    another_each: Throughput
    start_s: float
    """From its start until it listens."""
    memory_mib: float


def sizes(run: Run, *, plan: Plan) -> Mapping[str, Sized]:
    """By size, in words. The gates run beside each other and are stopped again."""
    live, _ = start(run, _gates(run.site))
    another = replace(run, load=replace(run.load, target=ANOTHER_EACH))
    repeated, each = throughput(run, live, plan=plan), throughput(another, live, plan=plan)
    found = {one.name: _sized(one, repeated[one.name], each[one.name]) for one in live}
    stop(run, live)
    return found


def _sized(one: Live, repeated: Throughput, another_each: Throughput) -> Sized:
    start_s = sum(started.took_s for started in one.started)
    return Sized(repeated=repeated, another_each=another_each, start_s=start_s, memory_mib=one.memory_bytes() / 2**20)


def _gates(site: Site) -> Iterator[Variant]:
    for count in POLICY_COUNTS:
        yield _gate(site, f"{count:,} policies, {OPERATIONS} operations", policies=count)
    for count in OPERATION_COUNTS:
        yield _gate(site, f"{POLICIES} policies, {count:,} operations", operations=count)


def _gate(site: Site, words: str, *, policies: int = POLICIES, operations: int = OPERATIONS) -> Variant:
    ours = product(site, name=f"gate-{policies}-{operations}", policies=policies, operations=operations)
    return Variant(name=words, programs=(ours.program,), port=ours.port, ours=ours)
