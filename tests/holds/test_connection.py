from __future__ import annotations

import asyncio
import time

import pytest

from config import settings
from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage
from proxy.holds.connection import StoreConnection, connect, load
from tests.fakes.valkey import PrivateValkey

NOW = load("now")


async def test_a_script_runs_after_the_server_forgot_it(connection: StoreConnection, server: PrivateValkey):
    assert isinstance(await connection.script(NOW, keys=("x",)), list)
    server.ask("SCRIPT FLUSH")
    assert isinstance(await connection.script(NOW, keys=("x",)), list)
    server.ask("SCRIPT FLUSH")
    answers = await connection.together(("SET", "t{x}", "1"), NOW.on(keys=("{x}",)), ("GET", "t{x}"))
    assert answers[0] == b"OK"
    assert isinstance(answers[1], list)
    assert answers[2] == b"1"


async def test_answers_are_raw_whatever_the_command(connection: StoreConnection):
    key = connection.key("a", "h")
    assert await connection.command("HSET", key, "f", 1.5) == 1
    assert await connection.command("HGETALL", key) == [b"f", b"1.5"]
    assert await connection.command("SISMEMBER", connection.key("a", "s"), "x") == 0
    assert await connection.command("GET", connection.key("a", "none")) is None


async def test_what_a_server_refuses_is_an_outage(connection: StoreConnection):
    await connection.command("SET", connection.key("a", "s"), "text")
    with pytest.raises(Outage) as caught:
        await connection.command("HGETALL", connection.key("a", "s"))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    with pytest.raises(Outage):
        await connection.together(("PING",), ("NO-SUCH-COMMAND", connection.key("a", "s")))


async def test_a_server_that_is_not_there_is_an_outage(tmp_path):
    for url in (f"unix://{tmp_path}/none", "redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1"):
        connection = connect(settings.Store(), url=url)
        with pytest.raises(Outage):
            await connection.ping()
        await connection.close()


async def test_a_server_that_does_not_answer_is_an_outage_within_the_limit():
    hung = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = connect(settings.Store(timeout_s=0.1), url=f"redis://127.0.0.1:{port}")
    began = time.monotonic()
    with pytest.raises(Outage):
        await connection.ping()
    assert time.monotonic() - began < 1
    await connection.close()
    hung.set()
    server.close()
    await server.wait_closed()


async def test_an_answer_never_reaches_somebody_elses_question(connection: StoreConnection):
    key = connection.key("a", "echo")
    for n in range(200):
        asked = [asyncio.ensure_future(connection.command("SETRANGE", key, 0, f"{n:06d}")) for _ in range(3)]  # noqa: TID251
        for _ in range(n % 7):
            await asyncio.sleep(0)
        asked[n % 3].cancel()
        both = asyncio.ensure_future(connection.together(("GET", key), ("STRLEN", key)))  # noqa: TID251
        if n % 2:
            await asyncio.sleep(0)
            both.cancel()
        await asyncio.gather(*asked, both, return_exceptions=True)
        assert await connection.command("SETRANGE", key, 0, f"{n:06d}") == 6
        assert await connection.together(("GET", key), ("STRLEN", key)) == [f"{n:06d}".encode(), 6]


async def test_after_a_timeout_the_late_answer_is_nobodys(store_settings: settings.Store, server: PrivateValkey):
    hurried = connect(
        store_settings.model_copy(update={"timeout_s": 0.05}), url=server.url.replace("redis:", "redis+cluster:")
    )
    key = hurried.key("a", "late")
    await hurried.command("SET", key, "first")
    server.ask("CLIENT PAUSE 200 ALL")
    for words in (("GET", key), ("STRLEN", key)):
        with pytest.raises(Outage):
            await hurried.command(*words)
    server.ask("CLIENT UNPAUSE")
    async with asyncio.timeout(5):
        while True:
            try:
                assert await hurried.command("APPEND", key, "") == 5
            except Outage:
                continue
            break
    assert await hurried.command("GET", key) == b"first"
    await hurried.close()


@pytest.mark.parametrize(
    "url", ["http://x", "redis+magic://x", "redis+sentinel://x:26379", "redis://x/?socket_timeout=y", "valkey"]
)
def test_a_url_that_names_no_store_is_the_operators_fault(url: str):
    with pytest.raises(OperatorFault):
        connect(settings.Store(), url=url)


async def test_a_durable_write_needs_its_replicas():
    with PrivateValkey(tcp=True, repl_diskless_sync_delay="0") as primary:
        alone = connect(settings.Store(replicas_to_ack=1, timeout_s=0.3), url=primary.url)
        with pytest.raises(Outage, match="replicas"):
            await alone.together(("SET", "a", "1"), durable=True)
        with PrivateValkey(tcp=True, replicaof=f"127.0.0.1 {primary.port}") as replica:
            async with asyncio.timeout(20):
                while "master_link_status:up" not in await info(replica):
                    pass
            patient = connect(settings.Store(replicas_to_ack=1, timeout_s=10), url=primary.url)
            assert await patient.together(("SET", "a", "2"), durable=True) == [b"OK"]
            answer = await patient.script(NOW, keys=("a",), durable=True)
            assert isinstance(answer, list)
            await patient.close()
        await alone.close()


async def info(server: PrivateValkey) -> str:
    asked = connect(settings.Store(timeout_s=5), url=server.url)
    answer = await asked.command("INFO", "replication")
    await asked.close()
    assert isinstance(answer, bytes)
    return answer.decode()


async def test_a_cluster_cannot_promise_acknowledgements():
    with pytest.raises(OperatorFault, match="min-replicas"):
        connect(settings.Store(replicas_to_ack=1), url="redis+cluster://127.0.0.1:1")


async def test_a_server_fit_for_holds_passes_the_check(connection: StoreConnection):
    await connection.check()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"appendonly": "no"}, "append-only"),
        ({"maxmemory": "50mb", "maxmemory_policy": "allkeys-lru"}, "evict"),
    ],
)
async def test_a_server_that_would_lose_holds_is_refused(options: dict[str, str], says: str):
    with PrivateValkey(**options) as server:
        connection = connect(settings.Store(timeout_s=5), url=server.url)
        with pytest.raises(OperatorFault, match=says):
            await connection.check()
        await connection.close()


async def test_a_server_that_forbids_config_is_taken_at_the_operators_word(caplog: pytest.LogCaptureFixture):
    with PrivateValkey(appendonly="no", config='rename-command CONFIG ""\n') as server:
        connection = connect(settings.Store(timeout_s=5), url=server.url)
        await connection.check()
        assert "could not check" in caplog.text
        await connection.close()


async def test_the_primary_is_found_through_sentinel():
    with PrivateValkey(tcp=True) as primary, PrivateSentinel(primary) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/holds?db=0"
        connection = connect(settings.Store(timeout_s=5), url=url)
        await connection.command("SET", "a", "1")
        assert primary.ask("STRLEN a") == ":1"
        await connection.close()


class PrivateSentinel(PrivateValkey):
    """A Sentinel that watches one primary under the name `holds`."""

    def __init__(self, primary: PrivateValkey) -> None:
        super().__init__(tcp=True, config=f"sentinel monitor holds 127.0.0.1 {primary.port} 1\n")
        for name in ("appendonly", "appendfsync", "save"):
            del self._options[name]
        self._flags = ("--sentinel",)
