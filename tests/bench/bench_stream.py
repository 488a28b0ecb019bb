"""What a stream costs: time to the first token over the direct way, and memory while 100 MB go down or up.

Run as `python -m tests.bench.bench_stream [streams] [MB]`. The gate is `assentry serve` in a process of its own, with
everything on; the upstream and the client are in this process. Memory is read from /proc, so Linux only.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.demo.issuer import DemoAgent, DemoIssuer
from tests.bench.bench_gate import free, ready
from tests.bench.streaming import Memory

PIECE = bytes(64 * 1024)
TOKENS = 20
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
  - {{name: files, url: "{upstream}", catalogue: files.yaml, private_networks: true}}
policy: {{files: [law.cedar]}}
limits: {{upload_bytes: {most}}}
log: error
"""
LAW = '@id("all") permit (principal in Group::"g", action, resource);\n'
CATALOGUE = """
operations:
  files.read: {call: "GET /files/{id}"}
  files.put: {call: "PUT /files/{id}", body: opaque}
"""
ASKED = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
TOKEN = b'data: {"id":"c1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"token"}}]}\n\n'


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    """Twenty tokens to a POST, a file of this size to a GET, a word to a PUT once all of it came."""
    while head := await _head(reader):
        left = _length(head)
        while left:
            left -= len(await reader.read(min(left, len(PIECE))))
        if head.startswith(b"POST"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(TOKENS):
                writer.write(b"%x\r\n%b\r\n" % (len(TOKEN), TOKEN))
                await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")
        elif head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size // len(PIECE)):
                writer.write(PIECE)
                await writer.drain()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
    writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


class Way:
    """One way to the upstream, over one connection."""

    def __init__(self, port: int, *, prefix: dict[str, str], token: str) -> None:
        self.port = port
        self._prefix = prefix
        self._token = token

    async def connect(self) -> None:
        """Before anything is measured."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    def _send(self, method: str, upstream: str, path: str, *, kind: str, length: int) -> None:
        head = f"{method} {self._prefix[upstream]}{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        head += f"Authorization: Bearer {self._token}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        self._writer.write(head.encode())

    async def first_token_s(self) -> float:
        """Seconds from the call to its first token; the rest is read, and not counted."""
        began = time.perf_counter()
        self._send("POST", "openai", "/v1/chat/completions", kind="application/json", length=len(ASKED))
        self._writer.write(ASKED)
        await self._ok()
        await self._reader.readuntil(b"\n\n")
        took_s = time.perf_counter() - began
        await self._reader.readuntil(b"\r\n0\r\n\r\n")
        return took_s

    async def download(self) -> float:
        """Seconds that a file takes."""
        began = time.perf_counter()
        self._send("GET", "files", "/files/1", kind="text/plain", length=0)
        left = _length(await self._ok())
        while left:
            left -= len(await self._reader.read(1 << 20))
        return time.perf_counter() - began

    async def upload(self, size: int) -> float:
        """Seconds that a file takes up."""
        began = time.perf_counter()
        self._send("PUT", "files", "/files/1", kind="application/octet-stream", length=size)
        for _ in range(size // len(PIECE)):
            self._writer.write(PIECE)
            await self._writer.drain()
        await self._reader.readexactly(_length(await self._ok()))
        return time.perf_counter() - began

    async def _ok(self) -> bytes:
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"answered: {head!r} {await self._reader.read(400)!r}")
        return head


@asynccontextmanager
async def gate(upstream: str, most: int) -> AsyncIterator[tuple[int, int, str]]:
    """A gate before this upstream: its port, its process, and a token for it."""
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
        settings = SETTINGS.format(**ports, issuer=issuer.url, upstream=upstream, most=most)
        Path(folder, "assentry.yaml").write_text(settings)
        Path(folder, "law.cedar").write_text(LAW)
        Path(folder, "files.yaml").write_text(CATALOGUE)
        command = str(Path(sys.executable).with_name("assentry"))
        process = subprocess.Popen([command, "serve", "-c", f"{folder}/assentry.yaml"])
        try:
            await ready(ports["operators"])
            yield ports["agents"], process.pid, issuer.agent_token("bot")
        finally:
            process.terminate()
            process.wait()


async def main(streams: int, size: int) -> None:
    """Print the figures."""
    server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, size), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with gate(f"http://127.0.0.1:{port}", size + (1 << 20)) as (agents, pid, token):
        direct = Way(port, prefix={"openai": "", "files": ""}, token=token)
        gated = Way(agents, prefix={"openai": "/openai", "files": "/files"}, token=token)
        took: dict[Way, list[float]] = {direct: [], gated: []}
        for way in took:
            await way.connect()
            await way.first_token_s()
        for _ in range(streams):
            for way, times in took.items():
                times.append(await way.first_token_s())
        _print_added(took[direct], took[gated])
        for name, flow in (("down", gated.download), ("up", lambda: gated.upload(size))):
            with Memory([pid]) as memory:
                took_s = await flow()
            sys.stdout.write(f"{size / 1e6:.0f} MB {name}: {size / 1e6 / took_s:,.0f} MB/s, ")
            sys.stdout.write(f"the gate's memory grew by {memory.grown_mib:.1f} MiB\n")


def _print_added(direct: list[float], gated: list[float]) -> None:
    for name, share in (("p50", 50), ("p99", 99)):
        ways = [statistics.quantiles(times, n=100)[share - 1] * 1e6 for times in (direct, gated)]
        sys.stdout.write(f"first token {name}: direct {ways[0]:,.0f} µs, gate {ways[1]:,.0f} µs, ")
        sys.stdout.write(f"added {ways[1] - ways[0]:,.0f} µs\n")


if __name__ == "__main__":
    import uvloop

    words = [*sys.argv[1:], *["500", "100"][len(sys.argv) - 1 :]]
    uvloop.run(main(int(words[0]), int(words[1]) * 1_000_000 // len(PIECE) * len(PIECE)))
