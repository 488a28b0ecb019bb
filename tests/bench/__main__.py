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
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.load import CONNECTIONS
from tests.bench.machine import machine
from tests.bench.report import Results, document, machine_readable, tables
from tests.bench.side_by_side import FULL, QUICK, SECTIONS, Extent, say, side_by_side
from tests.bench.variants import NAMES
from tests.house.source import ROOT

WHOLE_GATE = "bench_gate"
"""Measures the gate alone, which is done here beside the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    quick: bool
    only: frozenset[str]
    sections: frozenset[str]

    @property
    def published(self) -> bool:
        """Whether this run's figures are for the documents."""
        return not (self.quick or self.only or self.sections)

    @property
    def extent(self) -> Extent:
        """How much is measured."""
        extent = QUICK if self.quick else FULL
        return replace(extent, sections=self.sections) if self.sections else extent


def main(arguments: Sequence[str]) -> int:
    """Measures, prints, writes. 0 unless a single part failed: absent peers are named, no error."""
    wanted = _wanted(arguments)
    began = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    command = " ".join(["make bench", *([f"BENCH='{' '.join(arguments)}'"] if arguments else [])])
    results = Results(machine=machine(), began=began, command=command)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        side_by_side(results, Path(folder), extent=wanted.extent, only=wanted.only)
    for table in tables(results):
        say(f"\n{table}")
    failed = _components(results) if wanted.published else 0
    _write(results, wanted)
    return failed


def _components(results: Results) -> int:
    failed = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        if path.stem == WHOLE_GATE:
            continue
        name = path.stem.removeprefix("bench_")
        command = [sys.executable, "-m", f"tests.bench.{path.stem}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        results.components = {**results.components, name: done.stdout}
        say(f"\n== {name}\n{done.stdout}{done.stderr}")
        failed += done.returncode != 0
    return failed


def _write(results: Results, wanted: Wanted) -> None:
    paper = ROOT / ("docs" if wanted.published else "build") / "bench.md"
    figures = ROOT / "build" / "bench.json"
    figures.parent.mkdir(exist_ok=True)
    paper.write_text(document(results, connections=CONNECTIONS), "utf-8")
    figures.write_text(machine_readable(results), "utf-8")
    say(f"\nwritten: {paper.relative_to(ROOT)}, {figures.relative_to(ROOT)}")


def _wanted(arguments: Sequence[str]) -> Wanted:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, under two minutes")
    parser.add_argument("--only", default="", metavar="NAME,…", help="these variants alone, beside `direct`")
    parser.add_argument("--section", default="", metavar="NAME,…", help="these sections alone")
    read = parser.parse_args(arguments)
    only, sections = (frozenset(filter(None, names.split(","))) for names in (read.only, read.section))
    for what, named, known in (("variant", only, NAMES), ("section", sections, SECTIONS)):
        if unknown := named - set(known):
            parser.error(f"there is no {what} {min(unknown)!r}; there are: {', '.join(known)}")
    return Wanted(quick=read.quick, only=only, sections=sections)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
