"""Load from the other core: as fast as it goes with `wrk` where it is installed, at a fixed rate with our own."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass

from tests.bench.calling import Burst, Orders
from tests.bench.machine import on_core
from tests.house.source import ROOT

CONNECTIONS = 32
_NUMBERING = """
local number = BEGIN
request = function()
  number = number + 1
  return wrk.format("GET", "TARGET")
end
"""
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Calls of one kind, made on one core."""

    core: int
    target: str
    """A `{n}` in it becomes the number of the call, so that no two are alike."""
    token: str
    ca_file: str = ""

    def full_speed(self, port: int, *, seconds: int) -> Burst:
        """Each connection calls again as soon as it is answered."""
        if shutil.which("wrk"):
            return self._wrk(port, seconds)
        head = self.head(port)
        return self._own(Orders(port=port, head=head, seconds=seconds, connections=CONNECTIONS, first=_begin()))

    def at_rate(self, port: int, *, rate: float, seconds: float) -> Burst:
        """So many calls a second, whatever becomes of them."""
        head = self.head(port)
        return self._own(Orders(port=port, head=head, seconds=seconds, connections=CONNECTIONS, rate=rate))

    def headers(self) -> tuple[str, ...]:
        """What an agent's library would send beside the host."""
        return f"Authorization: Bearer {self.token}", "Accept: application/json", "User-Agent: agent/1.0"

    def head(self, port: int) -> str:
        """The whole call."""
        return "\r\n".join((f"GET {self.target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *self.headers(), "", ""))

    def _own(self, orders: Orders) -> Burst:
        orders_text = json.dumps({**asdict(orders), "ca_file": self.ca_file})
        with on_core(self.core):
            command = [sys.executable, "-m", "tests.bench.calling", orders_text]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return Burst(**json.loads(done.stdout))

    def _wrk(self, port: int, seconds: int) -> Burst:
        named = [part for header in self.headers() for part in ("-H", header)]
        scheme = "https" if self.ca_file else "http"
        url = f"{scheme}://127.0.0.1:{port}"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "5s", *named]
        with on_core(self.core), tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            target = self.target.replace("{n}", '" .. number .. "')
            script.write(_NUMBERING.replace("BEGIN", str(_begin())).replace("TARGET", target))
            script.flush()
            command += ["-s", script.name, url] if "{n}" in self.target else [f"{url}{self.target}"]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        done = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", said)
        if done is None:
            raise ValueError(f"wrk said: {said[-400:]}")
        return Burst(
            calls=int(done[1]),
            seconds=float(done[2]) * _UNITS[done[3]] / 1e6,
            wrong=_number(r"Non-2xx or 3xx responses: (\d+)", said) + _socket_errors(said),
            p50_us=_share("50%", said),
            p99_us=_share("99%", said),
            p999_us=0,
        )


def _begin() -> int:
    # Not where the burst before began, or its calls would be made again and found remembered.
    return random.randrange(10**9)


def _share(share: str, said: str) -> float:
    found = re.search(rf"(?m)^\s+{share}\s+([\d.]+)(us|ms|s|m)", said)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    return int(found[1]) if found else 0


def _socket_errors(said: str) -> int:
    line = re.search(r"Socket errors: (.*)", said)
    return sum(map(int, re.findall(r"\d+", line[1]))) if line else 0
