from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from connectors.sinks.file import AppendedFile
from connectors.sinks.port import SinkUnavailable
from connectors.sinks.redis_stream import RedisStream
from connectors.sinks.stdout import StandardOutput
from proxy.audit.checkpoint import notes
from proxy.audit.keys import public_key
from proxy.audit.ledger import Durability
from proxy.audit.verify import verify
from tests.fakes.ledgers import Collector, a_record, lines, running, until
from tests.fakes.valkey import PrivateValkey

W = Durability.WRITTEN


def seqs(shipped: list[bytes]) -> list[int]:
    return [orjson.loads(line)["seq"] for line in shipped]


async def test_a_sink_gets_every_line_once_and_in_order(tmp_path: Path) -> None:
    sink = Collector()
    async with running(tmp_path, sinks={"s": sink}, segment_bytes=4096) as ledger:
        for number in range(200):
            await ledger.record(a_record(number), W)
    assert [line.rstrip(b"\n") for line in sink.lines] == lines(tmp_path)
    assert sink.closed


async def test_a_sink_that_failed_gets_everything_later_and_in_order(tmp_path: Path) -> None:
    sink = Collector()
    sink.broken = True
    async with running(tmp_path, sinks={"s": sink}) as ledger:
        await ledger.record(a_record(1), W)
        await until(lambda: sink.offered > 1)
        assert ledger.sink_lag["s"] == 2
        sink.broken = False
        await until(lambda: ledger.sink_lag["s"] == 0)
    assert seqs(sink.lines) == list(range(len(lines(tmp_path))))


async def test_one_sink_does_not_wait_for_another(tmp_path: Path) -> None:
    stuck, quick = Collector(), Collector()
    stuck.gate.clear()
    async with running(tmp_path, sinks={"stuck": stuck, "quick": quick}, ship_timeout_s=0.1) as ledger:
        await ledger.record(a_record(1), W)
        await until(lambda: ledger.sink_lag["quick"] == 0)
        assert ledger.sink_lag["stuck"] == 2


async def test_a_sink_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    first, second = Collector(), Collector()
    async with running(tmp_path, sinks={"s": first}) as ledger:
        await ledger.record(a_record(1), W)
    async with running(tmp_path, sinks={"s": second}) as ledger:
        await ledger.record(a_record(2), W)
    assert seqs(first.lines + second.lines) == list(range(len(lines(tmp_path))))


@pytest.mark.parametrize("cursor", [b"", b"{", b"[]", b'{"segment":0,"offset":9,"seq":99999}'])
async def test_a_cursor_that_is_lost_ships_everything_again(tmp_path: Path, cursor: bytes) -> None:
    async with running(tmp_path, sinks={"s": Collector()}) as ledger:
        await ledger.record(a_record(1), W)
    (tmp_path / "w1" / "cursor.s.json").write_bytes(cursor)
    again = Collector()
    async with running(tmp_path, sinks={"s": again}):
        pass
    assert seqs(again.lines)[0] == 0
    assert set(seqs(again.lines)) == set(range(len(lines(tmp_path))))


async def test_what_a_dead_worker_left_is_shipped_and_checkpointed_by_the_next(tmp_path: Path) -> None:
    broken = Collector()
    broken.broken = True
    async with running(tmp_path, worker="old", sinks={"s": broken}, ship_timeout_s=0.05) as ledger:
        await ledger.record(a_record(1), W)
    # As if it had been killed: no last checkpoint, and a torn line.
    kept = tmp_path / "old" / "checkpoints"
    kept.write_text(next(notes(kept.read_text())) + "\n")
    with max((tmp_path / "old").glob("*.jsonl")).open("ab") as file:
        file.write(b'{"v":1,')
    sink = Collector()
    async with running(tmp_path, worker="new", sinks={"s": sink}):
        await until(lambda: "s\n" in (tmp_path / "old" / "complete").read_text())
    shipped = [orjson.loads(line) for line in sink.lines]
    assert [one["seq"] for one in shipped if one["chain"] == "old"] == list(range(len(lines(tmp_path, "old"))))
    reports = verify(tmp_path, key=public_key(tmp_path / "checkpoint.pub"))
    assert [(one.chain, one.counted == one.records, one.findings) for one in reports] == [
        ("new", True, ()),
        ("old", True, ()),
    ]


async def test_checkpoints_reach_the_sinks(tmp_path: Path) -> None:
    sink = Collector()
    async with running(tmp_path, sinks={"s": sink}) as ledger:
        await ledger.record(a_record(1), W)
    notes = [orjson.loads(line)["note"] for line in sink.lines if b'"kind":"checkpoint"' in line]
    assert notes
    assert notes[0] in (tmp_path / "w1" / "checkpoints").read_text()


async def test_a_file_sink_appends_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"torn')
    sink = AppendedFile(path)
    await sink.ship([b"{}\n", b"[]\n"])
    path.rename(tmp_path / "rotated")
    await sink.ship([b"{}\n"])
    assert (tmp_path / "rotated").read_bytes() == b'{"torn\n{}\n[]\n'
    assert path.read_bytes() == b"{}\n"


async def test_a_file_sink_without_room_or_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SinkUnavailable):
        await AppendedFile(tmp_path / "missing" / "out").ship([b"{}\n"])
    with pytest.raises(SinkUnavailable):
        await AppendedFile(Path("/dev/full")).ship([b"{}\n"])


async def test_standard_output_gets_the_lines_even_long_ones() -> None:
    reading, writing = os.pipe()
    got = bytearray()
    shipped = [b"a" * 10_000 + b"\n", *[b"%d\n" % n for n in range(2000)], b"b" * 100_000 + b"\n"]

    def read() -> None:
        while part := os.read(reading, 65536):
            got.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    await StandardOutput(timeout_s=5, fd=writing).ship(shipped)
    os.close(writing)
    reader.join()
    os.close(reading)
    assert bytes(got) == b"".join(shipped)


async def test_standard_output_that_nobody_reads_is_unavailable_and_blocks_nothing() -> None:
    reading, writing = os.pipe()
    with pytest.raises(SinkUnavailable, match="nobody reads"):
        await StandardOutput(timeout_s=0.05, fd=writing).ship([b"x" * 1_000_000])
    os.close(reading)
    with pytest.raises(SinkUnavailable):
        await StandardOutput(timeout_s=0.05, fd=writing).ship([b"x\n"])
    os.close(writing)


async def test_a_redis_stream_gets_an_entry_a_record_and_survives_the_server(tmp_path: Path) -> None:
    with PrivateValkey() as server:
        sink = RedisStream(url=server.url, stream="ledger", max_length=10_000, timeout_s=2)
        async with running(tmp_path, sinks={"r": sink}) as ledger:
            for number in range(50):
                await ledger.record(a_record(number), W)
            await until(lambda: ledger.sink_lag["r"] == 0)
            await asyncio.to_thread(server.kill)
            await ledger.record(a_record(50), W)
            await asyncio.to_thread(server.start)
            await until(lambda: ledger.sink_lag["r"] == 0)
        client = Redis.from_url(server.url)
        entries = await client.xrange("ledger")
        await client.aclose()
    shipped = [orjson.loads(fields[b"record"])["seq"] for _, fields in entries]
    assert sorted(set(shipped)) == list(range(len(lines(tmp_path))))
    assert shipped == sorted(shipped)
