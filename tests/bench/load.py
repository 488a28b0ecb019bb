"""Load from the other core: as fast as it goes with `wrk` where it is installed, at a fixed rate with our own."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace

from tests.bench.calling import NUMBERS, Burst, Orders, numbered
from tests.bench.machine import on_core
from tests.house.source import ROOT

CONNECTIONS = 32
_NUMBERING = """
local number = BEGIN
request = function()
  number = (number + 1) % DISTINCT
  local text = string.format("%08d", number)
  return PARTS
end
"""
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Calls of one kind, made on one core."""

    core: int
    target: str
    """A `{n}` in it, or in the body, becomes the number of the call in eight digits, so that no two are alike."""
    token: str
    ca_file: str = ""
    method: str = "GET"
    body: str = ""
    """JSON to send along, ASCII."""
    distinct: int = NUMBERS
    """After how many calls the numbers begin anew."""

    def full_speed(self, port: int, *, seconds: int) -> Burst:
        """Each connection calls again as soon as it is answered."""
        if shutil.which("wrk"):
            return self._wrk(port, seconds)
        return self._own(self._orders(port, seconds))

    def at_rate(self, port: int, *, rate: float, seconds: float) -> Burst:
        """So many calls a second, whatever becomes of them."""
        return self._own(replace(self._orders(port, seconds), rate=rate))

    def headers(self) -> tuple[str, ...]:
        """What an agent's library would send beside the host."""
        return f"Authorization: Bearer {self.token}", "Accept: application/json", "User-Agent: agent/1.0"

    def head(self, port: int) -> str:
        """The whole call, a body included."""
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: 127.0.0.1:{port}", *self.headers()]
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(numbered(self.body, 0))}"]
        return "\r\n".join((*lines, "", "")) + self.body

    def _orders(self, port: int, seconds: float) -> Orders:
        return Orders(
            port=port, head=self.head(port), seconds=seconds, connections=CONNECTIONS,
            first=_begin(), distinct=self.distinct,
        )  # fmt: skip

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
            script.write(self._script(port))
            script.flush()
            command += ["-s", script.name, url] if "{n}" in self.head(port) else [f"{url}{self.target}"]
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

    def _script(self, port: int) -> str:
        # JSON's escapes are Lua's, for ASCII.
        parts = " .. text .. ".join(map(json.dumps, self.head(port).split("{n}")))
        begin, distinct = str(_begin()), str(self.distinct)
        return _NUMBERING.replace("BEGIN", begin).replace("DISTINCT", distinct).replace("PARTS", parts)


def _begin() -> int:
    # Not where the burst before began, or its calls would be made again and found remembered.
    return random.randrange(NUMBERS)


def _share(share: str, said: str) -> float:
    found = re.search(rf"(?m)^\s+{share}\s+([\d.]+)(us|ms|s|m)", said)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    return int(found[1]) if found else 0


def _socket_errors(said: str) -> int:
    line = re.search(r"Socket errors: (.*)", said)
    return sum(map(int, re.findall(r"\d+", line[1]))) if line else 0
