"""What is left of a run: a document for people, ratios first, and the same figures as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tests.bench.machine import Machine
from tests.bench.table import Table, figure
from tests.bench.targets import ratio_table, ratios
from tests.bench.throughput import Throughput
from tests.bench.variants import Absent

METHOD = """\
The thing under test has one core to itself; the load and the upstream share the other. Every variant gets the same
call, a GET of 1 KiB of JSON with an RS256 bearer, over {connections} keep-alive connections, and reaches the same
upstream. Rounds of all variants are interleaved in random order, and each figure is the median of its rounds. CPU is
that of every process under test, the gate's store and an authorizer included. Neighbours on the machine move single
figures; ratios move less."""


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run has found so far."""

    machine: Machine
    began: str
    """Date and time, UTC."""
    command: str
    absent: Sequence[Absent] = ()
    throughput: Mapping[str, Throughput] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    """What the benches of single parts printed."""


def throughput_table(measured: Mapping[str, Throughput]) -> Table:
    """All variants, the fastest first."""
    ordered = sorted(measured.items(), key=lambda item: -item[1].calls_per_s)
    rows = [
        (
            name, figure(one.calls_per_s), figure(one.cpu_us or None, 1), f"{one.core_share:.0%}",
            f"{one.others_share:.0%}", figure(one.wrong),
        )
        for name, one in ordered
    ]  # fmt: skip
    return Table(
        heading="Throughput, one core",
        note="The core's use says what was the limit: well under 100 %, it was the load or a neighbour.",
        columns=("variant", "calls/s", "µs CPU per call", "core used", "others", "not 200"),
        rows=rows,
    )


def tables(results: Results) -> list[Table]:
    """All that were measured."""
    return [ratio_table(results.throughput), throughput_table(results.throughput)]


def document(results: Results, *, connections: int) -> str:
    """The whole paper."""
    this = results.machine
    machine = f"{this.processor}, {this.cores} cores, {this.memory_gib} GiB, Linux {this.kernel}, Python {this.python}"
    opening = f"# Benchmarks\n\nWritten by `{results.command}` on {results.began} UTC. Machine: {machine}."
    absent = "".join(f"* {one.name}: needs {one.missing}\n" for one in results.absent)
    missing = f"## Absent\n\n{absent}" if absent else "## Absent\n\nNone of the peers.\n"
    method = f"## How it is measured\n\n{METHOD.format(connections=connections)}"
    parts = [f"### {name}\n\n```\n{said.strip()}\n```" for name, said in results.components.items()]
    single = ["## Single parts", *parts] if parts else []
    return "\n\n".join([opening, *map(str, tables(results)), missing.rstrip(), method, *single]) + "\n"


def machine_readable(results: Results) -> str:
    """The JSON document."""
    whole = {
        "machine": asdict(results.machine),
        "began": results.began,
        "command": results.command,
        "variants": {name: _variant(results, name) for name in results.throughput},
        "ratios": ratios(results.throughput),
        "absent": {one.name: one.missing for one in results.absent},
    }
    return json.dumps(whole, indent=2) + "\n"


def _variant(results: Results, name: str) -> dict[str, float | None]:
    one = results.throughput[name]
    return {"calls_per_s": round(one.calls_per_s), "cpu_us": round(one.cpu_us, 1), "p50_us": None, "p99_us": None}
