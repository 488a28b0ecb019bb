"""Allowed calls through the whole gate: calls a second, and microseconds of the gate's CPU for each.

The gate is `assentry serve` in a process of its own with everything on: token verification, front check, naming,
judgement, ledger, metrics. The upstream and the load are in this process, on the other core. Linux only: CPU time is
read from /proc.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from proxy.demo.issuer import DemoAgent, DemoIssuer

CONNECTIONS = 32
SECONDS = 4.0
ROUNDS = 5
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"content-length: 1024\r\n\r\n" + b"x" * 1024
)

SETTINGS = """
demo: true
data: state
agents: {{listen: "127.0.0.1:{agents}"}}
approvers: {{listen: "127.0.0.1:{approvers}", public_url: "http://127.0.0.1:{approvers}"}}
operators: {{listen: "127.0.0.1:{operators}"}}
issuers:
  - {{name: demo, issuer: "{issuer}", algorithms: [ES256], agents_audience: agents, people_audience: people}}
upstreams:
  - {{name: openai, url: "{upstream}", catalogue: "builtin:openai", private_networks: true}}
policy: {{files: [law.cedar]}}
log: error
"""
LAW = '@id("all") permit (principal in Group::"g", action in Action::"read", resource in Upstream::"openai");\n'


class Upstream(asyncio.Protocol):
    """Answers every request head with 1 KiB."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


class Caller(asyncio.Protocol):
    """Sends the next call as soon as the last one is answered."""

    def __init__(self, call: bytes) -> None:
        self.call = call
        self.answered = 0
        self.wrong = b""
        self.buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self.call)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.endswith(b"x" * 1024):
            self.answered += 1
            self.buffer = b""
            self.transport.write(self.call)
        elif not self.buffer.startswith(b"HTTP/1.1 200"):
            self.wrong = self.buffer


def free() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, call: bytes) -> int:
    """How many calls were answered in SECONDS."""
    loop = asyncio.get_running_loop()
    callers = [Caller(call) for _ in range(CONNECTIONS)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)
    await asyncio.sleep(SECONDS)
    for caller in callers:
        caller.transport.abort()
        if caller.wrong:
            raise SystemExit(f"the gate answered: {caller.wrong[:300]!r}")
    return sum(caller.answered for caller in callers)


async def ready(port: int) -> None:
    """Wait until the operators' door answers."""
    for _ in range(300):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise SystemExit("the gate did not start")


async def main() -> None:
    """Run the rounds and print the medians."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0)
    issuer = DemoIssuer(
        people={},
        agents={"bot": DemoAgent(client_id="bot", secret="s", owner="olga", groups=("g",))},
        people_audience="people",
        agents_audience="agents",
        client_id="c",
        redirect_uris=(),
        demo=True,
    )
    await issuer.start()
    ports = {name: free() for name in ("agents", "approvers", "operators")}
    with tempfile.TemporaryDirectory() as folder:
        upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        Path(folder, "assentry.yaml").write_text(SETTINGS.format(**ports, issuer=issuer.url, upstream=upstream))
        Path(folder, "law.cedar").write_text(LAW)
        command = str(Path(sys.executable).with_name("assentry"))
        gate = subprocess.Popen([command, "serve", "-c", f"{folder}/assentry.yaml"])
        try:
            await ready(ports["operators"])
            token = issuer.agent_token("bot")
            call = f"GET /openai/v1/models HTTP/1.1\r\nHost: 127.0.0.1:{ports['agents']}\r\n"
            whole = f"{call}Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n".encode()
            rates, costs = [], []
            for _ in range(ROUNDS):
                began_s, began = cpu_s(gate.pid), time.perf_counter()
                calls = await load(ports["agents"], whole)
                rates.append(calls / (time.perf_counter() - began))
                costs.append((cpu_s(gate.pid) - began_s) / calls * 1e6)
        finally:
            gate.terminate()
            gate.wait()
    sys.stdout.write(
        f"allowed calls through the whole gate, {CONNECTIONS} connections, medians of {ROUNDS}: "
        f"{statistics.median(rates):,.0f} calls/s, {statistics.median(costs):.0f} µs of CPU a call\n"
    )


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
