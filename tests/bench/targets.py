"""What the gate is to reach beside its peers, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.latency import ByRate
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


def ratios(measured: Mapping[str, Throughput]) -> dict[str, float | None]:
    """The gate over each peer; None where either was not measured.

    Of the rates where the machine was quiet. Where neighbours had the cores, a rate says who got less of them, so then
    it is of calls in a second of CPU.
    """
    ours = measured.get(OURS)
    return {name: _ratio(ours, measured[name]) if ours and name in measured else None for name in LEAST}


def ratio_table(measured: Mapping[str, Throughput]) -> Table:
    """The ratios, each beside its target."""
    rows = [
        (name, figure(ratio, 2), _by(measured, name), f"≥ {LEAST[name]:g}", _verdict(ratio, LEAST[name]))
        for name, ratio in ratios(measured).items()
    ]
    return Table(
        heading="Ratios",
        note="Calls a second of the gate over those of the peer, each on one core; with busy neighbours, calls in "
        "a second of CPU.",
        columns=("the gate over", "ratio", "of", "target", ""),
        rows=rows,
    )


def latency_table(by_rate: ByRate) -> Table:
    """What is added at 3,000 calls a second, beside the limits for it."""
    at = by_rate.get(3_000, {})
    ours, theirs = at.get(OURS), at.get(RIVAL)
    p50, p99 = (ours.p50_us, ours.p99_us) if ours else (None, None)
    limits = [
        ("added p50, µs", p50, f"the {figure(theirs.p50_us)} of {RIVAL}" if theirs else "", theirs and theirs.p50_us),
        ("added p50, µs", p50, f"{MOST_P50_US:,.0f}", MOST_P50_US),
        (
            "added p99, µs", p99, f"{MOST_P99:g} × the {figure(theirs.p99_us)} of {RIVAL}" if theirs else "",
            theirs and MOST_P99 * theirs.p99_us,
        ),
    ]  # fmt: skip
    doubt = " (neighbours were busy)" if any(one and one.disturbed for one in (ours, theirs)) else ""
    rows = [
        (name, figure(value), f"≤ {words}", _within(value, most) + doubt)
        for name, value, words, most in limits
        if words
    ]
    return Table(
        heading="Latency targets",
        note="At 3,000 calls a second, over the direct way.",
        columns=("of the gate", "measured", "target", ""),
        rows=rows,
    )


def _within(value: float | None, most: float | None) -> str:
    if value is None or most is None:
        return "not measured"
    return "met" if value <= most else f"missed by {value - most:,.0f} µs"


def _ratio(ours: Throughput, theirs: Throughput) -> float:
    if ours.disturbed or theirs.disturbed:
        return theirs.cpu_us / ours.cpu_us
    return ours.calls_per_s / theirs.calls_per_s


def _by(measured: Mapping[str, Throughput], name: str) -> str:
    pair = [measured[one] for one in (OURS, name) if one in measured]
    return "–" if len(pair) < 2 else "CPU" if any(one.disturbed for one in pair) else "rates"


def _verdict(ratio: float | None, least: float) -> str:
    if ratio is None:
        return "not measured"
    return f"met, {ratio / least:.2f} × the target" if ratio >= least else f"missed, {ratio / least:.2f} × the target"
