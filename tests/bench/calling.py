"""A client in a process of its own: `python -m tests.bench.calling '{"port": …}'` prints one line of JSON.

With a rate, each call has its time, kept whatever became of the calls before, and latency counts from then on: a server
that stalls is not excused by a client that waited with it. Without, each connection calls again as soon as it is
answered. Plain sockets and one `select`, so that what is measured is hardly ever this program.
"""

from __future__ import annotations

import ctypes
import gc
import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

_PR_SET_TIMERSLACK = 29
_GRACE_S = 3.0
"""How long answers are waited for when all calls are sent."""
NUMBERS = 10**8
"""As many as eight digits have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What to do; also the argument, as JSON."""

    port: int
    head: str
    """The whole call, bytes in Latin-1. `{n}` becomes the number of the call in eight digits."""
    seconds: float
    connections: int
    first: int = 0
    """Number of the first call."""
    distinct: int = NUMBERS
    """After how many calls the numbers begin anew."""
    rate: float = 0
    """Calls a second; 0 is as fast as they are answered."""
    ca_file: str = ""
    """Call over TLS, and believe this CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """What became of the calls."""

    calls: int
    seconds: float
    wrong: int
    """Answers other than 200, and connections that ended."""
    p50_us: float
    p99_us: float
    p999_us: float

    @property
    def calls_per_s(self) -> float:
        """Answered calls a second."""
        return self.calls / self.seconds


class Line:
    """One keep-alive connection with at most one call on it."""

    def __init__(self, orders: Orders) -> None:
        plain = socket.create_connection(("127.0.0.1", orders.port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = _tls(orders.ca_file).wrap_socket(plain, server_hostname="localhost") if orders.ca_file else plain
        self.socket.setblocking(False)
        self.due = 0.0
        self._got = b""
        self._needed = 0

    def fileno(self) -> int:
        """For `select`."""
        return self.socket.fileno()

    def send(self, head: bytes, due: float) -> None:
        """Makes the call that was due then."""
        self.due, self._got, self._needed = due, b"", 0
        self.socket.send(head)

    def answered(self) -> int | None:
        """The status once the whole answer is there; 0 if the connection ended."""
        try:
            while data := self.socket.recv(65536):
                self._got += data
                if self._needed == 0 and (end := self._got.find(b"\r\n\r\n")) >= 0:
                    self._needed = end + 4 + _length(self._got[:end])
                if self._needed and len(self._got) >= self._needed:
                    return int(self._got[9:12])
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            return 0
        return 0


def call(orders: Orders) -> Burst:
    """Makes the calls."""
    free = [Line(orders) for _ in range(orders.connections)]
    waiting: set[Line] = set()
    latencies: list[float] = []
    wrong = 0
    began = time.perf_counter() + 0.001
    times = _times(orders, began)
    due = next(times)
    end = began + orders.seconds
    while (now := time.perf_counter()) < end + _GRACE_S:
        while free and due is not None and due <= now:
            line = free.pop()
            number = (orders.first + len(latencies) + len(waiting)) % orders.distinct
            line.send(numbered(orders.head, number).encode("latin-1"), due if orders.rate else now)
            waiting.add(line)
            due = next(times)
        if (due is None and not waiting) or not (free or waiting):
            break
        pause = max(0.0, due - time.perf_counter()) if free and due is not None else 0.1
        for line in select.select(waiting, (), (), pause)[0]:
            status = line.answered()
            if status is None:
                continue
            latencies.append(time.perf_counter() - line.due)
            waiting.discard(line)
            wrong += status != 200
            if status:
                free.append(line)
    return _burst(latencies, seconds=time.perf_counter() - began, wrong=wrong + len(waiting))


def numbered(text: str, number: int) -> str:
    """The text with the number in its place."""
    return text.replace("{n}", f"{number:08d}")


def _times(orders: Orders, began: float) -> Iterator[float | None]:
    if orders.rate:
        yield from (began + number / orders.rate for number in range(int(orders.rate * orders.seconds)))
    while not orders.rate and time.perf_counter() < began + orders.seconds:
        yield began
    while True:
        yield None


def _burst(latencies: list[float], *, seconds: float, wrong: int) -> Burst:
    if not latencies:
        return Burst(calls=0, seconds=seconds, wrong=wrong, p50_us=0, p99_us=0, p999_us=0)
    ordered = sorted(latencies)
    p50, p99, p999 = (ordered[int(len(ordered) * share)] * 1e6 for share in (0.5, 0.99, 0.999))
    return Burst(calls=len(ordered), seconds=seconds, wrong=wrong, p50_us=p50, p99_us=p99, p999_us=p999)


def _length(head: bytes) -> int:
    low = head.lower()
    at = low.find(b"\r\ncontent-length:")
    return int(low[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def _tls(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _wake_on_time() -> None:
    # The kernel may be 50 µs late with a timer, to wake fewer times; here that is a tenth of what is measured.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


if __name__ == "__main__":
    _wake_on_time()
    gc.disable()
    sys.stdout.write(json.dumps(asdict(call(Orders(**json.loads(sys.argv[1]))))) + "\n")
