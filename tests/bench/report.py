"""What is left of a run: a document for people, ratios first, and the same figures as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tests.bench.holding import Holding
from tests.bench.latency import ByRate
from tests.bench.machine import Machine
from tests.bench.sizes import Sized
from tests.bench.streaming import Streaming
from tests.bench.table import Table, figure
from tests.bench.targets import latency_table, ratio_table, ratios
from tests.bench.throughput import Throughput
from tests.bench.variants import Absent

METHOD = """\
The thing under test has one core to itself; the load and the upstream share the other. Every variant gets the same
call, a GET of 1 KiB of JSON with an RS256 bearer, over {connections} keep-alive connections, and reaches the same
upstream. Rounds of all variants are interleaved in random order, and each figure is the median of its rounds. CPU is
that of every process under test, the gate's store and an authorizer included. Rounds in which neighbours had a tenth of
the cores or more do not count where at least three others are left. The gate does all it ever does: token, catalogue,
Cedar, ledger, metrics. The peers believe the same token and decide by method and path; the Go gate, the authorizer
(aiohttp) and the add-on of mitmproxy remember tokens and decisions and write a line of log, nginx, haproxy and Envoy
write none."""


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run has found so far."""

    machine: Machine
    began: str
    """Date and time, UTC."""
    command: str
    absent: Sequence[Absent] = ()
    throughput: Mapping[str, Throughput] = field(default_factory=dict)
    latency: ByRate = field(default_factory=dict)
    holding: Mapping[str, Holding] = field(default_factory=dict)
    streaming: Mapping[str, Streaming] = field(default_factory=dict)
    encrypted: Mapping[str, Throughput] = field(default_factory=dict)
    sizes: Mapping[str, Sized] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    """What the benches of single parts printed."""


def tables(results: Results) -> list[Table]:
    """All that were measured."""
    made = [
        ratio_table(results.throughput),
        latency_table(results.latency),
        _throughput_table("Throughput, one core", results.throughput),
        _latency_table(results.latency),
        _holding_table(results.holding),
        _streaming_table(results.streaming),
        _throughput_table("Throughput with TLS on both sides", results.encrypted),
        _sizes_table(results.sizes),
    ]
    return [table for table in made if table.rows]


def document(results: Results, *, connections: int) -> str:
    """The whole paper."""
    this = results.machine
    machine = f"{this.processor}, {this.cores} cores, {this.memory_gib} GiB, Linux {this.kernel}, Python {this.python}"
    opening = f"# Benchmarks\n\nWritten by `{results.command}` on {results.began} UTC. Machine: {machine}."
    verdicts = [
        row[-1] for table in (ratio_table(results.throughput), latency_table(results.latency)) for row in table.rows
    ]
    met = sum(verdict.startswith("met") for verdict in verdicts)
    opening += f"\n\nTargets met: {met} of {len(verdicts)}."
    absent = "\n".join(f"* {one.name}: needs {one.missing}" for one in results.absent)
    missing = f"## Absent\n\n{absent or 'None of the peers.'}"
    method = f"## How it is measured\n\n{METHOD.format(connections=connections)}"
    parts = [f"### {name}\n\n```\n{said.strip()}\n```" for name, said in results.components.items()]
    single = ["## Single parts", *parts] if parts else []
    return "\n\n".join([opening, *map(str, tables(results)), missing, method, *single]) + "\n"


def machine_readable(results: Results) -> str:
    """The JSON document. A variant's `p50_us` and `p99_us` are what it adds at 3,000 calls a second."""
    whole = {
        "machine": asdict(results.machine),
        "began": results.began,
        "command": results.command,
        "variants": {name: _variant(results, name) for name in results.throughput},
        "ratios": ratios(results.throughput),
        "absent": {one.name: one.missing for one in results.absent},
        "added_us": {
            str(rate): {name: asdict(one) for name, one in of.items()} for rate, of in results.latency.items()
        },
        **{
            name: {key: asdict(one) for key, one in found.items()}
            for name, found in (
                ("holding", results.holding), ("streaming", results.streaming),
                ("tls", results.encrypted), ("sizes", results.sizes),
            )
        },
    }  # fmt: skip
    return json.dumps(whole, indent=2) + "\n"


def _variant(results: Results, name: str) -> dict[str, float | None]:
    one, added = results.throughput[name], results.latency.get(3_000, {}).get(name)
    return {
        "calls_per_s": round(one.calls_per_s),
        "cpu_us": round(one.cpu_us, 1),
        "p50_us": round(added.p50_us, 1) if added else None,
        "p99_us": round(added.p99_us, 1) if added else None,
        "others_share": round(one.others_share, 3),
    }


def _throughput_table(heading: str, measured: Mapping[str, Throughput]) -> Table:
    ordered = sorted(measured.items(), key=lambda item: item[1].cpu_us)
    rows = [
        (
            name, figure(one.calls_per_s), figure(one.cpu_us or None, 1), f"{one.core_share:.0%}",
            f"{one.others_share:.0%}", figure(one.wrong),
        )
        for name, one in ordered
    ]  # fmt: skip
    return Table(
        heading=heading,
        note="The core's use says what was the limit: well under 100 %, it was the load or a neighbour (`others`).",
        columns=("variant", "calls/s", "µs CPU per call", "core used", "others", "not 200"),
        rows=rows,
    )


def _latency_table(by_rate: ByRate) -> Table:
    names = list(dict.fromkeys(name for of in by_rate.values() for name in of))
    rows = []
    for name in names:
        cells = [name]
        for of in by_rate.values():
            one = of.get(name)
            cells += [figure(value) for value in (one.p50_us, one.p99_us, one.p999_us)] if one else ["–"] * 3
        found = [of[name] for of in by_rate.values() if name in of]
        others = max(one.others_share for one in found)
        rows.append((*cells, f"{others:.0%}", figure(sum(one.wrong for one in found))))
    shares = tuple(f"{rate:,}/s {share}" for rate in by_rate for share in ("p50", "p99", "p99.9"))
    return Table(
        heading="Added latency at a fixed rate, µs",
        note="Over the direct way, whose own figures stand in its row. A dash: it cannot carry the rate on one core. "
        "Below zero: noise was larger than what it adds.",
        columns=("variant", *shares, "others", "wrong"),
        rows=rows,
    )


def _holding_table(measured: Mapping[str, Holding]) -> Table:
    rows = [
        (name, figure(one.idle_mib), figure(one.held_kib, 1), figure(one.approve_ms, 2))
        for name, one in measured.items()
    ]
    return Table(
        heading="Held calls",
        note="The gate's holds and approvals are in its store and synced to its ledger, and an approval is a person's; "
        "the peers' are in memory, and anybody's.",
        columns=("variant", "MiB idle", "KiB a held call", "ms, approval to first byte"),
        rows=rows,
    )


def _streaming_table(measured: Mapping[str, Streaming]) -> Table:
    rows = [(name, figure(one.download), figure(one.upload)) for name, one in measured.items()]
    return Table(
        heading="Streaming",
        note="Downloads of 64 MiB, uploads of 8 MiB, one connection.",
        columns=("variant", "MB/s down", "MB/s up"),
        rows=rows,
    )


def _sizes_table(measured: Mapping[str, Sized]) -> Table:
    rows = [
        (
            name, figure(one.repeated.calls_per_s), figure(one.repeated.cpu_us, 1),
            figure(one.another_each.calls_per_s), figure(one.another_each.cpu_us, 1),
            figure(one.start_s, 1), figure(one.memory_mib),
        )
        for name, one in measured.items()
    ]  # fmt: skip
    return Table(
        heading="Policies and catalogues",
        note="The gate alone. A repeated call finds its decision remembered; with another resource each time, all are "
        "judged by Cedar.",
        columns=("the gate with", "calls/s", "µs CPU", "another each, calls/s", "µs CPU", "s to start", "MiB"),
        rows=rows,
    )
