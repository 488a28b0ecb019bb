"""The hand that writes the chain: what is posted in one turn of the loop stands in one write when that turn is over.

Decides when to write, where, and who is told what. An append is a copy into memory and takes less than handing it to a
thread does, so it is done on the loop's own thread for as long as the disk is quick; whatever may wait for the disk is
done in a thread, and given a limit. Who is admitted is `ledger`'s to say, lines are `chain`'s and files `spool`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from math import inf
from typing import TypeAlias

from policy.reasons import Reason
from proxy.audit.chain import Stamped
from proxy.audit.spool import Spool
from proxy.errors import Outage

_BATCH_RECORDS = 500
_RETRY_S = 1.0
"""How often conclusions that could not be written are tried again while nobody else tries."""
_QUICK_S = 0.010
"""A write that takes longer has waited for the disk. Far above the microseconds of a copy, because a thread that comes
in between may keep the interpreter for its switch interval, 5 ms."""
_FIRST_DISTRUST_S = 0.5
_LONGEST_DISTRUST_S = 30.0
"""Time in the thread after a slow write. Doubled when the next one comes soon: one hiccup costs little, and a disk that
is always slow holds the loop up twice a minute."""
_SOON = 4
"""Soon: before the loop has written for so many times the time that the thread had."""
_TRUST_S = 1.0
"""A disk that has not been written to for longer, or not at all, may have gone away: a thread tries first."""

Settled: TypeAlias = Callable[[Outage | None], None]
"""Is told once: None, the record is written; an Outage, it is not. Does not raise."""

_log = logging.getLogger("assentry.audit")


class _Batch:
    """Entries, and at the same index whom to tell; None for a conclusion: nobody waits, so it is never given up."""

    __slots__ = ("entries", "settled")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """By new lists: the old ones may be in other hands."""
        self.entries: list[Stamped] = []
        self.settled: list[Settled | None] = []

    def first(self, limit: int) -> _Batch:
        """Takes so many off the front."""
        taken = _Batch()
        taken.entries, self.entries = self.entries[:limit], self.entries[limit:]
        taken.settled, self.settled = self.settled[:limit], self.settled[limit:]
        return taken

    def drop_waiting(self) -> list[Settled]:
        """Conclusions remain. Returns who waited for the others."""
        waiting = [settled for settled in self.settled if settled is not None]
        self.entries = [entry for entry, settled in zip(self.entries, self.settled, strict=True) if settled is None]
        self.settled = [None] * len(self.entries)
        return waiting


class Scribe:
    """Writes what is posted, in the order in which it was posted."""

    def __init__(
        self,
        spool: Spool,
        *,
        appender: Executor,
        timeout_s: float,
        landed: Callable[[bytes], None],
        clock: Callable[[], float],
    ) -> None:
        """`landed` gets the lines of every batch, before those who wait for them are told. `clock` counts seconds."""
        self._spool = spool
        self._appender = appender
        self._timeout_s = timeout_s
        self._landed = landed
        self._clock = clock
        self._queue = _Batch()
        self._flying = _Batch()
        self._job: asyncio.Future[bytes] | None = None
        self._sleeper: asyncio.Future[None] | None = None
        self._finishing = False
        self._trusted_from = self._trusted_until = -inf
        self._distrust_s = _FIRST_DISTRUST_S
        self.stalled = False
        """Whether a write has been waiting for the disk for longer than it may."""

    @property
    def queued(self) -> int:
        """Records that wait to be written."""
        return len(self._queue.entries) + len(self._flying.entries)

    def take(self, entry: Stamped, settled: Settled | None) -> None:
        """It is written when this turn of the loop is over; without `settled`, tried until it is."""
        queue = self._queue
        queue.entries.append(entry)
        queue.settled.append(settled)
        if self._sleeper is not None:
            self._wake()

    def finish(self) -> None:
        """Nothing more will come: `run` ends once all is written."""
        self._finishing = True
        self._wake()

    async def run(self) -> None:
        """Writes until `finish`, and then until nothing is left or the disk refuses it."""
        while self._queue.entries or not self._finishing:
            if not self._queue.entries:
                await self._news()
            elif await self._write():
                if self._queue.entries:
                    # What those who were told have posted belongs to the next turn.
                    await asyncio.sleep(0)
            elif self._finishing:
                return
            elif not any(self._queue.settled):
                await asyncio.wait({self._news()}, timeout=_RETRY_S)

    async def drain(self) -> None:
        """After `run`, however it ended: what flies has landed and what is queued is written, if the disk lets it."""
        if self._job is not None:
            await asyncio.wait({self._job}, timeout=self._timeout_s)
            if self._job.done():
                self._land(self._job)
        while self._queue.entries and not self._flying.entries:
            if not await self._write():
                return

    def give_up(self, why: str) -> int:
        """Everyone who still waits is refused. How many conclusions were never written."""
        self._refuse_all(why)
        lost, self._queue = len(self._queue.entries), _Batch()
        return lost

    def _news(self) -> asyncio.Future[None]:
        self._sleeper = asyncio.get_running_loop().create_future()
        return self._sleeper

    def _wake(self) -> None:
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None and not sleeper.done():
            sleeper.set_result(None)

    async def _write(self) -> bool:
        """Whether the front of the queue was written."""
        if len(self._queue.entries) <= _BATCH_RECORDS:
            self._flying, self._queue = self._queue, self._flying
        else:
            self._flying = self._queue.first(_BATCH_RECORDS)
        here = self._write_here() if self._trusted_from <= self._clock() < self._trusted_until else None
        return await self._write_in_thread() if here is None else here

    def _write_here(self) -> bool | None:
        """None: nothing was tried, because it might have to wait."""
        began = self._clock()
        try:
            payload = self._spool.append_at_once(self._flying.entries)
        except Outage as fault:
            self._fail(fault)
            return False
        finally:
            self._judge(began)
        if payload is None:
            return None
        self._succeed(payload)
        return True

    async def _write_in_thread(self) -> bool:
        job = asyncio.get_running_loop().run_in_executor(self._appender, self._spool.append, self._flying.entries)
        self._job = job
        await asyncio.wait({job}, timeout=self._timeout_s)
        if not job.done():
            self._stall()
            await asyncio.wait({job})
        return self._land(job)

    def _land(self, job: asyncio.Future[bytes]) -> bool:
        self._job, self.stalled = None, False
        try:
            payload = job.result()
        except Outage as fault:
            self._fail(fault)
            return False
        self._trusted_until = self._clock() + _TRUST_S
        self._succeed(payload)
        return True

    def _succeed(self, payload: bytes) -> None:
        settled = self._flying.settled
        self._flying.clear()
        self._landed(payload)
        _tell(settled, None)

    def _fail(self, fault: Outage) -> None:
        kept, self._flying = self._flying, _Batch()
        _log.error("%d records could not be written: %s", len(kept.entries), fault.detail)
        refused = kept.drop_waiting()
        # What stands behind nothing but conclusions that cannot be written cannot be written either.
        refused = refused or self._queue.drop_waiting()
        kept.entries += self._queue.entries
        kept.settled += self._queue.settled
        self._queue = kept
        _tell(refused, outage(fault.detail))

    def _stall(self) -> None:
        self.stalled = True
        _log.error("the ledger's disk has not answered for %s s", self._timeout_s)
        self._refuse_all("The disk does not answer.")

    def _refuse_all(self, why: str) -> None:
        _tell(self._flying.drop_waiting() + self._queue.drop_waiting(), outage(why))

    def _judge(self, began: float) -> None:
        now = self._clock()
        if now - began <= _QUICK_S:
            self._trusted_until = now + _TRUST_S
            return
        soon = now < self._trusted_from + _SOON * self._distrust_s
        self._distrust_s = min(self._distrust_s * 2, _LONGEST_DISTRUST_S) if soon else _FIRST_DISTRUST_S
        self._trusted_from = now + self._distrust_s
        _log.warning("the ledger's disk took %.0f ms for a write: a thread writes for a while", (now - began) * 1000)


def _tell(many: Iterable[Settled | None], fault: Outage | None) -> None:
    for settled in many:
        try:
            if settled is not None:
                settled(fault)
        except Exception as exc:  # noqa: BLE001 - as the loop does with its own callbacks: the others hear all the same
            asyncio.get_running_loop().call_exception_handler({"message": "a record's caller failed", "exception": exc})


def outage(why: str) -> Outage:
    """What is raised and told where a record is not taken, or not written."""
    return Outage(Reason.LEDGER_UNAVAILABLE, f"The ledger cannot take records now, so nothing was sent. {why}")
