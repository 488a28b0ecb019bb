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
from tests.bench.variants import DIRECT, OURS, Found, variants


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    calls: Plan
    latency: Plan
    stream_rounds: int
    holds: Holds
    more: Plan | None
    """Of TLS, and of the gate by sizes; None leaves them out."""


FULL = Extent(
    calls=Plan(rounds=5, seconds=2, extra_rounds=3, quiet_s=1.0),
    latency=Plan(rounds=5, seconds=2, extra_rounds=1, quiet_s=1.0),
    stream_rounds=5,
    holds=Holds(at_once=500, approvals=25),
    more=Plan(rounds=5, seconds=1, quiet_s=1.0),
)
QUICK = Extent(
    calls=Plan(rounds=3, seconds=1, quiet_s=0.3),
    latency=Plan(rounds=1, seconds=1, quiet_s=0.3),
    stream_rounds=2,
    holds=Holds(at_once=100, approvals=5),
    more=None,
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
        with _timed("held calls"):
            results.holding = holding(run, [one.variant for one in live if one.started], plan=extent.holds)
        if extent.more is not None and (not only or OURS in only):
            _more(results, run, extent.more)


def say(line: str) -> None:
    """A line for whoever waits."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _beside_each_other(results: Results, run: Run, live: Sequence[Live], extent: Extent) -> None:
    with _timed("throughput"):
        results.throughput = throughput(run, live, plan=extent.calls)
    with _timed("latency"):
        results.latency = latency(run, live, plan=extent.latency, carried=results.throughput)
    with _timed("streaming"):
        results.streaming = streaming(run, live, rounds=extent.stream_rounds)


def _more(results: Results, run: Run, plan: Plan) -> None:
    with _timed("TLS"):
        results.encrypted = encrypted(run, plan=plan)
    with _timed("policies and catalogues"):
        results.sizes = sizes(run, plan=plan)


def _takes(one: Found, only: frozenset[str]) -> bool:
    return not only or one.name == DIRECT or one.name in only


@contextmanager
def _timed(section: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{section}: {time.monotonic() - began:.0f} s")
