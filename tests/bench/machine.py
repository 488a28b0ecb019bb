"""What the figures were measured on, and what a process costs there. Linux only: it all comes from /proc.

One core is for the thing under test, the other for the load and the upstream. Says nothing of what is measured.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
QUIET_SHARE = 0.10
"""How much of the two cores others may use before a round waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Which core does what. Equal where the machine has only one, and then the figures are worth little."""

    tested: int
    load: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine, for whoever reads the figures later."""

    processor: str
    cores: int
    memory_gib: int
    kernel: str
    python: str


def machine() -> Machine:
    """This machine."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    total_kib = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return Machine(
        processor=names[0] if names else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(total_kib / 1024**2),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def cores() -> Cores:
    """The last two of the cores that we may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(tested=usable[0], load=usable[-1])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside the block runs on this core alone, with all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> list[int]:
    """A process and all that it started, and they started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU time of these processes, seconds, from the scheduler's own nanoseconds."""
    spent_ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                spent_ns += int(thread.read_text().split()[0])
            except OSError:  # A thread that has ended since.
                continue
    return spent_ns / 1e9


def memory_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes; pages that they share count once for each."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * PAGE_BYTES


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


class Others:
    """Who else used the two cores since this was made: counts all that was busy, and takes off what is ours."""

    def __init__(self, used: Cores) -> None:
        self._cores = {used.tested, used.load}
        self._began = time.monotonic()
        self._busy = _busy_s(self._cores)
        self._children = _children_s()

    def share(self, *, ours_s: float) -> float:
        """Their share of the cores, 0 to 1. `ours_s` is what our programs used; the load is known here."""
        ours_s += _children_s() - self._children
        theirs_s = _busy_s(self._cores) - self._busy - ours_s
        return max(0.0, theirs_s / (time.monotonic() - self._began) / len(self._cores))


def wait_until_quiet(*, at_most_s: float) -> bool:
    """Wait for neighbours to leave the cores alone; False if they did not in that time."""
    end = time.monotonic() + at_most_s
    while True:
        before = _busy()
        time.sleep(0.1)
        busy, whole = (after - then for after, then in zip(_busy(), before, strict=True))
        if busy <= QUIET_SHARE * whole:
            return True
        if time.monotonic() > end:
            return False


def _busy_s(of: set[int]) -> float:
    ticks = 0
    for line in _lines("/proc/stat"):
        fields = line.split()
        if fields[0].removeprefix("cpu").isdigit() and int(fields[0][3:]) in of:
            ticks += sum(map(int, fields[1:4])) + sum(map(int, fields[6:8]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _busy() -> tuple[int, int]:
    ticks = [int(field) for field in _lines("/proc/stat")[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
