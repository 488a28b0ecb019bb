"""Bodies that are sent as they come: in full, no faster than they are taken, and never a part that looks whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from policy.reasons import Reason
from proxy.errors import BrokenPromise, CallerFault
from proxy.upstream.pool import BrokeOff, Outgoing, Upload, UpstreamPool
from tests.fakes.upstream import FakeUpstream
from tests.upstream.calls import whole
from tests.upstream.conftest import OpenPool

PIECE = bytes(range(256)) * 256


class Source:
    """Pieces, and how many were asked for."""

    def __init__(self, *pieces: bytes, fault: Exception | None = None) -> None:
        self.given = 0
        self.closed = False
        self._pieces = pieces
        self._fault = fault

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._pieces:
                await asyncio.sleep(0)
                self.given += 1
                yield piece
            if self._fault:
                raise self._fault
        finally:
            self.closed = True


def upload(source: Source, length: int) -> Outgoing:
    headers = ((b"host", b"pay.example"), (b"content-length", b"%d" % length))
    return Outgoing(method="PUT", target="/file", headers=headers, upload=Upload(pieces=source(), length=length))


async def test_every_byte_arrives_in_order_and_the_connection_is_kept(pool: UpstreamPool, fake: FakeUpstream):
    for _ in range(3):
        source = Source(*[PIECE] * 20)
        assert await whole(await pool.send(upload(source, 20 * len(PIECE)))) == b"{}"
        assert source.closed
    assert [received.raw.partition(b"\r\n\r\n")[2] for received in fake.received] == [PIECE * 20] * 3
    assert fake.connections == 1


async def test_what_ends_the_source_ends_the_call_and_its_connection(pool: UpstreamPool, fake: FakeUpstream):
    slow = CallerFault(Reason.TOO_SLOW, "The body came too slowly.")
    with pytest.raises(CallerFault) as caught:
        await pool.send(upload(Source(PIECE, fault=slow), 2 * len(PIECE)))
    assert caught.value is slow
    await fake.until(lambda seen: seen.open == 0)
    assert fake.received == []


@pytest.mark.parametrize("pieces", [0, 1])
async def test_a_source_that_is_too_short_never_looks_whole(pool: UpstreamPool, fake: FakeUpstream, pieces: int):
    with pytest.raises(BrokeOff):
        await pool.send(upload(Source(*[PIECE] * pieces), 2 * len(PIECE)))
    await fake.until(lambda seen: seen.open == 0)
    assert fake.received == []


async def test_a_source_that_is_too_long_sends_nothing_beyond_its_length(pool: UpstreamPool, fake: FakeUpstream):
    with pytest.raises(BrokeOff):
        await pool.send(upload(Source(*[PIECE] * 3), 2 * len(PIECE)))
    await fake.until(lambda seen: seen.open == 0)
    assert b"".join(received.raw.partition(b"\r\n\r\n")[2] for received in fake.received) in (b"", PIECE * 2)


async def test_a_length_that_is_not_the_uploads_is_not_sent(pool: UpstreamPool, fake: FakeUpstream):
    odd = upload(Source(PIECE), len(PIECE))
    headers = ((b"host", b"pay.example"), (b"content-length", b"1"))
    with pytest.raises(BrokenPromise):
        await pool.send(Outgoing(method="PUT", target="/file", headers=headers, upload=odd.upload))
    assert fake.received == []


async def _serve(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> asyncio.Server:
    return await asyncio.start_server(answer, "127.0.0.1", 0, limit=1024)


async def test_an_upstream_that_answers_early_gets_no_more_of_it(open_pool: OpenPool):
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno")
        while await reader.read(65536):
            pass
        writer.close()
        ended.set()

    server = await _serve(answer)
    try:
        pool = open_pool(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        source = Source(*[PIECE] * 10_000)
        response = await pool.send(upload(source, 10_000 * len(PIECE)))
        assert (response.status, await whole(response)) == (413, b"no")
        assert source.closed
        assert source.given < 10_000
        async with asyncio.timeout(5):
            await ended.wait()
        assert not pool._connections
    finally:
        server.close()


async def test_an_upstream_that_does_not_read_stops_the_source(open_pool: OpenPool):
    go, ended = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        await reader.readexactly(400 * len(PIECE))
        writer.write(b"HTTP/1.1 200 Yes\r\ncontent-length: 2\r\n\r\nok")
        await reader.read()
        writer.close()
        ended.set()

    server = await _serve(answer)
    try:
        pool = open_pool(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        source = Source(*[PIECE] * 400)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(pool.send(upload(source, 400 * len(PIECE))))
            given = -1
            while given != source.given or given < 2:
                given = source.given
                for _ in range(200):
                    await asyncio.sleep(0)
            # What the sockets of both sides hold, and little more: 25 MiB were there to be had.
            assert given < 300
            go.set()
        assert await whole(sending.result()) == b"ok"
        assert source.given == 400
        await pool.close()
        async with asyncio.timeout(5):
            await ended.wait()
    finally:
        server.close()
