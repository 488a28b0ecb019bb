from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path

import orjson
import pytest

from config.settings import Ledger as Settings
from policy.reasons import Reason
from proxy.audit.ledger import Durability, Ledger
from proxy.audit.record import Record
from proxy.audit.spool import Disk
from proxy.errors import OperatorFault, Outage
from tests.fakes.ledgers import EIO, ENOSPC, Collector, FailingDisk, a_record, findings, lines, running, until

WRITTEN, SYNCED, QUEUED = Durability.WRITTEN, Durability.SYNCED, Durability.QUEUED


def calls(directory: Path, worker: str = "w1") -> list[str]:
    return [call for line in lines(directory, worker) if (call := orjson.loads(line).get("call"))]


async def test_a_written_record_is_in_the_file_when_record_returns(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(7), WRITTEN)
        assert orjson.loads(lines(tmp_path)[1])["call"] == a_record(7).call_id


async def test_a_synced_record_returns_after_the_sync(tmp_path: Path) -> None:
    disk = FailingDisk()
    async with running(tmp_path, disk=disk.disk) as ledger:
        before = disk.syncs
        await ledger.record(a_record(), WRITTEN)
        assert disk.syncs == before
        await ledger.record(a_record(), SYNCED)
        assert disk.syncs == before + 1


async def test_a_written_record_does_not_wait_for_another_one_s_sync(tmp_path: Path) -> None:
    blocked, syncing = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        syncing.set()
        blocked.wait(20)
        os.fsync(fd)

    blocked.set()
    async with running(tmp_path, disk=Disk(sync=slow)) as ledger:
        blocked.clear()
        syncing.clear()
        async with asyncio.TaskGroup() as group:
            slow_one = group.create_task(ledger.record(a_record(1), SYNCED))
            await until(syncing.is_set)
            await ledger.record(a_record(2), WRITTEN)
            assert not slow_one.done()
            blocked.set()


async def test_many_synced_records_share_syncs(tmp_path: Path) -> None:
    disk = FailingDisk()
    async with running(tmp_path, disk=disk.disk) as ledger:
        before = disk.syncs
        await asyncio.gather(*(ledger.record(a_record(n), SYNCED) for n in range(300)))
        assert disk.syncs - before < 30
    assert findings(tmp_path) == []


async def test_records_that_are_synced_together_share_one_sync_and_keep_their_order(tmp_path: Path) -> None:
    disk = FailingDisk()
    async with running(tmp_path, disk=disk.disk) as ledger:
        before = disk.syncs
        await ledger.sync(*[ledger.encode(a_record(n)) for n in range(5)])
        assert disk.syncs == before + 1
        assert calls(tmp_path) == [a_record(n).call_id for n in range(5)]


async def test_records_that_are_synced_together_are_refused_together(tmp_path: Path) -> None:
    disk = FailingDisk()
    async with running(tmp_path, disk=disk.disk) as ledger:
        disk.sync_error = EIO
        with pytest.raises(Outage):
            await ledger.sync(*[ledger.encode(a_record(n)) for n in range(5)])


async def test_concurrent_records_get_places_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await asyncio.gather(*(ledger.record(a_record(n), WRITTEN) for n in range(1200)))
    assert calls(tmp_path) == [a_record(n).call_id for n in range(1200)]


async def test_a_queued_record_is_in_the_file_after_close(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(3), QUEUED)
    assert calls(tmp_path) == [a_record(3).call_id]


@pytest.mark.parametrize("durability", [WRITTEN, SYNCED])
@pytest.mark.parametrize("error", [ENOSPC, EIO])
async def test_a_disk_that_refuses_a_write_refuses_the_record_and_recovers(
    tmp_path: Path, durability: Durability, error: int
) -> None:
    failing = FailingDisk()
    async with running(tmp_path, disk=failing.disk) as ledger:
        await ledger.record(a_record(1), durability)
        failing.write_error, failing.partial = error, 20
        with pytest.raises(Outage) as refused:
            await ledger.record(a_record(2), durability)
        assert refused.value.reason is Reason.LEDGER_UNAVAILABLE
        assert calls(tmp_path) == [a_record(1).call_id]
        failing.write_error = None
        await ledger.record(a_record(3), durability)
    assert calls(tmp_path) == [a_record(1).call_id, a_record(3).call_id]
    assert findings(tmp_path) == []


async def test_conclusions_outlast_a_full_disk(tmp_path: Path) -> None:
    failing = FailingDisk()
    async with running(tmp_path, disk=failing.disk) as ledger:
        failing.write_error = ENOSPC
        await ledger.record(a_record(1), QUEUED)
        with pytest.raises(Outage):
            await ledger.record(a_record(2), WRITTEN)
        assert ledger.queued == 1
        failing.write_error = None
        await ledger.record(a_record(3), WRITTEN)
    assert calls(tmp_path) == [a_record(1).call_id, a_record(3).call_id]


async def test_a_conclusion_is_tried_again_when_nobody_else_writes(tmp_path: Path) -> None:
    failing = FailingDisk()
    async with running(tmp_path, disk=failing.disk) as ledger:
        failing.write_error = ENOSPC
        await ledger.record(a_record(1), QUEUED)
        with pytest.raises(Outage):
            await ledger.record(a_record(2), WRITTEN)
        failing.write_error = None
        await until(lambda: ledger.queued == 0)
        assert calls(tmp_path) == [a_record(1).call_id]


async def test_a_failed_sync_refuses_and_the_next_one_writes_the_pages_again(tmp_path: Path) -> None:
    failing = FailingDisk()
    async with running(tmp_path, disk=failing.disk) as ledger:
        await ledger.record(a_record(1), WRITTEN)
        failing.sync_error = EIO
        with pytest.raises(Outage):
            await ledger.record(a_record(2), SYNCED)
        with pytest.raises(Outage):
            await ledger.record(a_record(3), WRITTEN)
        failing.sync_error = None
        await ledger.record(a_record(4), SYNCED)
    assert calls(tmp_path) == [a_record(n).call_id for n in (1, 2, 4)]
    assert findings(tmp_path) == []


async def test_a_disk_that_does_not_answer_refuses_in_time(tmp_path: Path) -> None:
    answering, release = threading.Event(), threading.Event()
    answering.set()

    def stuck(fd: int, payload: memoryview) -> int:
        if not answering.is_set():
            release.wait(20)
        return os.write(fd, payload)

    async with running(tmp_path, disk=Disk(write=stuck), write_timeout_s=0.05) as ledger:
        answering.clear()
        with pytest.raises(Outage, match="does not answer"):
            await ledger.record(a_record(1), WRITTEN)
        with pytest.raises(Outage, match="does not answer"):
            await ledger.record(a_record(2), WRITTEN)
        assert not ledger.ready
        answering.set()
        release.set()
        await until(lambda: ledger.ready)
        await ledger.record(a_record(3), WRITTEN)
    assert a_record(2).call_id not in calls(tmp_path)
    assert findings(tmp_path) == []


async def test_a_full_queue_refuses_intents_before_conclusions(tmp_path: Path) -> None:
    ledger = Ledger(Settings(queue_records=2), directory=tmp_path, worker="w1")
    for number in range(2):
        await ledger.record(a_record(number), QUEUED)
    with pytest.raises(Outage, match="Too many"):
        await ledger.record(a_record(2), WRITTEN)
    for number in range(2, 4):
        await ledger.record(a_record(number), QUEUED)
    with pytest.raises(Outage, match="Too many"):
        await ledger.record(a_record(4), QUEUED)
    assert ledger.queued == 4
    await ledger.close()


async def test_a_sink_that_lags_too_far_refuses_intents_and_takes_conclusions(tmp_path: Path) -> None:
    sink = Collector()
    sink.broken = True
    async with running(tmp_path, sinks={"s": sink}, sink_lag_records=5, ship_timeout_s=0.2) as ledger:
        for number in range(5):
            await ledger.record(a_record(number), WRITTEN)
        assert ledger.sink_lag == {"s": 6}
        with pytest.raises(Outage, match="sink"):
            await ledger.record(a_record(9), WRITTEN)
        await ledger.record(a_record(10), QUEUED)
        sink.broken = False
        await until(lambda: ledger.sink_lag["s"] == 0)
        await ledger.record(a_record(11), WRITTEN)


async def test_a_closed_ledger_takes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.close()
        for durability in Durability:
            with pytest.raises(Outage, match="stopping"):
                await ledger.record(a_record(), durability)


async def test_a_ledger_that_is_cancelled_refuses_those_who_wait_and_ends_whole(tmp_path: Path) -> None:
    ledger = Ledger(Settings(), directory=tmp_path, worker="w1")
    async with asyncio.TaskGroup() as group:
        run = group.create_task(ledger.run())
        await until(lambda: ledger.ready)
        await ledger.record(a_record(1), QUEUED)
        run.cancel()
    await ledger.close()
    assert calls(tmp_path)[:1] == [a_record(1).call_id]
    assert findings(tmp_path) == []


async def test_a_worker_that_starts_again_continues_its_chain(tmp_path: Path) -> None:
    for number in range(3):
        async with running(tmp_path) as ledger:
            await ledger.record(a_record(number), WRITTEN)
    assert [call for call in calls(tmp_path) if call] == [a_record(n).call_id for n in range(3)]
    assert [orjson.loads(line)["seq"] for line in lines(tmp_path)] == list(range(len(lines(tmp_path))))
    assert findings(tmp_path) == []


async def test_two_ledgers_never_share_a_chain(tmp_path: Path) -> None:
    async with running(tmp_path):
        second = Ledger(Settings(), directory=tmp_path, worker="w1")
        with pytest.raises(OperatorFault, match="another process"):
            await second.run()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", 'a"b', "a\nb", "é", "x" * 65])
async def test_a_chain_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(OperatorFault):
        Ledger(Settings(), directory=tmp_path / "l", worker=name)


async def test_files_end_at_their_size_and_the_chain_goes_on_in_the_next(tmp_path: Path) -> None:
    async with running(tmp_path, segment_bytes=4096) as ledger:
        for number in range(100):
            await ledger.record(a_record(number), WRITTEN)
    files = sorted((tmp_path / "w1").glob("*.jsonl"))
    assert len(files) > 3
    assert all(file.stat().st_size < 8192 for file in files)
    assert findings(tmp_path) == []
    async with running(tmp_path, segment_bytes=4096) as ledger:
        await ledger.record(a_record(100), WRITTEN)
    assert findings(tmp_path) == []


async def test_a_checkpoint_is_written_while_running_and_becomes_a_record(tmp_path: Path) -> None:
    async with running(tmp_path, checkpoint_s=0.02) as ledger:
        await ledger.record(a_record(1), WRITTEN)
        await until(lambda: b'"kind":"checkpoint"' in b"".join(lines(tmp_path)))
        note = (tmp_path / "w1" / "checkpoints").read_text()
        assert note.startswith("assentry.ledger/w1\n2\n")


async def test_an_idle_chain_does_not_grow_by_its_own_checkpoints(tmp_path: Path) -> None:
    async with running(tmp_path, checkpoint_s=0.005) as ledger:
        await ledger.record(a_record(1), WRITTEN)
        await until(lambda: len(lines(tmp_path)) == 3)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert len(lines(tmp_path)) == 3


async def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    for name in ("checkpoint.key", "redaction.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_a_signing_key_that_is_not_the_public_one_s_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        pass
    (tmp_path / "checkpoint.key").unlink()
    with pytest.raises(OperatorFault, match="public half"):
        Ledger(Settings(), directory=tmp_path, worker="w1")


async def test_a_file_that_is_taken_away_or_written_by_others_stops_the_ledger(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(1), WRITTEN)
        with (tmp_path / "w1" / "0000000000000000.jsonl").open("ab") as file:
            file.write(b"{}\n")
        with pytest.raises(Outage, match="somebody else"):
            await ledger.record(a_record(2), WRITTEN)


async def test_followers_see_what_is_written_from_then_on(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(1), WRITTEN)
        with ledger.follow() as live:
            await ledger.record(a_record(2), WRITTEN)
            assert orjson.loads(await anext(live))["call"] == a_record(2).call_id
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(live)
            await ledger.record(a_record(3), WRITTEN)
            assert orjson.loads(await anext(live))["call"] == a_record(3).call_id


async def test_a_slow_follower_is_dropped_and_holds_nobody_up(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        with ledger.follow() as slow:
            await asyncio.gather(*(ledger.record(a_record(n), WRITTEN) for n in range(1500)))
            seen = [orjson.loads(line)["call"] async for line in slow]
    assert 0 < len(seen) <= 1000
    assert seen == [a_record(n).call_id for n in range(len(seen))]


async def test_followers_end_when_the_ledger_closes(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        with ledger.follow() as live:
            await ledger.close()
            assert [line async for line in live if b"checkpoint" not in line] == []


async def test_a_record_that_json_cannot_hold_is_written_all_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        odd = Record(kind=a_record().kind, facts={"surrogate": "a\ud800b", "huge": 10**30, "list": ("\udcff",)})
        await ledger.record(odd, WRITTEN)
    document = orjson.loads(lines(tmp_path)[1])
    assert document["surrogate"] == "a\\ud800b"
    assert document["huge"] == hex(10**30)
