from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config import settings
from proxy.errors import OperatorFault, Outage
from proxy.holds.connection import StoreConnection, connect
from proxy.holds.embedded import EmbeddedValkey, running_url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[StoreConnection]:
    connection = connect(settings.Store(timeout_s=5), url=url)
    try:
        yield connection
    finally:
        await connection.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - a child that comes up rings no bell
            await asyncio.sleep(0)


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    made = EmbeddedValkey(tmp_path)
    yield made
    await made.stop()


async def test_the_embedded_store_is_fit_for_holds_and_private(embedded: EmbeddedValkey, tmp_path: Path):
    async with connected(await embedded.start()) as connection:
        await connection.check()
        assert await connection.command("CONFIG", "GET", "appendfsync") == [b"appendfsync", b"always"]
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "store" / "valkey.sock").stat().st_mode) == 0o700


async def test_what_was_written_is_there_after_a_stop_and_a_start(embedded: EmbeddedValkey, tmp_path: Path):
    async with connected(await embedded.start()) as connection:
        await connection.command("SET", "a", "1")
    await embedded.stop()
    again = EmbeddedValkey(tmp_path)
    async with connected(await again.start()) as connection:
        assert await connection.command("GET", "a") == b"1"
    await again.stop()


async def test_a_killed_server_is_started_again_with_everything_it_acknowledged(embedded: EmbeddedValkey):
    async with connected(await embedded.start()) as connection, asyncio.TaskGroup() as group:
        group.create_task(embedded.run())
        for n in range(3):
            await connection.command("SET", f"a{n}", "1")
            before = embedded.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await until(lambda before=before: embedded.pid != before)  # type: ignore[misc]
            await answering(connection)
            assert await connection.command("EXISTS", *(f"a{each}" for each in range(n + 1))) == n + 1
        await embedded.stop()


async def answering(connection: StoreConnection) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await connection.ping()
            except Outage:
                await asyncio.sleep(0)
            else:
                return


async def test_a_second_assentry_on_the_same_directory_is_told_so(embedded: EmbeddedValkey, tmp_path: Path):
    await embedded.start()
    with pytest.raises(OperatorFault, match="Another Assentry"):
        await EmbeddedValkey(tmp_path).start()
    async with connected(running_url(tmp_path) or "") as connection:
        await connection.ping()


async def test_no_running_store_is_found_where_none_runs(embedded: EmbeddedValkey, tmp_path: Path):
    assert running_url(tmp_path) is None
    await embedded.start()
    assert running_url(tmp_path) is not None
    await embedded.stop()
    assert running_url(tmp_path) is None


async def test_a_server_whose_parent_was_killed_is_taken_over(tmp_path: Path):
    left = EmbeddedValkey(tmp_path)
    async with connected(await left.start()) as connection:
        await connection.command("SET", "a", "1")
    left._let_go()  # as the kernel does when a process dies: its lock goes, its child stays
    again = EmbeddedValkey(tmp_path)
    async with connected(await again.start()) as connection:
        assert again.pid != left.pid
        assert await connection.command("GET", "a") == b"1"
    await again.stop()
    await left.stop()


async def test_a_path_too_long_for_a_socket_and_with_odd_characters_does_as_well(tmp_path: Path):
    data = tmp_path / ("long name with % and # " + "x" * 100)
    embedded = EmbeddedValkey(data)
    url = await embedded.start()
    assert running_url(data) == url
    async with connected(url) as connection:
        await connection.ping()
    await embedded.stop()
    assert not Path(url.removeprefix("unix://")).parent.exists()


async def test_odd_characters_in_a_short_path(tmp_path: Path):
    embedded = EmbeddedValkey(tmp_path / "a b%20?#")
    async with connected(await embedded.start()) as connection:
        await connection.ping()
    await embedded.stop()


async def test_a_file_in_the_way_is_the_operators_fault(tmp_path: Path):
    (tmp_path / "store").write_text("")
    with pytest.raises(OperatorFault, match="cannot be used"):
        await EmbeddedValkey(tmp_path).start()


async def test_a_server_that_ends_at_its_start_is_the_operators_fault(tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "appendonlydir").write_text("in the way")
    with pytest.raises(OperatorFault, match=r"valkey\.log"):
        await EmbeddedValkey(tmp_path).start()
    assert running_url(tmp_path) is None
