"""Megabytes a second through each variant: one large download, and uploads as large as the gate takes by default."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.load import Load
from tests.bench.machine import on_core
from tests.bench.running import Live, Run
from tests.bench.site import CONTENT, FILE, LARGE_BYTES
from tests.bench.wire import Wire

UPLOAD_BYTES = 8 << 20
UPLOADS = 8
Send = Callable[[Wire], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """Of one variant, megabytes (10^6 bytes) a second. None where it does not let such a call through."""

    download: float | None
    upload: float | None


def streaming(run: Run, live: Sequence[Live], *, rounds: int) -> Mapping[str, Streaming]:
    """The medians by name."""
    down: dict[str, list[float]] = {one.name: [] for one in live}
    up: dict[str, list[float]] = {one.name: [] for one in live}
    with on_core(run.load.core):
        for _ in range(rounds):
            for one in random.sample(live, len(live)):
                down[one.name] += _download(one.port, run.load)
                up[one.name] += _upload(one.port, run.load)
    return {one.name: Streaming(download=_middle(down[one.name]), upload=_middle(up[one.name])) for one in live}


def _download(port: int, load: Load) -> list[float]:
    return _rate(port, LARGE_BYTES, 1, lambda wire: wire.send("GET", CONTENT, headers=load.headers()))


def _upload(port: int, load: Load) -> list[float]:
    body = bytes(UPLOAD_BYTES)
    headers = (*load.headers(), "Content-Type: application/octet-stream")
    return _rate(port, UPLOAD_BYTES, UPLOADS, lambda wire: wire.send("PUT", FILE, headers=headers, body=body))


def _rate(port: int, size: int, times: int, send: Send) -> list[float]:
    wire = Wire(port)
    try:
        began = time.perf_counter()
        for _ in range(times):
            send(wire)
            if wire.status_and_body()[0] != 200:
                return []
        return [size * times / 1e6 / (time.perf_counter() - began)]
    except (ConnectionError, TimeoutError):
        return []
    finally:
        wire.close()


def _middle(of: Sequence[float]) -> float | None:
    return median(of) if of else None
