"""One run over everything that is installed: starts it all, measures section by section, stops it all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.encrypted import encrypted
from tests.bench.holding import Holds, holding
from tests.bench.judging import judged
from tests.bench.latency import latency
from tests.bench.load import Load
from tests.bench.machine import cores
from tests.bench.report import Results
from tests.bench.rounds import Plan
from tests.bench.running import Live, Run, start, stop
from tests.bench.site import MODELS, site
from tests.bench.sizes import sizes
from tests.bench.stack import Stack
from tests.bench.streaming import streaming
from tests.bench.throughput import throughput
from tests.bench.unlike import unlike
from tests.bench.variants import DIRECT, OURS, Found, variants

SECTIONS = ("throughput", "unlike", "latency", "streaming", "holds", "judging", "tls", "sizes")
"""What may be measured by itself. Latency measures throughput too, which says who can carry a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    calls: Plan
    unlike: Plan
    latency: Plan
    stream_rounds: int
    holds: Holds
    more: Plan
    """Of TLS, and of the gate by sizes."""
    sections: frozenset[str]


FULL = Extent(
    calls=Plan(rounds=5, seconds=2, extra_rounds=3, quiet_s=1.0),
    unlike=Plan(rounds=5, seconds=1, extra_rounds=2, quiet_s=1.0),
    latency=Plan(rounds=5, seconds=2, extra_rounds=1, quiet_s=1.0),
    stream_rounds=3,
    holds=Holds(at_once=1_000, approvals=25),
    more=Plan(rounds=5, seconds=1, quiet_s=1.0),
    sections=frozenset(SECTIONS),
)
QUICK = Extent(
    calls=Plan(rounds=3, seconds=1, quiet_s=0.3),
    unlike=Plan(rounds=1, seconds=1, quiet_s=0.3),
    latency=Plan(rounds=1, seconds=1, quiet_s=0.3),
    stream_rounds=1,
    holds=Holds(at_once=100, approvals=5),
    more=Plan(rounds=1, seconds=1, quiet_s=0.3),
    sections=frozenset(SECTIONS) - {"tls", "sizes"},
)


def side_by_side(results: Results, folder: Path, *, extent: Extent, only: frozenset[str]) -> None:
    """Fills the results in."""
    here, used = site(folder), cores()
    load = Load(core=used.load, target=MODELS, token=here.keys.agent())
    with Stack(folder) as stack:
        upstream = stack.start(here.upstream(), core=used.load)
        run = Run(stack=stack, site=here, load=load, used=used, upstream=upstream)
        live, results.absent = start(run, (one for one in variants(here) if _takes(one, only)))
        for one in results.absent:
            say(f"absent: {one.name}, which needs {one.missing}")
        _beside_each_other(results, run, live, extent)
        stop(run, live)
        if "holds" in extent.sections:
            with _timed("held calls"):
                results.holding = holding(run, [one.variant for one in live if one.started], plan=extent.holds)
        if not only or OURS in only:
            _of_the_gate(results, run, extent)


def say(line: str) -> None:
    """A line for whoever waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _beside_each_other(results: Results, run: Run, live: Sequence[Live], extent: Extent) -> None:
    wanted = extent.sections
    if wanted & {"throughput", "latency"}:
        with _timed("throughput"):
            results.throughput = throughput(run, live, plan=extent.calls)
    if "unlike" in wanted:
        with _timed("calls that are not alike"):
            results.unlike = unlike(run, live, plan=extent.unlike)
    if "latency" in wanted:
        with _timed("latency"):
            results.latency = latency(run, live, plan=extent.latency, carried=results.throughput)
    if "streaming" in wanted:
        with _timed("streaming"):
            results.streaming = streaming(run, live, rounds=extent.stream_rounds)


def _of_the_gate(results: Results, run: Run, extent: Extent) -> None:
    if "judging" in extent.sections:
        results.judged = judged(run.used.tested)
    if "tls" in extent.sections:
        with _timed("TLS"):
            results.encrypted = encrypted(run, plan=extent.more)
    if "sizes" in extent.sections:
        with _timed("policies and catalogues"):
            results.sizes = sizes(run, plan=extent.more)


def _takes(one: Found, only: frozenset[str]) -> bool:
    return not only or one.name == DIRECT or one.name in only


@contextmanager
def _timed(section: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{section}: {time.monotonic() - began:.0f} s")
