"""An upstream that records, and a pool that leads to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from config.settings import Upstream
from proxy.upstream.pool import UpstreamPool
from tests.fakes.upstream import FakeUpstream, upstream

OpenPool = Callable[..., UpstreamPool]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Both loops: their transports differ in when they write, pause and report a close."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def fake() -> AsyncIterator[FakeUpstream]:
    """An upstream that answers 200 until it is told otherwise."""
    async with upstream() as running:
        yield running


@pytest.fixture
async def open_pool(fake: FakeUpstream) -> AsyncIterator[OpenPool]:
    """Opens pools to the fake; settings and ports may be given."""
    opened: list[UpstreamPool] = []

    def build(*, ports: dict | None = None, **settings: object) -> UpstreamPool:
        chosen = {"name": "pay", "url": fake.url, "private_networks": True, **settings}
        opened.append(UpstreamPool(Upstream.model_validate(chosen), **(ports or {})))
        return opened[-1]

    yield build
    for pool in opened:
        await pool.close()


@pytest.fixture
async def pool(open_pool: OpenPool) -> UpstreamPool:
    """A pool with the default limits."""
    return open_pool()
