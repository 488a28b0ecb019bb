"""Calls per second through the upstream pool, against a raw server that answers 1 KB. Both share one process.

Run as `python -m tests.bench.bench_upstream [calls] [at once]`; the floor is the same exchange by two bare protocols.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from config.settings import Upstream
from proxy.upstream.pool import Outgoing, UpstreamPool

BODY = b"x" * 1024
ANSWER = (
    b"HTTP/1.1 200 OK\r\nserver: raw\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n"
    b"x-request-id: 0123456789abcdef\r\ncache-control: no-store\r\ncontent-length: 1024\r\n\r\n" + BODY
)
HEADERS = (
    (b"host", b"127.0.0.1"), (b"accept", b"application/json"), (b"user-agent", b"bench/1"),
    (b"via", b"1.1 assentry"), (b"authorization", b"Bearer 0123456789abcdef"),
)  # fmt: skip


class Server(asyncio.Protocol):
    """Answers each write it gets as one request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER)


class Bare(asyncio.Protocol):
    """The floor: writes, waits for as many bytes as will come, reads nothing in them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.left = 0

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left == 0:
            self.done.set_result(None)

    async def call(self, wire: bytes) -> None:
        self.left, self.done = len(ANSWER), asyncio.get_running_loop().create_future()
        self.transport.write(wire)
        await self.done


async def rate(call: Callable[[int], Awaitable[None]], calls: int, at_once: int) -> tuple[float, float]:
    """Calls per second of wall time, and µs of CPU per call."""

    async def work(number: int) -> None:
        for _ in range(calls // at_once):
            await call(number)

    started, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(at_once):
            tasks.create_task(work(number))
    done = calls // at_once * at_once
    return done / (time.perf_counter() - started), (time.process_time() - cpu) / done * 1e6


async def main(calls: int, at_once: int) -> None:
    """Print the figures of three interleaved rounds."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = UpstreamPool(Upstream(name="bench", url=f"http://127.0.0.1:{port}", private_networks=True))
    outgoing = Outgoing(method="GET", target="/v1/things/42?expand=all", headers=HEADERS)
    bare = [(await loop.create_connection(Bare, "127.0.0.1", port))[1] for _ in range(at_once)]

    async def through_pool(_: int) -> None:
        response = await pool.send(outgoing)
        got = sum([len(chunk) async for chunk in response.chunks()])
        assert (response.status, got) == (200, 1024)

    async def through_pool_fresh(_: int) -> None:
        response = await pool.send(outgoing, fresh=True)
        assert sum([len(chunk) async for chunk in response.chunks()]) == 1024

    async def through_bare(number: int) -> None:
        await bare[number].call(outgoing.wire())

    kinds = (("bare protocols", through_bare, 1), ("pool", through_pool, 1), ("pool, fresh", through_pool_fresh, 10))
    for _ in range(3):
        for name, call, divisor in kinds:
            per_second, cpu_us = await rate(call, calls // divisor, at_once)
            print(f"{name:16} {per_second:9,.0f} calls/s {cpu_us:8.1f} µs CPU/call (both sides)")  # noqa: T201
    for protocol in bare:
        protocol.transport.close()
    await pool.close()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(*map(int, (sys.argv[1:] + ["20000", "32"][len(sys.argv) - 1 :]))))
