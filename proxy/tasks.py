"""The one owner of background work: a task group in which the failure of one piece does not end the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_log = logging.getLogger("assentry.tasks")
_Result = TypeVar("_Result")


class Tasks:
    """Starts background work in the task group that `proxy.wiring` owns."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, _Result], *, name: str) -> asyncio.Future[_Result]:
        """A future of the work's result. The work goes on if whoever waits for it is cancelled or never looks."""
        outcome: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        task = self._group.create_task(_run(work, outcome, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return outcome

    async def finish(self, *, within_s: float) -> None:
        """Wait for what is under way, and cancel what is left after that many seconds."""
        if not self._running:
            return
        _, left = await asyncio.wait(self._running, timeout=within_s)
        for task in left:
            _log.warning("%s was cut off: it took too long to finish", task.get_name())
            task.cancel()


async def _run(work: Coroutine[Any, Any, _Result], outcome: asyncio.Future[_Result], name: str) -> None:
    try:
        result = await work
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except Exception as fault:  # noqa: BLE001 - the door of background work: reported here, or by whoever waits
        if outcome.done():
            _log.error("%s failed after its caller had left: %s", name, type(fault).__name__)
            return
        _log.warning("%s failed: %s", name, fault)
        outcome.set_exception(fault)
        outcome.exception()  # Marks it as seen: nobody may be waiting.
    else:
        if not outcome.done():
            outcome.set_result(result)
