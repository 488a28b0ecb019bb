"""What it costs to put law in force: time from the files to an engine that judges, memory, and the first calls.

`python -m tests.bench.publishing OPERATIONS POLICIES` measures in its own process and prints one line of JSON. Three of
four policies name an operation; the fourth is about all writes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from config.settings import Group, Policy, Upstream
from connectors.apis.naming import Namer
from policy.call import Input
from policy.engine import Engine
from policy.operation import FieldType, Operation
from proxy import lawbook
from tests.fakes.values import a_call

SIZES = ((100, 10), (100, 100), (100, 1_000), (1_000, 10), (1_000, 1_000), (10_000, 10), (10_000, 100), (10_000, 1_000))
"""Operations and policies."""
_METHODS = ("get", "post", "delete", "put")
_KINDS = ("integer", "string", "boolean")
_VALUES = {FieldType.LONG: 1, FieldType.TEXT: "x", FieldType.BOOL: True}
_COLD_CALLS = 200
_NOW = 1_767_614_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One publication."""

    operations: int
    policies: int
    seconds: float
    cpu_s: float
    """Of both processes."""
    mib: float
    """Of the process that serves, afterwards; some 45 of them without any law."""
    child_mib: float
    """The most that the process which proves the law took."""
    first_call_ms: float
    """CPU of the median first call of an operation."""
    slowest_first_call_ms: float


def published(operations: int, policies: int) -> Published:
    """The figures of one publication, measured in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.publishing", str(operations), str(policies)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return Published(**json.loads(done.stdout))


def document(count: int) -> str:
    """An OpenAPI document with so many operations of some dozens of shapes."""
    paths: dict[str, dict[str, object]] = {}
    for number in range(count):
        paths.setdefault(f"/v1/kind{number // 4}/{{id}}", {})[_METHODS[number % 4]] = _described(number)
    return json.dumps({"openapi": "3.0.0", "info": {"title": "bench", "version": "1"}, "paths": paths})


def cedar(operations: tuple[Operation, ...], count: int) -> str:
    """So many policies on these operations."""
    return "\n".join(_policy(number, operations[number % len(operations)].name) for number in range(count))


def _described(number: int) -> dict[str, object]:
    text = {"schema": {"type": "string"}}
    shaped = {
        "amount": {"type": "integer"},
        "note": {"type": "string"},
        f"f{number % 50}": {"type": _KINDS[number % 3]},
    }
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": shaped}}}}
    described: dict[str, object] = {
        "operationId": f"op{number}",
        "summary": f"Does {number}",
        "parameters": [{"name": "id", "in": "path", "required": True, **text}, {"name": "q", "in": "query", **text}],
    }
    return {**described, "requestBody": body} if number % 2 else described


def _policy(number: int, operation: str) -> str:
    scope = f'action == Action::"{operation}"' if number % 4 else 'action in Action::"write"'
    match number % 3:
        case 0:
            head, condition = f'permit (principal in Group::"g{number % 7}", {scope}, resource)', "true"
            return f'@id("p{number}") {head} when {{ context.req.bodyLength <= {number} && {condition} }};'
        case 1:
            unless = 'unless { context.approvals.quorum.contains(Quorum::"leads:1") }'
            head = f'@id("p{number}") @hold("q") forbid (principal is Agent, {scope}, resource)'
            return f"{head} when {{ context.req.sample < {number} }} {unless};"
        case _:
            network = f'context.req.ip.isInRange(ip("10.{number % 200}.0.0/16"))'
            return f'@id("p{number}") forbid (principal is Agent, {scope}, resource) unless {{ {network} }};'


def _measure(operations: int, policies: int, folder: Path) -> Published:
    (folder / "api.json").write_text(document(operations))
    upstream = Upstream(name="up", url="http://127.0.0.1", catalogue=folder / "api.json")
    (catalogue,) = lawbook.read_catalogues([upstream])
    (folder / "law.cedar").write_text(cedar(catalogue.operations, policies))
    del catalogue
    began, cpu = time.perf_counter(), _cpu_s()
    engine, _ = _in_force(upstream, Policy(files=(folder / "law.cedar",)))
    seconds, cpu, mib = time.perf_counter() - began, _cpu_s() - cpu, _mib()
    first = sorted(_first_calls(engine))
    return Published(
        operations=operations,
        policies=policies,
        seconds=seconds,
        cpu_s=cpu,
        mib=mib,
        child_mib=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        first_call_ms=first[len(first) // 2],
        slowest_first_call_ms=first[-1],
    )


def _in_force(upstream: Upstream, policy: Policy) -> tuple[Engine, list[Namer]]:
    """As `proxy.publication` does it."""
    catalogues = lawbook.read_catalogues([upstream])
    bundle = lawbook.compile_in_child(
        policy,
        operations=lawbook.operations_of(catalogues),
        groups={"leads": Group(quorum=2)},
        labels=lawbook.labels_of(catalogues),
        limit_s=600,
    )
    engine = Engine(bundle)
    lawbook.self_test(engine)
    return engine, [Namer(one, scan_bytes=1 << 16, json_depth=32) for one in catalogues]


def _first_calls(engine: Engine) -> list[float]:
    """Milliseconds of CPU of the first call of each of many operations."""
    every = [one for one in engine.bundle.operations.values() if one.known]
    taken = []
    for operation in every[:: max(1, len(every) // _COLD_CALLS)]:
        values = Input(values={one.name: _VALUES[one.type] for one in operation.fields})
        call = a_call(operation=operation, upstream="up", input=values)
        began = time.process_time_ns()
        engine.judge(call, now=_NOW)
        taken.append((time.process_time_ns() - began) / 1e6)
    return taken


def _cpu_s() -> float:
    return time.process_time() + sum(os.times()[2:4])


def _mib() -> float:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        sys.stdout.write(json.dumps(asdict(_measure(int(sys.argv[1]), int(sys.argv[2]), Path(place)))))
