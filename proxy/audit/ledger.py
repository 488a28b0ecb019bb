"""The one place where records are written, before what they speak of takes effect.

Many callers, one writer: what queues while the disk is busy is written together, and what must survive a power cut is
synced together, in a second thread, so that nobody else waits for it. Whatever cannot be written is refused to
whoever waits for it. What a record says is `record`'s, files are `spool`'s, sinks `shipper`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

from config import settings as config
from connectors.sinks.port import Sink
from policy.reasons import Reason
from proxy.audit.chain import CHAIN_NAME, Entry
from proxy.audit.keys import signing_key, veiling_key
from proxy.audit.live import Follower, LiveFeed
from proxy.audit.orphans import Finishing, adopt, mark_complete
from proxy.audit.record import Kind, Record
from proxy.audit.redact import Redactor
from proxy.audit.segments import Place
from proxy.audit.shipper import Shipper
from proxy.audit.spool import Disk, Spool, Written
from proxy.errors import OperatorFault, Outage

_BATCH_RECORDS = 500
_RETRY_S = 1.0
"""How often conclusions that could not be written are tried again while nobody else tries."""

_T = TypeVar("_T")

_log = logging.getLogger("assentry.audit")


class Durability(Enum):
    """What has happened to a record when `record` returns."""

    QUEUED = "queued"
    """It goes out with the next batch, and is kept and tried again while the disk refuses it. For conclusions."""
    WRITTEN = "written"
    """The operating system has it: it survives a killed process."""
    SYNCED = "synced"
    """The disk has it: it survives a power cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a record stands."""

    chain: str
    seq: int | None
    """None: queued, and not numbered yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    entry: Entry
    durability: Durability
    settled: asyncio.Future[Position] | None
    """None: nobody waits for it, so it is never given up."""


class Ledger:
    """The chain of one worker, with its sinks and its live feed."""

    def __init__(
        self,
        settings: config.Ledger,
        *,
        directory: Path,
        worker: str,
        sinks: Mapping[str, Sink] | None = None,
        now: Callable[[], float] = time.time,
        disk: Disk | None = None,
    ) -> None:
        """Makes or reads the keys in `directory`. Raises OSError and OperatorFault."""
        if not CHAIN_NAME.fullmatch(worker):
            raise OperatorFault(Reason.LEDGER_UNAVAILABLE, f"{worker!r} cannot be the name of a chain.")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings = settings
        self._directory = directory
        self._worker = worker
        self._sinks = dict(sinks or {})
        self._now = now
        self._disk = disk
        self._redactor = Redactor(veiling_key(directory))
        self._spool = self._spool_of(directory / worker)
        self._shipper: Shipper | None = None
        self._live = LiveFeed()
        self._appender = ThreadPoolExecutor(1, thread_name_prefix="ledger-append")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="ledger-sync")
        self._queue: deque[_Waiting] = deque()
        self._flying: tuple[asyncio.Future[Written], list[_Waiting]] | None = None
        self._unsynced: list[tuple[_Waiting, Position]] = []
        self._news = asyncio.Event()
        self._sync_news = asyncio.Event()
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._started = self._running = self._stalled = self._all_written = False

    @property
    def queued(self) -> int:
        """Records that wait to be written."""
        return len(self._queue) + (len(self._flying[1]) if self._flying else 0)

    @property
    def sink_lag(self) -> Mapping[str, int]:
        """Records that each sink does not have yet."""
        return self._shipper.lag if self._shipper else dict.fromkeys(self._sinks, 0)

    @property
    def ready(self) -> bool:
        """Whether records are being taken and written."""
        return self._running and not self._stalled and not self._closing.is_set()

    def follow(self) -> AbstractContextManager[Follower]:
        """Lines as they are written: `with ledger.follow() as lines: async for line in lines`."""
        return self._live.follow()

    async def record(self, record: Record, durability: Durability) -> Position:
        """Where the record stands, once it is as durable as asked.

        Raises Outage(LEDGER_UNAVAILABLE): then nothing may be done that needed it.
        """
        self._admit(durability)
        entry = Entry(json=self._redactor.encode(record.members), at=self._now())
        if durability is Durability.QUEUED:
            self._enqueue(_Waiting(entry=entry, durability=durability, settled=None))
            return Position(chain=self._worker, seq=None)
        settled: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._enqueue(_Waiting(entry=entry, durability=durability, settled=settled))
        return await settled

    def encode(self, record: Record) -> bytes:
        """The record as `post` takes it: one JSON object in one line, with everything veiled that must be."""
        return self._redactor.encode(record.members)

    def post(self, json: bytes, *, at: float, settled: Callable[[Outage | None], None] | None) -> None:
        """Takes what `encode` made, and calls `settled` once it is written (None) or could not be.

        Without `settled` it is a conclusion: queued, kept and tried again. Raises Outage(LEDGER_UNAVAILABLE) when it
        is not even taken: then `settled` is never called, and nothing may be done that needed it.
        """
        durability = Durability.QUEUED if settled is None else Durability.WRITTEN
        self._admit(durability)
        waits: asyncio.Future[Position] | None = None
        if settled is not None:
            told = settled
            waits = asyncio.get_running_loop().create_future()
            waits.add_done_callback(lambda done: told(_fault(done)))
        self._enqueue(_Waiting(entry=Entry(json=json, at=at), durability=durability, settled=waits))

    async def run(self) -> None:
        """Writes, syncs, checkpoints and ships until `close`.

        Raises OperatorFault or Outage when the chain cannot be opened; afterwards the disk's troubles are refusals.
        """
        self._started = True
        try:
            await self._in(self._appender, lambda: self._spool.open(now=self._now(), disk=self._disk))
            self._shipper = self._shipper_of(self._spool)
            self._running = True
            async with asyncio.TaskGroup() as group:
                shipping = group.create_task(self._shipper.run())
                ways = Finishing(spool_of=self._spool_of, shipper_of=self._shipper_of, now=self._now)
                every_s = self._settings.checkpoint_s
                adopting = group.create_task(adopt(self._directory, ways, own=self._worker, every_s=every_s))
                try:
                    await self._serve()
                finally:
                    await self._finish_writing()
                adopting.cancel()
                self._shipper.finish()
                await asyncio.wait({shipping}, timeout=self._settings.ship_timeout_s)
                shipping.cancel()
        finally:
            await self._end()

    async def close(self) -> None:
        """Everything queued is written and checkpointed, the chain is free. Records are refused from here on."""
        self._closing.set()
        self._news.set()
        if self._started:
            await self._ended.wait()
        self._give_up("It is stopping.")

    def _admit(self, durability: Durability) -> None:
        if self._closing.is_set():
            raise _outage("It is stopping.")
        # What was sent must be concluded: conclusions have room of their own behind the limit that stops intents.
        room = self._settings.queue_records * (2 if durability is Durability.QUEUED else 1)
        if self.queued >= room:
            raise _outage("Too many records wait to be written.")
        if durability is Durability.QUEUED:
            return
        if self._stalled:
            raise _outage("The disk does not answer.")
        if self._shipper and self._shipper.longest_lag > self._settings.sink_lag_records:
            raise _outage("A sink is too far behind.")

    def _enqueue(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self._news.set()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync_forever())
            group.create_task(self._checkpoint_forever())
            await self._write_forever()
            self._all_written = True
            self._sync_news.set()

    async def _write_forever(self) -> None:
        while not self._closing.is_set() or self._queue:
            self._news.clear()
            if not self._queue:
                if not self._closing.is_set():
                    await self._news.wait()
                continue
            if await self._write_batch():
                continue
            if self._closing.is_set():
                return
            if all(waiting.settled is None for waiting in self._queue):
                await _within(self._news.wait(), _RETRY_S)

    async def _write_batch(self) -> bool:
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH_RECORDS))]
        entries = [waiting.entry for waiting in batch]
        job = asyncio.get_running_loop().run_in_executor(self._appender, self._spool.append, entries)
        self._flying = (job, batch)
        await asyncio.wait({job}, timeout=self._settings.write_timeout_s)
        if not job.done():
            self._stall(batch)
            await asyncio.wait({job})
        return self._land()

    def _land(self) -> bool:
        if self._flying is None:
            return True
        job, batch = self._flying
        self._flying, self._stalled = None, False
        try:
            written = job.result()
        except Outage as exc:
            _log.error("%d records could not be written: %s", len(batch), exc.detail)
            _refuse((waiting for waiting in batch), exc.detail)
            self._queue.extendleft(waiting for waiting in reversed(batch) if waiting.settled is None)
            return False
        self._settle(batch, written)
        return True

    def _settle(self, batch: list[_Waiting], written: Written) -> None:
        for seq, waiting in enumerate(batch, start=written.first):
            position = Position(chain=self._worker, seq=seq)
            if waiting.durability is Durability.SYNCED:
                self._unsynced.append((waiting, position))
            else:
                _accept(waiting, position)
        if self._unsynced:
            self._sync_news.set()
        self._live.publish(written.lines)
        if self._shipper:
            self._shipper.wake()

    def _stall(self, batch: list[_Waiting]) -> None:
        self._stalled = True
        _log.error("the ledger's disk has not answered for %s s", self._settings.write_timeout_s)
        _refuse(batch, "The disk does not answer.")
        _refuse(self._queue, "The disk does not answer.")
        self._queue = deque(waiting for waiting in self._queue if waiting.settled is None)

    async def _sync_forever(self) -> None:
        while self._unsynced or not self._all_written:
            self._sync_news.clear()
            if not self._unsynced:
                await self._sync_news.wait()
                continue
            await self._sync_batch()

    async def _sync_batch(self) -> None:
        batch, self._unsynced = self._unsynced, []
        job = asyncio.get_running_loop().run_in_executor(self._syncer, self._spool.sync)
        try:
            await asyncio.wait({job}, timeout=self._settings.write_timeout_s)
            if not job.done():
                _refuse((waiting for waiting, _ in batch), "The disk does not answer.")
                await asyncio.wait({job})
            job.result()
        except Outage as exc:
            _log.error("%d records could not be synced: %s", len(batch), exc.detail)
            _refuse((waiting for waiting, _ in batch), exc.detail)
        except asyncio.CancelledError:
            _refuse((waiting for waiting, _ in batch), "It is stopping.")
            raise
        else:
            for waiting, position in batch:
                _accept(waiting, position)

    async def _checkpoint_forever(self) -> None:
        while not self._closing.is_set():
            await _within(self._closing.wait(), self._settings.checkpoint_s)
            if self._closing.is_set():
                return
            # One record more than the last checkpoint counted is that checkpoint's own record.
            if self._spool.size > self._spool.checkpointed + 1:
                await self._checkpoint(recorded=True)

    async def _checkpoint(self, *, recorded: bool) -> None:
        try:
            note = await self._in(self._syncer, self._spool.checkpoint)
        except Outage as exc:
            _log.error("no checkpoint was written: %s", exc.detail)
            return
        if recorded:
            entry = Entry(
                json=self._redactor.encode({"kind": Kind.CHECKPOINT.value, "call": None, "note": note}), at=self._now()
            )
            self._enqueue(_Waiting(entry=entry, durability=Durability.QUEUED, settled=None))

    async def _finish_writing(self) -> None:
        # Whatever ended the loops: what was queued is written. The chain ends with two checkpoints: one that the sinks
        # get as a record, and one that counts that record.
        self._closing.set()
        if self._flying:
            await asyncio.wait({self._flying[0]}, timeout=self._settings.write_timeout_s)
            if self._flying[0].done():
                self._land()
        await self._flush()
        if self._spool.size > self._spool.checkpointed + 1:
            await self._checkpoint(recorded=True)
            await self._flush()
        if self._spool.size > self._spool.checkpointed:
            await self._checkpoint(recorded=False)
        self._live.close()

    async def _flush(self) -> None:
        while self._queue and not self._flying:
            if not await self._write_batch():
                return
        if self._unsynced:
            await self._sync_batch()

    async def _end(self) -> None:
        if self._queue:
            _log.error("%d records were not written", sum(waiting.settled is None for waiting in self._queue))
        self._give_up("It is stopping.")
        if self._running and self._shipper:
            with contextlib.suppress(OSError):
                mark_complete(self._directory / self._worker, self._shipper)
        closed = asyncio.get_running_loop().run_in_executor(self._appender, self._spool.close)
        await asyncio.wait({closed}, timeout=self._settings.write_timeout_s)
        for sink in self._sinks.values():
            await sink.close()
        self._appender.shutdown(wait=False)
        self._syncer.shutdown(wait=False)
        self._running = False
        self._ended.set()

    def _give_up(self, why: str) -> None:
        _refuse(self._flying[1] if self._flying else (), why)
        _refuse(self._queue, why)
        _refuse((waiting for waiting, _ in self._unsynced), why)
        self._queue.clear()
        self._unsynced.clear()

    def _spool_of(self, directory: Path) -> Spool:
        return Spool(
            directory,
            key=signing_key(directory.parent),
            redactor=self._redactor,
            segment_bytes=self._settings.segment_bytes,
        )

    def _shipper_of(self, spool: Spool) -> Shipper:
        async def durable() -> Place:
            return await self._in(self._syncer, spool.sync)

        return Shipper(
            self._directory / spool.chain,
            self._sinks,
            size=lambda: spool.size,
            durable=durable,
            timeout_s=self._settings.ship_timeout_s,
        )

    async def _in(self, executor: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(executor, work)


def _accept(waiting: _Waiting, position: Position) -> None:
    if waiting.settled is not None and not waiting.settled.done():
        waiting.settled.set_result(position)


def _refuse(many: Iterable[_Waiting], why: str) -> None:
    for waiting in many:
        if waiting.settled is not None and not waiting.settled.done():
            waiting.settled.set_exception(_outage(why))


def _fault(done: asyncio.Future[Position]) -> Outage | None:
    fault = done.exception()
    return fault if isinstance(fault, Outage) else None


async def _within(wait: Awaitable[object], limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wait, limit_s)


def _outage(why: str) -> Outage:
    return Outage(Reason.LEDGER_UNAVAILABLE, f"The ledger cannot take records now, so nothing was sent. {why}")
