"""What the gate is to reach, beside its peers and by itself, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.bench.holding import Holding
from tests.bench.judging import Judged
from tests.bench.latency import ByRate
from tests.bench.sizes import Sized
from tests.bench.streaming import Flow, Streaming
from tests.bench.table import Table, figure
from tests.bench.throughput import Throughput
from tests.bench.variants import ENVOY_AUTHZ, ENVOY_JWT, GO, MITMPROXY, NGINX, NGINX_AUTH, OURS

LEAST = {
    ENVOY_JWT: 1.3,
    GO: 1.3,
    NGINX_AUTH: 2.0,
    ENVOY_AUTHZ: 5.0,
    MITMPROXY: 30.0,
    NGINX: 0.45,
}
"""The gate's calls a second over the peer's, at least."""
RIVAL = ENVOY_JWT
MOST_P50_US, MOST_P99 = 250.0, 1.5
"""What the gate may add at 3,000 calls a second: microseconds, and times what the rival adds at the 99th percentile."""
MOST_UNCACHED_US, MOST_CACHED_US = 100.0, 10.0
NOTHING_MEASURABLE = 0.05
"""What the CPU of a call differs by from one burst to the next, with nothing changed."""
LEAST_HELD = 40_000
MOST_APPROVE_MS, MOST_ACROSS_MS = 2.0, 5.0
LEAST_STREAM = 0.6
"""The gate's megabytes a second over those of nginx."""
FLAT_MIB = 16.0
"""What memory may grow by while 1 GiB passes: buffers, whatever the size of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to reach; `measured` is None where it was not measured."""

    what: str
    measured: float | None
    limit: float
    at_most: bool = False
    """Whether less is better."""
    digits: int = 0
    beside: str = ""
    """What the limit comes from."""

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        if self.measured is None:
            return False
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def row(self) -> tuple[str, ...]:
        """What it is, what was found, what is wanted, and whether that is enough."""
        wanted = f"{'≤' if self.at_most else '≥'} {figure(self.limit, self.digits)}{self.beside and f', {self.beside}'}"
        return self.what, figure(self.measured, self.digits), wanted, self._verdict()

    def _verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        share = f"{self.measured / self.limit:.2f} × the {'limit' if self.at_most else 'target'}"
        return f"{'met' if self.met else 'missed'}, {share}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the targets are about."""

    throughput: Mapping[str, Throughput]
    latency: ByRate
    judged: Judged | None
    sizes: Mapping[str, Sized]
    holding: Mapping[str, Holding]
    streaming: Mapping[str, Streaming]


def ratio(ours: Throughput, theirs: Throughput) -> float:
    """The gate over a peer.

    Of the rates where the machine was quiet. Where neighbours had the cores, a rate says who got less of them, so then
    it is of calls in a second of CPU.
    """
    if ours.disturbed or theirs.disturbed:
        return theirs.cpu_us / ours.cpu_us
    return ours.calls_per_s / theirs.calls_per_s


def ratios(measured: Mapping[str, Throughput]) -> dict[str, float | None]:
    """The gate over each peer that there is a target for; None where either was not measured."""
    ours = measured.get(OURS)
    return {name: ratio(ours, measured[name]) if ours and name in measured else None for name in LEAST}


def throughput_targets(found: Found) -> list[Target]:
    """Calls a second of the gate over those of the peer."""
    measured = ratios(found.throughput)
    return [Target(what=name, measured=measured[name], limit=least, digits=2) for name, least in LEAST.items()]


def further_targets(found: Found) -> list[Target]:
    """All others."""
    return [
        *_latency(found.latency),
        *_judging(found.judged, found.sizes),
        *_holding(found.holding.get(OURS)),
        *_streaming(found.streaming),
    ]


def target_table(heading: str, targets: Sequence[Target], *, first: str, note: str) -> Table:
    """A row each."""
    return Table(
        heading=heading, note=note, columns=(first, "measured", "target", ""), rows=[one.row() for one in targets]
    )


def _latency(by_rate: ByRate) -> Iterator[Target]:
    at = by_rate.get(3_000, {})
    ours, theirs = at.get(OURS), at.get(RIVAL)
    doubt = " (neighbours were busy)" if any(one and one.disturbed for one in (ours, theirs)) else ""
    p50, p99 = (ours.p50_us, ours.p99_us) if ours else (None, None)
    what = "added at 3,000 calls/s, {}, µs"
    yield Target(what=what.format("p50"), measured=p50, limit=MOST_P50_US, at_most=True)
    if theirs:
        whose = f"that of {RIVAL}{doubt}"
        yield _within(what.format("p50"), p50, theirs.p50_us, whose)
        yield _within(what.format("p99"), p99, MOST_P99 * theirs.p99_us, f"{MOST_P99:g} × {whose}")


def _within(what: str, ours_us: float | None, limit: float, beside: str) -> Target:
    # Below zero, noise was larger than what it adds, and nothing is to be had from comparing it.
    measured = ours_us if limit > 0 else None
    return Target(what=what, measured=measured, limit=limit, at_most=True, beside=beside)


def _judging(one: Judged | None, sizes: Mapping[str, Sized]) -> Iterator[Target]:
    what = "a verdict, {}, µs of CPU"
    uncached, cached = (one.uncached_us, one.cached_us) if one else (None, None)
    yield Target(what=what.format("uncached"), measured=uncached, limit=MOST_UNCACHED_US, at_most=True, digits=1)
    yield Target(what=what.format("cached"), measured=cached, limit=MOST_CACHED_US, at_most=True, digits=1)
    cpu_us = {one.policies: one.repeated.cpu_us for one in sizes.values()}
    yield Target(
        what="CPU of an allowed call, 1,000 policies over 10",
        measured=cpu_us[1_000] / cpu_us[10] if {10, 1_000} <= set(cpu_us) else None,
        limit=1 + NOTHING_MEASURABLE,
        at_most=True,
        digits=2,
        beside="as two bursts of one differ",
    )


def _holding(ours: Holding | None) -> Iterator[Target]:
    held = ours.held_kib if ours else None
    yield Target(what="held calls in 1 GiB, bodies of 1 KiB", measured=held and 2**20 / held, limit=LEAST_HELD)
    one, across = (ours.approve_ms, ours.across_ms) if ours else (None, None)
    what = "approval to first byte, {}, p50 ms"
    yield Target(what=what.format("one process"), measured=one, limit=MOST_APPROVE_MS, at_most=True, digits=2)
    yield Target(what=what.format("across two"), measured=across, limit=MOST_ACROSS_MS, at_most=True, digits=2)


def _streaming(measured: Mapping[str, Streaming]) -> Iterator[Target]:
    nothing = Streaming(download=None, upload=None)
    ours, nginx = measured.get(OURS, nothing), measured.get(NGINX, nothing)
    down, up = _rate(ours.download, nginx.download), _rate(ours.upload, nginx.upload)
    yield Target(what="MB/s over those of nginx, 1 GiB down", measured=down, limit=LEAST_STREAM, digits=2)
    yield Target(what="MB/s over those of nginx, 8 MiB up", measured=up, limit=LEAST_STREAM, digits=2)
    grown = ours.download.grown_mib if ours.download else None
    yield Target(what="MiB grown while 1 GiB passes", measured=grown, limit=FLAT_MIB, at_most=True, digits=1)


def _rate(ours: Flow | None, theirs: Flow | None) -> float | None:
    return ours.mb_per_s / theirs.mb_per_s if ours and theirs else None
