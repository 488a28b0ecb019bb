"""Interim responses on the wire: to whom, over what, until when."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from config import settings
from tests.fakes.agents_door import READ_S, RecordingGate, door_settings, opened, request, statuses_of

REQUESTS = "User-Agent: python-requests/2.34.2"
NODE = "User-Agent: node"
OFTEN = settings.Holds(interim_every_s=0.1)


@dataclass
class Waiting:
    """A client whose call is held."""

    gate: RecordingGate
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def interim(self) -> bytes:
        """The next interim response."""
        async with asyncio.timeout(READ_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Everything from now on, once the call is decided."""
        assert self.gate.hold is not None
        self.gate.hold.set()
        async with asyncio.timeout(READ_S):
            return await self.reader.read()

    async def hears_nothing(self) -> bool:
        """Whether this client is not written to while one that takes them, held at the same time, is three times."""
        async with held(request("/api/x", REQUESTS)) as other:
            for _ in range(3):
                await other.interim()
        try:
            async with asyncio.timeout(0.01):
                return not await self.reader.read(1)
        except TimeoutError:
            return True


def often(**upstream: object) -> settings.Settings:
    plain = door_settings()
    laid = tuple(up.model_copy(update=upstream) for up in plain.upstreams)
    return plain.model_copy(update={"holds": OFTEN, "upstreams": laid})


@asynccontextmanager
async def held(raw: bytes, *, using: settings.Settings | None = None) -> AsyncIterator[Waiting]:
    gate = RecordingGate(holds=True, hold=asyncio.Event())
    async with opened(gate, using=using or often()) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        try:
            writer.write(raw)
            await gate.settling.wait()
            yield Waiting(gate, reader, writer)
        finally:
            gate.hold.set()  # type: ignore[union-attr]
            writer.close()


@pytest.mark.parametrize(
    ("agent", "head"),
    [
        (REQUESTS, b"HTTP/1.1 100 Continue\r\n\r\n"),
        ("User-Agent: Stripe/v1 PythonBindings/16.1.0", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (NODE, b"HTTP/1.1 102 Processing\r\n\r\n"),
    ],
)
async def test_a_client_of_the_table_hears_of_us_again_and_again_and_then_the_answer(agent: str, head: bytes) -> None:
    async with held(request("/api/x", agent, "Connection: close", method="POST", body=b"x")) as client:
        assert [await client.interim() for _ in range(3)] == [head] * 3

        rest = await client.rest()

        final = rest.removeprefix(head)
        assert final.startswith(b"HTTP/1.1 200 OK\r\n")
        assert final.endswith(b"\r\n\r\nok")
        assert len(statuses_of(final)) == 1


@pytest.mark.parametrize(
    "agent",
    [
        "User-Agent: Go-http-client/1.1",
        "User-Agent: kubectl/v1.32.0 (linux/amd64) kubernetes/70d3cc9",
        "User-Agent: OpenAPI-Generator/1.0.0/go",
        "User-Agent: OpenAI/JS 6.1.0",
        "User-Agent: Stripe/v1 GoBindings/80",
        "User-Agent: curl/8.5.0",
        "User-Agent: python-httpx/0.28",
        "User-Agent: my-agent/1 python-requests/2.34",
        "User-Agent: nodemon",
        "X-Nothing: none",
    ],
)
async def test_a_client_that_is_not_known_to_take_them_gets_none(agent: str) -> None:
    async with held(request("/api/x", agent, "Connection: close")) as client:
        assert await client.hears_nothing()
        assert statuses_of(await client.rest()) == [200]


async def test_expecting_to_continue_is_answered_once_and_is_no_other_interim_response() -> None:
    raw = request("/api/x", "Expect: 100-continue", "Content-Length: 1", "Connection: close", method="POST")
    gate = RecordingGate(holds=True, hold=asyncio.Event())
    async with opened(gate, using=often()) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(raw)
        async with asyncio.timeout(READ_S):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x")
        client = Waiting(gate, reader, writer)
        await gate.settling.wait()
        assert await client.hears_nothing()
        assert statuses_of(await client.rest()) == [200]
        writer.close()


async def test_no_interim_response_over_http_1_0() -> None:
    raw = request("/api/x", REQUESTS).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with held(raw) as client:
        assert await client.hears_nothing()
        assert statuses_of(await client.rest()) == [200]


async def test_no_interim_response_at_an_upstream_where_they_are_switched_off() -> None:
    async with held(request("/api/x", REQUESTS, "Connection: close"), using=often(interim=False)) as client:
        assert client.gate.arrivals[0].patience.interim is None
        assert await client.hears_nothing()
        assert statuses_of(await client.rest()) == [200]


async def test_a_client_that_prefers_not_to_wait_gets_none_should_it_wait_all_the_same() -> None:
    async with held(request("/api/x", REQUESTS, "Prefer: respond-async", "Connection: close")) as client:
        assert await client.hears_nothing()
        assert statuses_of(await client.rest()) == [200]


async def test_a_call_that_is_not_held_gets_no_interim_response() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    async with opened(gate, using=often()) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(request("/api/x", REQUESTS, "Connection: close"))
        await gate.arrived.wait()
        client = Waiting(gate, reader, writer)
        assert await client.hears_nothing()
        assert statuses_of(await client.rest()) == [200]
        writer.close()


async def test_a_client_that_bears_little_silence_hears_of_us_sooner() -> None:
    lines = ("User-Agent: OpenAI/Python 3.52", "x-stainless-read-timeout: 0.6", "Connection: close")
    rarely = door_settings().model_copy(update={"holds": settings.Holds(interim_every_s=3600)})
    async with held(request("/openai/v1/responses", *lines), using=rarely) as client:
        assert await client.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_the_next_call_over_the_same_connection_is_answered_alike() -> None:
    one = request("/api/x", REQUESTS)
    async with held(one) as client:
        await client.interim()
        client.writer.write(request("/api/y", REQUESTS, "Connection: close"))

        rest = await client.rest()

        assert [status for status in statuses_of(rest) if status != 100] == [200, 200]
        assert re.search(rb"ok(HTTP/1.1 100 Continue\r\n\r\n)*HTTP/1.1 200 OK", rest)


async def test_a_client_that_takes_only_so_many_gets_no_more() -> None:
    one = request("/api/x", "User-Agent: PyGithub/Python", "Connection: close")
    fast = door_settings().model_copy(update={"holds": settings.Holds(interim_every_s=0.1)})
    async with held(one, using=fast) as client, held(request("/api/x", NODE), using=fast) as other:
        most = client.gate.arrivals[0].patience.interims
        assert most == 95
        for _ in range(most + 5):
            await other.interim()
        rest = await client.rest()
        heard = rest.count(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (heard, [status for status in statuses_of(rest) if status != 100]) == (most, [200])
