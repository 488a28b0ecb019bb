"""The gate alone, with more and more policies and operations: what a call costs, remembered and not.

A repeated call finds its decision remembered. With another resource in each call, every one is judged by Cedar, since a
policy of these gates names a resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.bench.product import OPERATIONS, POLICIES, product
from tests.bench.rounds import Plan
from tests.bench.running import Run, start, stop
from tests.bench.site import Site
from tests.bench.throughput import Throughput, throughput
from tests.bench.variants import Variant

POLICY_COUNTS = (10, 100, 1_000)
OPERATION_COUNTS = (100, 10_000)
_NAMING_ONE = '@id("one") forbid (principal, action in Action::"read", resource == Resource::"api/thing/none");\n'
ANOTHER_EACH = "/api/v1/kind1/{n}/part1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """One gate."""

    policies: int
    operations: int
    repeated: Throughput
    another_each: Throughput
    start_s: float
    """From its start until it listens."""
    memory_mib: float


def sizes(run: Run, *, plan: Plan) -> Mapping[str, Sized]:
    """By size, in words. The gates run beside each other and are stopped again."""
    of = _sizes()
    live, _ = start(run, [_gate(run.site, words, policies, operations) for words, (policies, operations) in of.items()])
    another = replace(run, load=replace(run.load, target=ANOTHER_EACH))
    repeated, each = throughput(run, live, plan=plan), throughput(another, live, plan=plan)
    found = {
        one.name: Sized(
            policies=of[one.name][0],
            operations=of[one.name][1],
            repeated=repeated[one.name],
            another_each=each[one.name],
            start_s=sum(started.took_s for started in one.started),
            memory_mib=one.memory_bytes() / 2**20,
        )
        for one in live
    }
    stop(run, live)
    return found


def _sizes() -> dict[str, tuple[int, int]]:
    wanted = [(count, OPERATIONS) for count in POLICY_COUNTS] + [(POLICIES, count) for count in OPERATION_COUNTS]
    return {
        f"{policies:,} policies, {operations:,} operations": (policies, operations) for policies, operations in wanted
    }


def _gate(site: Site, words: str, policies: int, operations: int) -> Variant:
    ours = product(
        site, name=f"gate-{policies}-{operations}", policies=policies, operations=operations, law=_NAMING_ONE
    )
    return Variant(name=words, programs=(ours.program,), port=ours.port, ours=ours)
