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
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

from config import settings as config
from connectors.sinks.port import Sink
from policy.reasons import Reason
from proxy.audit.chain import CHAIN_NAME, apart
from proxy.audit.keys import signing_key, veiling_key
from proxy.audit.live import Follower, LiveFeed
from proxy.audit.orphans import Finishing, adopt, mark_complete
from proxy.audit.record import Kind, Record
from proxy.audit.redact import Redactor
from proxy.audit.scribe import Scribe, Settled, outage
from proxy.audit.segments import Place
from proxy.audit.shipper import Shipper
from proxy.audit.spool import Disk, Spool
from proxy.errors import OperatorFault, Outage

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
        self._disk = disk or Disk()
        self._redactor = Redactor(veiling_key(directory))
        self._spool = self._spool_of(directory / worker)
        self._shipper: Shipper | None = None
        self._live = LiveFeed()
        self._appender = ThreadPoolExecutor(1, thread_name_prefix="ledger-append")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="ledger-sync")
        self._scribe = Scribe(
            self._spool,
            appender=self._appender,
            timeout_s=settings.write_timeout_s,
            landed=self._landed,
            clock=self._disk.clock,
        )
        self._unsynced: list[asyncio.Future[None]] = []
        self._sync_news = asyncio.Event()
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._room = settings.queue_records
        self._started = self._running = self._stopping = self._all_written = False

    @property
    def queued(self) -> int:
        """Records that wait to be written."""
        return self._scribe.queued

    @property
    def sink_lag(self) -> Mapping[str, int]:
        """Records that each sink does not have yet."""
        return self._shipper.lag if self._shipper else dict.fromkeys(self._sinks, 0)

    @property
    def ready(self) -> bool:
        """Whether records are being taken and written."""
        return self._running and not self._scribe.stalled and not self._closing.is_set()

    def follow(self) -> AbstractContextManager[Follower]:
        """Lines as they are written: `with ledger.follow() as lines: async for line in lines`."""
        return self._live.follow()

    def encode(self, record: Record) -> bytes:
        """The record as `post` takes it: one JSON object in one line, with everything veiled that must be."""
        return self._redactor.encode(record.members)

    def post(self, json: bytes, *, at: float, settled: Settled | None) -> None:
        """Takes what `encode` made: it is written when this turn of the loop is over, with all others of the turn.

        `settled` is told then: None, it survives a killed process; an Outage, it is not written. Without `settled` it
        is a conclusion: kept and tried again. Raises Outage(LEDGER_UNAVAILABLE) when it is not taken: then nothing may
        be done that needed it.
        """
        if self._stopping:
            raise outage("It is stopping.")
        room = self._room
        if settled is None:
            # What was sent must be concluded: conclusions have room of their own behind the limit that stops intents.
            room *= 2
        elif self._scribe.stalled:
            raise outage("The disk does not answer.")
        elif self._sinks and self._sinks_lag_too_far():
            raise outage("A sink is too far behind.")
        if self._scribe.queued >= room:
            raise outage("Too many records wait to be written.")
        self._scribe.take((json, at), settled)

    async def record(self, record: Record, durability: Durability) -> None:
        """Returns once the record is as durable as asked.

        Raises Outage(LEDGER_UNAVAILABLE): then nothing may be done that needed it.
        """
        if durability is Durability.QUEUED:
            self.post(self.encode(record), at=self._now(), settled=None)
            return
        await self._posted(self.encode(record), durability)

    async def sync(self, *lines: bytes) -> None:
        """Returns once all that `encode` made is on the disk, in this order: one write and one sync, if it fits in one.

        Raises Outage(LEDGER_UNAVAILABLE) when one of them is not: then nothing may be done that needed any.
        """
        await asyncio.gather(*[self._posted(json, Durability.SYNCED) for json in lines])

    def _posted(self, json: bytes, durability: Durability) -> asyncio.Future[None]:
        stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        settle = self._sync_later if durability is Durability.SYNCED else _settle
        self.post(json, at=self._now(), settled=partial(settle, stands))
        return stands

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
        self._stop()
        if self._started:
            await self._ended.wait()
        self._give_up("It is stopping.")

    def _sinks_lag_too_far(self) -> bool:
        return self._shipper is not None and self._shipper.longest_lag > self._settings.sink_lag_records

    def _stop(self) -> None:
        self._stopping = True
        self._closing.set()
        self._scribe.finish()

    def _landed(self, payload: bytes) -> None:
        if self._live.followed:
            self._live.publish(apart(payload))
        if self._shipper:
            self._shipper.wake()

    def _sync_later(self, stands: asyncio.Future[None], fault: Outage | None) -> None:
        if fault is not None:
            _settle(stands, fault)
            return
        self._unsynced.append(stands)
        self._sync_news.set()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync_forever())
            group.create_task(self._checkpoint_forever())
            await self._scribe.run()
            self._all_written = True
            self._sync_news.set()

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
                _settle_all(batch, outage("The disk does not answer."))
                await asyncio.wait({job})
            job.result()
        except Outage as exc:
            _log.error("%d records could not be synced: %s", len(batch), exc.detail)
            _settle_all(batch, outage(exc.detail))
        except asyncio.CancelledError:
            _settle_all(batch, outage("It is stopping."))
            raise
        else:
            _settle_all(batch, None)

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
            json = self._redactor.encode({"kind": Kind.CHECKPOINT.value, "call": None, "note": note})
            self._scribe.take((json, self._now()), None)

    async def _finish_writing(self) -> None:
        # Whatever ended the loops: what was queued is written. The chain ends with two checkpoints: one that the sinks
        # get as a record, and one that counts that record.
        self._stop()
        await self._flush()
        if self._spool.size > self._spool.checkpointed + 1:
            await self._checkpoint(recorded=True)
            await self._flush()
        if self._spool.size > self._spool.checkpointed:
            await self._checkpoint(recorded=False)
        self._live.close()

    async def _flush(self) -> None:
        await self._scribe.drain()
        if self._unsynced:
            await self._sync_batch()

    async def _end(self) -> None:
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
        if lost := self._scribe.give_up(why):
            _log.error("%d records were not written", lost)
        _settle_all(self._unsynced, outage(why))
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


def _settle(stands: asyncio.Future[None], fault: Outage | None) -> None:
    if stands.done():
        return  # Whoever waited has left.
    if fault is None:
        stands.set_result(None)
    else:
        # One of its own for each: raising an exception writes into it.
        stands.set_exception(Outage(fault.reason, fault.detail))


def _settle_all(many: Iterable[asyncio.Future[None]], fault: Outage | None) -> None:
    for stands in many:
        _settle(stands, fault)


async def _within(wait: Awaitable[object], limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wait, limit_s)
