from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.audit.ledger import Durability, Ledger
from proxy.audit.spool import Disk
from proxy.errors import Outage
from tests.fakes.ledgers import EIO, ENOSPC, Collector, FailingDisk, a_record, findings, lines, running, until

ROOT = Path(__file__).resolve().parents[2]


class WatchedDisk:
    """A disk that writes really, notes by which thread, and takes as long for it as its clock is told."""

    def __init__(self) -> None:
        self.writers: list[str] = []
        self.syncers: list[str] = []
        self.now = 1000.0
        self.takes_s = 0.0

    @property
    def disk(self) -> Disk:
        """For the ledger."""
        return Disk(write=self._write, sync=self._sync, clock=lambda: self.now)

    def _write(self, fd: int, payload: memoryview) -> int:
        self.writers.append(_thread())
        self.now += self.takes_s
        return os.write(fd, payload)

    def _sync(self, fd: int) -> None:
        self.syncers.append(_thread())
        os.fsync(fd)


def _thread() -> str:
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


class Posted:
    """What was posted, and what each was told, in the order of telling."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.told: list[tuple[int, bool]] = []
        self.then: Callable[[int], None] = lambda _: None

    def post(self, *numbers: int) -> None:
        """Intents."""
        for number in numbers:
            self._ledger.post(self._json(number), at=time.time(), settled=self._settled(number))

    def conclude(self, *numbers: int) -> None:
        """Conclusions."""
        for number in numbers:
            self._ledger.post(self._json(number), at=time.time(), settled=None)

    async def all_told(self, many: int) -> None:
        """Returns once so many were told something."""
        await until(lambda: len(self.told) >= many)

    def _json(self, number: int) -> bytes:
        return self._ledger.encode(a_record(number))

    def _settled(self, number: int) -> Callable[[Outage | None], None]:
        def settled(fault: Outage | None) -> None:
            self.told.append((number, fault is None))
            self.then(number)

        return settled


def calls(directory: Path) -> list[int]:
    """The numbers of the records in the file, in order."""
    found = (orjson.loads(line).get("call") for line in lines(directory))
    return [int(call.removeprefix("call_")) for call in found if call]


async def warm(ledger: Ledger) -> None:
    """The disk has shown that it is there."""
    await ledger.record(a_record(0), Durability.WRITTEN)


async def test_what_is_posted_in_one_turn_is_one_write_in_the_order_of_posting(tmp_path: Path) -> None:
    watched = WatchedDisk()
    async with running(tmp_path, disk=watched.disk) as ledger:
        await warm(ledger)
        posted, before = Posted(ledger), len(watched.writers)
        posted.post(1, 2)
        posted.conclude(3)
        posted.post(*range(4, 33))
        assert len(watched.writers) == before
        await posted.all_told(31)
        assert len(watched.writers) == before + 1
        assert watched.writers[-1] == "loop"
        assert calls(tmp_path) == list(range(33))
        assert posted.told == [(number, True) for number in range(1, 33) if number != 3]
    assert findings(tmp_path) == []


async def test_whoever_is_told_can_read_its_record_in_the_file(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        posted, seen = Posted(ledger), list[bool]()
        posted.then = lambda number: seen.append(number in calls(tmp_path))
        for number in range(5):
            posted.post(number)
            await posted.all_told(number + 1)
    assert seen == [True] * 5


async def test_a_conclusion_is_written_when_its_turn_is_over_like_everything_else(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await warm(ledger)
        Posted(ledger).conclude(1)
        for _ in range(3):
            await asyncio.sleep(0)
        assert calls(tmp_path) == [0, 1]


async def test_records_and_posts_share_one_order(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        posted = Posted(ledger)
        posted.post(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger.record(a_record(2), Durability.SYNCED))
            group.create_task(ledger.record(a_record(3), Durability.WRITTEN))
            await asyncio.sleep(0)
            posted.post(4)
    assert calls(tmp_path) == [1, 2, 3, 4]


async def test_what_is_posted_by_those_who_are_told_is_a_write_of_the_next_turn(tmp_path: Path) -> None:
    watched = WatchedDisk()
    async with running(tmp_path, disk=watched.disk) as ledger:
        await warm(ledger)
        posted, before = Posted(ledger), len(watched.writers)
        posted.then = lambda number: posted.post(number + 10) if number < 10 else None
        posted.post(1, 2, 3)
        await posted.all_told(6)
        assert len(watched.writers) == before + 2
    assert calls(tmp_path) == [0, 1, 2, 3, 11, 12, 13]


async def test_a_turn_of_thousands_is_written_in_pieces_and_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await warm(ledger)
        posted = Posted(ledger)
        posted.post(*range(1, 2001))
        await posted.all_told(2000)
    assert calls(tmp_path) == list(range(2001))


@pytest.mark.parametrize("error", [ENOSPC, EIO])
async def test_a_write_that_fails_refuses_the_turn_s_intents_and_keeps_its_conclusions(
    tmp_path: Path, error: int
) -> None:
    failing = FailingDisk()
    async with running(tmp_path, disk=failing.disk) as ledger:
        await warm(ledger)
        posted = Posted(ledger)
        failing.write_error, failing.partial = error, 20
        posted.post(1)
        posted.conclude(2)
        posted.post(3)
        await posted.all_told(2)
        assert posted.told == [(1, False), (3, False)]
        assert calls(tmp_path) == [0]
        assert ledger.queued == 1
        failing.write_error = None
        posted.post(4)
        await posted.all_told(3)
        assert calls(tmp_path) == [0, 2, 4]
    assert findings(tmp_path) == []


async def test_intents_behind_more_conclusions_than_a_write_takes_are_refused_with_them(tmp_path: Path) -> None:
    failing = FailingDisk()
    async with running(tmp_path, disk=failing.disk) as ledger:
        await warm(ledger)
        posted = Posted(ledger)
        failing.write_error = ENOSPC
        posted.conclude(*range(1, 1201))
        posted.post(2000)
        await posted.all_told(1)
        assert posted.told == [(2000, False)]
        assert ledger.queued == 1200
        failing.write_error = None
    assert calls(tmp_path) == list(range(1201))


async def test_a_slow_write_sends_the_next_ones_to_the_thread_until_the_disk_has_been_given_time(
    tmp_path: Path,
) -> None:
    watched = WatchedDisk()
    async with running(tmp_path, disk=watched.disk) as ledger:

        async def written_by() -> str:
            await ledger.record(a_record(1), Durability.WRITTEN)
            return watched.writers[-1]

        assert [await written_by() for _ in range(3)] == ["thread", "loop", "loop"]
        watched.takes_s = 0.05
        assert [await written_by() for _ in range(4)] == ["loop", "thread", "thread", "thread"]
        watched.now += 0.5
        # Still slow: twice the time in the thread.
        assert [await written_by() for _ in range(2)] == ["loop", "thread"]
        watched.takes_s = 0.0
        watched.now += 0.5
        assert await written_by() == "thread"
        watched.now += 0.5
        assert [await written_by() for _ in range(2)] == ["loop", "loop"]
        watched.now += 5.0
        assert [await written_by() for _ in range(2)] == ["thread", "loop"]
        # Slow once, long after the last time: half a second again.
        watched.takes_s = 0.05
        assert await written_by() == "loop"
        watched.takes_s = 0.0
        assert await written_by() == "thread"
        watched.now += 0.5
        assert await written_by() == "loop"
    assert findings(tmp_path) == []


async def test_a_disk_that_was_left_alone_is_tried_by_the_thread_first(tmp_path: Path) -> None:
    watched = WatchedDisk()
    async with running(tmp_path, disk=watched.disk) as ledger:
        await warm(ledger)
        watched.now += 1.5
        await ledger.record(a_record(1), Durability.WRITTEN)
        await ledger.record(a_record(2), Durability.WRITTEN)
        assert watched.writers[-2:] == ["thread", "loop"]


async def test_new_files_are_begun_by_the_thread_and_nothing_is_ever_synced_by_the_loop(tmp_path: Path) -> None:
    watched = WatchedDisk()
    async with running(tmp_path, disk=watched.disk, segment_bytes=4096, checkpoint_s=0.005) as ledger:
        await warm(ledger)
        for number in range(1, 200):
            await ledger.record(a_record(number), Durability.SYNCED if number % 50 == 0 else Durability.WRITTEN)
    assert len(list((tmp_path / "w1").glob("*.jsonl"))) > 3
    assert "loop" in watched.writers
    assert set(watched.syncers) == {"thread"}
    assert calls(tmp_path) == list(range(200))
    assert findings(tmp_path) == []


async def test_the_loop_does_not_write_into_a_sync(tmp_path: Path) -> None:
    watched, syncing, release = WatchedDisk(), threading.Event(), threading.Event()

    def sync(fd: int) -> None:
        syncing.set()
        release.wait(20)
        os.fsync(fd)

    release.set()
    async with running(tmp_path, disk=Disk(write=watched.disk.write, sync=sync)) as ledger:
        await warm(ledger)
        release.clear()
        syncing.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger.record(a_record(1), Durability.SYNCED))
            await until(syncing.is_set)
            await ledger.record(a_record(2), Durability.WRITTEN)
            assert watched.writers[-1] == "thread"
            release.set()
        await ledger.record(a_record(3), Durability.WRITTEN)
        assert watched.writers[-1] == "loop"


async def test_the_loop_does_not_wait_for_a_thread_that_mends_the_chain(tmp_path: Path) -> None:
    failing, mending, release = FailingDisk(), threading.Event(), threading.Event()

    def sync(fd: int) -> None:
        if failing.sync_error is None and failing.syncs and not release.is_set():
            mending.set()
            release.wait(20)
        failing.disk.sync(fd)

    release.set()
    async with running(tmp_path, disk=Disk(write=failing.disk.write, sync=sync)) as ledger:
        await warm(ledger)
        failing.sync_error = EIO
        with pytest.raises(Outage):
            await ledger.record(a_record(1), Durability.SYNCED)
        failing.sync_error = None
        release.clear()
        posted = Posted(ledger)
        posted.post(2)
        await until(mending.is_set)
        posted.post(3)
        await asyncio.sleep(0)
        assert posted.told == []
        release.set()
        await posted.all_told(2)
    assert calls(tmp_path) == [0, 1, 2, 3]
    assert findings(tmp_path) == []


async def test_a_disk_that_does_not_answer_refuses_whoever_was_posted_once(tmp_path: Path) -> None:
    answering, release = threading.Event(), threading.Event()
    answering.set()

    def stuck(fd: int, payload: memoryview) -> int:
        if not answering.is_set():
            release.wait(20)
        return os.write(fd, payload)

    async with running(tmp_path, disk=Disk(write=stuck), write_timeout_s=0.05) as ledger:
        answering.clear()
        posted = Posted(ledger)
        posted.post(1)
        posted.conclude(2)
        await posted.all_told(1)
        with pytest.raises(Outage, match="does not answer"):
            posted.post(3)
        posted.conclude(4)
        assert not ledger.ready
        answering.set()
        release.set()
        await until(lambda: ledger.ready and ledger.queued == 0)
        posted.post(5)
        await posted.all_told(2)
        assert posted.told == [(1, False), (5, True)]
    assert calls(tmp_path) == [1, 2, 4, 5]
    assert findings(tmp_path) == []


async def test_one_who_fails_when_told_keeps_nobody_else_from_hearing(tmp_path: Path) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))

    def fails(number: int) -> None:
        if number == 1:
            raise ValueError

    async with running(tmp_path) as ledger:
        posted = Posted(ledger)
        posted.then = fails
        posted.post(1, 2)
        await posted.all_told(2)
        await ledger.record(a_record(3), Durability.WRITTEN)
    assert [type(what["exception"]) for what in reported] == [ValueError]
    assert calls(tmp_path) == [1, 2, 3]


async def test_a_ledger_that_closes_writes_what_was_posted_just_before(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await warm(ledger)
        posted = Posted(ledger)
        posted.post(1)
        posted.conclude(2)
        await ledger.close()
        assert posted.told == [(1, True)]
        with pytest.raises(Outage, match="stopping"):
            posted.post(3)
    assert calls(tmp_path) == [0, 1, 2]
    assert findings(tmp_path) == []


async def test_what_was_posted_to_a_ledger_that_never_ran_is_refused_when_it_closes(tmp_path: Path) -> None:
    async with running(tmp_path) as other:
        posted = Posted(other)
    ledger = Ledger(other._settings, directory=tmp_path, worker="w2")
    posted = Posted(ledger)
    posted.post(1)
    await ledger.close()
    assert posted.told == [(1, False)]
    assert ledger.queued == 0


async def test_posts_are_refused_while_a_sink_is_too_far_behind(tmp_path: Path) -> None:
    sink = Collector()
    sink.broken = True
    async with running(tmp_path, sinks={"s": sink}, sink_lag_records=3, ship_timeout_s=0.2) as ledger:
        posted = Posted(ledger)
        posted.post(0, 1, 2)
        await posted.all_told(3)
        with pytest.raises(Outage, match="sink"):
            posted.post(3)
        posted.conclude(4)
        sink.broken = False
        await until(lambda: ledger.sink_lag["s"] == 0)
        posted.post(5)
    assert calls(tmp_path) == [0, 1, 2, 4, 5]


KILLED_WHEN_TOLD = """
import asyncio, os, signal, sys, time
from pathlib import Path
from proxy.audit.ledger import Durability
from tests.fakes.ledgers import a_record, running

async def main(directory: Path) -> None:
    async with running(directory) as ledger:
        await ledger.record(a_record(0), Durability.WRITTEN)
        kill = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        for number in range(1, 21):
            ledger.post(ledger.encode(a_record(number)), at=time.time(), settled=kill)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


def killed_when_told(directory: Path) -> int:
    """How the process ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", KILLED_WHEN_TOLD, str(directory)], env=environment, timeout=60, check=False
    ).returncode


async def test_a_process_that_is_killed_when_it_is_told_has_kept_the_whole_turn(tmp_path: Path) -> None:
    assert killed_when_told(tmp_path) == -signal.SIGKILL
    assert calls(tmp_path) == list(range(21))
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(21), Durability.SYNCED)
    assert calls(tmp_path) == list(range(22))
    assert findings(tmp_path) == []
