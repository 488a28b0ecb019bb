"""What is left of a run: a document for people, ratios first, and the same figures as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tests.bench.holding import Holding
from tests.bench.judging import Judged
from tests.bench.latency import ByRate
from tests.bench.machine import Machine
from tests.bench.method import METHOD, work_table
from tests.bench.sizes import Sized
from tests.bench.streaming import Flow, Streaming
from tests.bench.table import Table, figure
from tests.bench.targets import Found, further_targets, ratio, ratios, target_table, throughput_targets
from tests.bench.throughput import Throughput
from tests.bench.unlike import BODY_BYTES, PATHS, ByKind
from tests.bench.variants import OURS, Absent

BESIDE = (
    "Calls a second of the gate over those of the peer, each on one core: the same GET again and again. Calls that are "
    "not alike have a table of their own below."
)


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run has found so far."""

    machine: Machine
    began: str
    """Date and time, UTC."""
    command: str
    absent: Sequence[Absent] = ()
    throughput: Mapping[str, Throughput] = field(default_factory=dict)
    unlike: ByKind = field(default_factory=dict)
    latency: ByRate = field(default_factory=dict)
    judged: Judged | None = None
    holding: Mapping[str, Holding] = field(default_factory=dict)
    streaming: Mapping[str, Streaming] = field(default_factory=dict)
    encrypted: Mapping[str, Throughput] = field(default_factory=dict)
    sizes: Mapping[str, Sized] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    """What the benches of single parts printed."""


def tables(results: Results) -> list[Table]:
    """All that were measured."""
    found = _found(results)
    made = [
        target_table("Ratios", throughput_targets(found), first="the gate over", note=BESIDE),
        target_table("Further targets", further_targets(found), first="of the gate", note=""),
        _throughput_table("Throughput, one core", results.throughput),
        _unlike_table(results.unlike),
        _throughput_table("Throughput with TLS on both sides", results.encrypted),
        _latency_table(results.latency),
        _holding_table(results.holding),
        _streaming_table(results.streaming),
        _sizes_table(results.sizes),
        work_table(results.throughput),
    ]
    return [table for table in made if table.rows]


def document(results: Results, *, connections: int) -> str:
    """The whole paper."""
    this = results.machine
    machine = f"{this.processor}, {this.cores} cores, {this.memory_gib} GiB, Linux {this.kernel}, Python {this.python}"
    opening = f"# Benchmarks\n\nWritten by `{results.command}` on {results.began} UTC. Machine: {machine}."
    absent = "\n".join(f"* {one.name}: needs {one.missing}" for one in results.absent)
    missing = f"## Absent\n\n{absent or 'None of the peers.'}"
    method = f"## How it is measured\n\n{METHOD.format(connections=connections)}"
    parts = [f"### {name}\n\n```\n{said.strip()}\n```" for name, said in results.components.items()]
    single = ["## Single parts", *parts] if parts else []
    return "\n\n".join([opening, _score(results), *map(str, tables(results)), missing, method, *single]) + "\n"


def _score(results: Results) -> str:
    found = _found(results)
    targets = [*throughput_targets(found), *further_targets(found)]
    left = sum(one.measured is None for one in targets)
    met = f"Targets met: {sum(one.met for one in targets)} of {len(targets)}"
    return f"{met}, {left} of them not measured." if left else f"{met}."


def _found(results: Results) -> Found:
    return Found(
        throughput=results.throughput,
        latency=results.latency,
        judged=results.judged,
        sizes=results.sizes,
        holding=results.holding,
        streaming=results.streaming,
    )


def machine_readable(results: Results) -> str:
    """The JSON document. A variant's `p50_us` and `p99_us` are what it adds at 3,000 calls a second."""
    whole = {
        "machine": asdict(results.machine),
        "began": results.began,
        "command": results.command,
        "variants": {name: _variant(results, name) for name in results.throughput},
        "ratios": ratios(results.throughput),
        "targets": [
            {"what": one.what, "measured": one.measured, "limit": one.limit, "met": one.met}
            for one in (*throughput_targets(_found(results)), *further_targets(_found(results)))
        ],
        "judged": asdict(results.judged) if results.judged else None,
        "unlike": {kind: {name: asdict(one) for name, one in of.items()} for kind, of in results.unlike.items()},
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
            name, _over(measured, name), figure(one.calls_per_s), figure(one.cpu_us or None, 1),
            f"{one.core_share:.0%}", f"{one.others_share:.0%}", figure(one.wrong),
        )
        for name, one in ordered
    ]  # fmt: skip
    return Table(
        heading=heading,
        note="The core's use says what was the limit: well under 100 %, it was the load or a neighbour (`others`).",
        columns=("variant", "the gate over it", "calls/s", "µs CPU per call", "core used", "others", "not 200"),
        rows=rows,
    )


def _unlike_table(by_kind: ByKind) -> Table:
    names = list(dict.fromkeys(name for of in by_kind.values() for name in of))
    rows = []
    for name in names:
        cells = [name]
        for of in by_kind.values():
            one = of[name]
            cells += [_over(of, name), figure(one.calls_per_s), figure(one.cpu_us, 1)]
        found = [of[name] for of in by_kind.values()]
        others = max(one.others_share for one in found)
        rows.append((*cells, f"{others:.0%}", figure(sum(one.wrong for one in found))))
    columns = [column for kind in by_kind for column in (f"{kind}: the gate over it", "calls/s", "µs CPU")]
    return Table(
        heading="Calls that are not alike",
        note=f"GETs of {PATHS:,} different paths in turn, and POSTs of {BODY_BYTES} bytes of JSON, none twice. The "
        "gate reads each body; the peers read none, and what they remember of a decision fits all paths.",
        columns=("variant", *columns, "others", "not 200"),
        rows=rows,
    )


def _over(measured: Mapping[str, Throughput], name: str) -> str:
    ours = measured.get(OURS)
    return figure(ratio(ours, measured[name]), 2) if ours and name != OURS and measured[name].cpu_us else "–"


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
        (name, figure(one.idle_mib), figure(one.held_kib, 1), figure(one.approve_ms, 2), figure(one.across_ms, 2))
        for name, one in measured.items()
    ]
    return Table(
        heading="Held calls",
        note="Bodies of 1 KiB. The gate's holds and approvals are in its store and synced to its ledger, and an "
        "approval is a person's; the peers' are in memory, and anybody's.",
        columns=("variant", "MiB idle", "KiB a held call", "ms, approval to first byte", "across two processes"),
        rows=rows,
    )


def _streaming_table(measured: Mapping[str, Streaming]) -> Table:
    rows = [(name, *_flow(one.download), *_flow(one.upload)) for name, one in measured.items()]
    return Table(
        heading="Streaming",
        note="Downloads of 1 GiB, uploads of 8 MiB one after the other, one connection. Grown: the most of resident "
        "memory meanwhile, over what it was before.",
        columns=("variant", "MB/s down", "MiB grown", "MB/s up", "MiB grown"),
        rows=rows,
    )


def _flow(one: Flow | None) -> tuple[str, str]:
    return (figure(one.mb_per_s), figure(one.grown_mib, 1)) if one else ("–", "–")


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
        "judged by Cedar, since a policy names one.",
        columns=("the gate with", "calls/s", "µs CPU", "another each, calls/s", "µs CPU", "s to start", "MiB"),
        rows=rows,
    )
