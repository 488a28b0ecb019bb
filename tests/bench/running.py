"""The variants of a run that listen, each with what it costs so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.bench.load import Load
from tests.bench.machine import Cores, memory_bytes, tree
from tests.bench.site import Site
from tests.bench.stack import NotStarted, Stack, Started
from tests.bench.variants import Absent, Found, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """One that runs."""

    variant: Variant
    started: tuple[Started, ...]

    @property
    def name(self) -> str:
        """As in the table."""
        return self.variant.name

    @property
    def port(self) -> int:
        """Where agents call it."""
        return self.variant.port

    def cpu_s(self) -> float:
        """CPU time of all its processes so far, seconds."""
        return sum(one.cpu_s() for one in self.started)

    def pids(self) -> list[int]:
        """All its processes."""
        return [pid for one in self.started for pid in tree(one.process.pid)]

    def memory_bytes(self) -> int:
        """Resident memory of all its processes."""
        return memory_bytes(self.pids())


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What every section of one run works with."""

    stack: Stack
    site: Site
    load: Load
    used: Cores
    upstream: Started


def start(run: Run, found: Iterable[Found]) -> tuple[list[Live], list[Absent]]:
    """Those that run now, and those that do not, with the reason."""
    live: list[Live] = []
    absent: list[Absent] = []
    for one in found:
        if isinstance(one, Absent):
            absent.append(one)
            continue
        try:
            started = tuple(run.stack.start(program, core=run.used.tested) for program in one.programs)
        except NotStarted as fault:
            absent.append(Absent(name=one.name, missing=f"it did not start: {fault}"))
        else:
            live.append(Live(variant=one, started=started))
    return live, absent


def stop(run: Run, live: Iterable[Live]) -> None:
    """Stops them."""
    for one in live:
        for started in one.started:
            run.stack.stop(started)
