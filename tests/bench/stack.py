"""Programs of one run: started on a core, waited for, and all of them stopped however the run ends.

Each is the head of a process group of its own, so what it starts goes with it. Knows nothing of what they do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Self

from tests.bench.machine import alive, cpu_s, memory_bytes, on_core, tree

STOP_S = 8.0


class NotStarted(Exception):
    """A program did not begin to listen; its last words are the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How to start one."""

    name: str
    command: Sequence[str]
    ports: tuple[int, ...]
    """It is ready when all of them accept."""
    environment: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 30.0
    """How long it may take until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One that runs."""

    program: Program
    process: subprocess.Popen[bytes]
    took_s: float
    """From its start until it listened, seconds."""

    def cpu_s(self) -> float:
        """CPU time of it and its children so far, seconds."""
        return cpu_s(tree(self.process.pid))

    def memory_bytes(self) -> int:
        """Resident memory of it and its children."""
        return memory_bytes(tree(self.process.pid))


class Stack:
    """Starts programs in `folder`, which also takes their output; leaving the block stops them, last first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Started] = []

    def __enter__(self) -> Self:
        # The default action would end this process at once and leave the others running.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        return self

    def __exit__(self, *_: object) -> None:
        # An impatient second Ctrl-C must not leave half of them behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for started in self._started:
            _end(started.process.pid)
        while self._started:
            self.stop(self._started[-1])

    def start(self, program: Program, *, core: int) -> Started:
        """The program, listening. Raises NotStarted."""
        log = self.folder / f"{program.name}.log"
        began = time.monotonic()
        with log.open("wb") as output, on_core(core):
            process = subprocess.Popen(
                list(program.command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder,
                env={**os.environ, **program.environment}, start_new_session=True,
            )  # fmt: skip
        started = Started(program=program, process=process, took_s=0)
        self._started.append(started)
        if not all(_accepts(port, process, end=began + program.start_s) for port in program.ports):
            self.stop(started)
            raise NotStarted(f"{program.name}: {log.read_text(errors='replace')[-800:].strip()}")
        self._started[-1] = replace(started, took_s=time.monotonic() - began)
        return self._started[-1]

    def stop(self, started: Started) -> None:
        """Ends it and all that it started; at once if it takes longer than it may."""
        everything = tree(started.process.pid)
        _end(started.process.pid)
        end = time.monotonic() + STOP_S
        while time.monotonic() < end and started.process.poll() is None:
            time.sleep(0.02)
        for pid in filter(alive, everything):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.process.wait()
        self._started.remove(started)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def free_ports(count: int) -> tuple[int, ...]:
    """As many ports that nobody listens on."""
    with contextlib.ExitStack() as opened:
        probes = [opened.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(int(probe.getsockname()[1]) for probe in probes)


def _accepts(port: int, process: subprocess.Popen[bytes], *, end: float) -> bool:
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
