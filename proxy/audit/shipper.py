"""The way of a chain's records into the sinks: at least once, in order, from a cursor that survives.

Only what would survive a power cut is shipped, so no sink ever holds a record that the chain can lose. A sink that
does not take its records is asked again and again; how far behind it may fall is `ledger`'s to say.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import orjson

from connectors.sinks.port import Sink, SinkUnavailable
from proxy.audit.segments import BEGINNING, Place, read_on
from proxy.errors import Outage

_BATCH_BYTES = 256 * 1024
_LINGER_S = 0.02
"""Pause between batches, so that a busy chain is synced tens of times a second for its sinks, not thousands."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0

_log = logging.getLogger("assentry.audit")


class Shipper:
    """Delivers one chain to every sink, each at its own pace."""

    def __init__(
        self,
        directory: Path,
        sinks: Mapping[str, Sink],
        *,
        size: Callable[[], int],
        durable: Callable[[], Awaitable[Place]],
        timeout_s: float,
    ) -> None:
        self._directory = directory
        self._sinks = sinks
        self._size = size
        self._durable = durable
        self._timeout_s = timeout_s
        self._cursors = {name: load_cursor(directory, name) for name in sinks}
        self._slowest = self._seq_of_slowest()
        self._news = {name: asyncio.Event() for name in sinks}
        self._finishing = False

    @property
    def lag(self) -> Mapping[str, int]:
        """Records each sink does not have yet."""
        size = self._size()
        return {name: max(0, size - cursor.seq) for name, cursor in self._cursors.items()}

    @property
    def longest_lag(self) -> int:
        """Records the slowest sink does not have yet."""
        return max(0, self._size() - self._slowest) if self._cursors else 0

    async def run(self) -> None:
        """Ships until `finish` was called and every sink has everything."""
        async with asyncio.TaskGroup() as group:
            for name, sink in self._sinks.items():
                group.create_task(self._deliver(name, sink))

    def wake(self) -> None:
        """There is more to ship."""
        for news in self._news.values():
            news.set()

    def finish(self) -> None:
        """Nothing more will come: `run` ends once all is shipped."""
        self._finishing = True
        self.wake()

    async def _deliver(self, name: str, sink: Sink) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._news[name].clear()
            try:
                lines, after = await self._next(name)
                if lines:
                    await self._offer(sink, lines)
                    await asyncio.to_thread(save_cursor, self._directory, name, after)
                    self._move(name, after)
            except (SinkUnavailable, TimeoutError, OSError, LookupError, Outage) as exc:
                _log.warning("sink %s is behind by %d: %s", name, self.lag[name], str(exc) or type(exc).__name__)
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
                continue
            pause_s = _FIRST_PAUSE_S
            if not lines and self._finishing:
                return
            await (asyncio.sleep(_LINGER_S) if lines else self._news[name].wait())

    async def _next(self, name: str) -> tuple[Sequence[bytes], Place]:
        until = await self._durable()
        cursor = self._cursors[name]
        if cursor.seq > until.seq:
            # The folder was put back from an older copy: twice is allowed, never is not.
            _log.warning("the cursor of sink %s was ahead of chain %s: shipping it anew", name, self._directory.name)
            cursor = BEGINNING
            self._move(name, cursor)
        return await asyncio.to_thread(read_on, self._directory, cursor, until, limit_bytes=_BATCH_BYTES)

    def _move(self, name: str, cursor: Place) -> None:
        self._cursors[name] = cursor
        self._slowest = self._seq_of_slowest()

    def _seq_of_slowest(self) -> int:
        # Kept, because every record asks how far behind the sinks are, and cursors move a few times a second.
        return min((cursor.seq for cursor in self._cursors.values()), default=0)

    async def _offer(self, sink: Sink, lines: Sequence[bytes]) -> None:
        async with asyncio.timeout(self._timeout_s):
            await sink.ship(lines)


def load_cursor(directory: Path, sink: str) -> Place:
    """Where this sink's next record is; the beginning when nothing readable says so."""
    try:
        kept = orjson.loads(_path(directory, sink).read_bytes())
        return Place(segment=int(kept["segment"]), offset=int(kept["offset"]), seq=int(kept["seq"]))
    except FileNotFoundError:
        return BEGINNING
    except (OSError, ValueError, KeyError, TypeError):
        _log.warning("the cursor of sink %s on chain %s cannot be read: shipping it anew", sink, directory.name)
        return BEGINNING


def save_cursor(directory: Path, sink: str, place: Place) -> None:
    """The place is kept, durably and wholly or not at all. Raises OSError."""
    path = _path(directory, sink)
    aside = path.with_suffix(".new")
    with aside.open("wb") as file:
        file.write(orjson.dumps({"segment": place.segment, "offset": place.offset, "seq": place.seq}))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _path(directory: Path, sink: str) -> Path:
    return directory / f"cursor.{sink}.json"
