"""What the gate is to reach beside its peers, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.table import Table, figure
from tests.bench.throughput import Throughput
from tests.bench.variants import OURS

LEAST = {
    "envoy+jwt_authn+rbac": 1.3,
    "go gate": 1.3,
    "nginx+auth_request(aiohttp)": 2.0,
    "envoy+ext_authz(http)": 5.0,
    "mitmproxy": 30.0,
    "nginx": 0.45,
}
"""The gate's calls a second over the peer's, at least."""


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
        note="Calls a second of the gate over those of the peer, each on one core; where neighbours were busy, calls in "
        "a second of CPU.",
        columns=("the gate over", "ratio", "of", "target", ""),
        rows=rows,
    )


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
