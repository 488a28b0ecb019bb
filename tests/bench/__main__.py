"""`make bench`: the product and its peers side by side, then single parts. `--quick` takes two minutes instead of 15.

A full run writes `docs/bench.md`; one that is quick or leaves something out writes `build/bench.md` in its place, so
that published figures are always of full runs. Both write `build/bench.json`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import CONNECTIONS, Load
from tests.bench.machine import cores, machine
from tests.bench.report import Results, document, machine_readable, tables
from tests.bench.running import start
from tests.bench.site import MODELS, site
from tests.bench.stack import Stack
from tests.bench.throughput import Plan, throughput
from tests.bench.variants import DIRECT, Found, variants
from tests.house.source import ROOT

FULL = Plan(rounds=5, seconds=3, extra_rounds=3, quiet_s=3.0)
QUICK = Plan(rounds=3, seconds=1, quiet_s=0.5)
WHOLE_GATE = "bench_gate"
"""Measures the gate alone, which is done here beside the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    quick: bool
    only: frozenset[str]

    @property
    def published(self) -> bool:
        """Whether this run's figures are for the documents."""
        return not self.quick and not self.only

    def takes(self, one: Found) -> bool:
        """Whether this variant is measured; the way without anything between always is."""
        return not self.only or one.name == DIRECT or one.name in self.only


def main(arguments: Sequence[str]) -> int:
    """Measures, prints, writes. 0 unless a single part failed: absent peers are named, no error."""
    wanted = _wanted(arguments)
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    command = " ".join(["make bench", *([f"BENCH='{' '.join(arguments)}'"] if arguments else [])])
    results = Results(machine=machine(), began=began, command=command)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _side_by_side(results, wanted, Path(folder))
    failed = 0 if wanted.quick or wanted.only else _components(results)
    _write(results, wanted)
    return failed


def _side_by_side(results: Results, wanted: Wanted, folder: Path) -> None:
    here, used = site(folder), cores()
    load = Load(core=used.load, target=MODELS, token=here.keys.agent())
    plan = QUICK if wanted.quick else FULL
    with Stack(folder) as stack:
        upstream = stack.start(here.upstream(), core=used.load)
        live, results.absent = start(stack, filter(wanted.takes, variants(here)), core=used.tested)
        for one in results.absent:
            _say(f"absent: {one.name}, which needs {one.missing}")
        results.throughput = throughput(live, load, plan=plan, used=used, upstream_s=upstream.cpu_s)
    for table in tables(results):
        _say(f"\n{table}")


def _components(results: Results) -> int:
    failed = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        if path.stem == WHOLE_GATE:
            continue
        name = path.stem.removeprefix("bench_")
        command = [sys.executable, "-m", f"tests.bench.{path.stem}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        results.components = {**results.components, name: done.stdout}
        _say(f"\n== {name}\n{done.stdout}{done.stderr}")
        failed += done.returncode != 0
    return failed


def _write(results: Results, wanted: Wanted) -> None:
    paper = ROOT / ("docs" if wanted.published else "build") / "bench.md"
    figures = ROOT / "build" / "bench.json"
    figures.parent.mkdir(exist_ok=True)
    paper.write_text(document(results, connections=CONNECTIONS), "utf-8")
    figures.write_text(machine_readable(results), "utf-8")
    _say(f"\nwritten: {paper.relative_to(ROOT)}, {figures.relative_to(ROOT)}")


def _wanted(arguments: Sequence[str]) -> Wanted:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, under two minutes")
    parser.add_argument("--only", default="", metavar="NAME,…", help="these variants alone, beside `direct`")
    read = parser.parse_args(arguments)
    return Wanted(quick=read.quick, only=frozenset(filter(None, read.only.split(","))))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
