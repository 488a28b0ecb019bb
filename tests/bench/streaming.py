"""Megabytes a second through each variant, and how much memory it takes meanwhile.

Downloads are of a file far larger than any buffer, uploads as large as the gate takes by default.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Self

from tests.bench.load import Load
from tests.bench.machine import memory_bytes, on_core
from tests.bench.running import Live, Run
from tests.bench.site import CONTENT, FILE, LARGE_BYTES
from tests.bench.wire import Wire

UPLOAD_BYTES = 8 << 20
UPLOADS = 16
_SAMPLE_S = 0.01
Send = Callable[[Wire], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One way through one variant."""

    mb_per_s: float
    """Megabytes (10^6 bytes) a second, the median of the rounds."""
    grown_mib: float
    """How much more resident memory it had meanwhile than before, the most of all rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """Of one variant. None where it does not let such a call through."""

    download: Flow | None
    upload: Flow | None


def streaming(run: Run, live: Sequence[Live], *, rounds: int) -> Mapping[str, Streaming]:
    """By name."""
    down: dict[str, list[Flow]] = {one.name: [] for one in live}
    up: dict[str, list[Flow]] = {one.name: [] for one in live}
    with on_core(run.load.core):
        for _ in range(rounds):
            for one in random.sample(live, len(live)):
                down[one.name] += _download(one, run.load)
                up[one.name] += _upload(one, run.load)
    return {one.name: Streaming(download=_all(down[one.name]), upload=_all(up[one.name])) for one in live}


class Memory:
    """Looks at the memory of some processes, again and again while the block lasts, and keeps the most."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)
        self._before = self._most = 0

    @property
    def grown_mib(self) -> float:
        """The most over what it was before."""
        return (self._most - self._before) / 2**20

    def __enter__(self) -> Self:
        self._before = self._most = memory_bytes(self._pids)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            self._most = max(self._most, memory_bytes(self._pids))


def _download(one: Live, load: Load) -> list[Flow]:
    return _flow(one, LARGE_BYTES, 1, lambda wire: wire.send("GET", CONTENT, headers=load.headers()))


def _upload(one: Live, load: Load) -> list[Flow]:
    body = bytes(UPLOAD_BYTES)
    headers = (*load.headers(), "Content-Type: application/octet-stream")
    return _flow(one, UPLOAD_BYTES, UPLOADS, lambda wire: wire.send("PUT", FILE, headers=headers, body=body))


def _flow(one: Live, size: int, times: int, send: Send) -> list[Flow]:
    """One round; empty where it was refused."""
    try:
        with _wire(one.port) as wire, Memory(one.pids()) as memory:
            began = time.perf_counter()
            for _ in range(times):
                send(wire)
                if wire.status_and_body()[0] != 200:
                    return []
            took_s = time.perf_counter() - began
    except (ConnectionError, TimeoutError):
        return []
    return [Flow(mb_per_s=size * times / 1e6 / took_s, grown_mib=memory.grown_mib)]


@contextmanager
def _wire(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()


def _all(of: Sequence[Flow]) -> Flow | None:
    if not of:
        return None
    return Flow(mb_per_s=median(one.mb_per_s for one in of), grown_mib=max(one.grown_mib for one in of))
