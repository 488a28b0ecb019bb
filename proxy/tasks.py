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

    def spawn(self, work: Coroutine[Any, Any, _Result], *, name: str) -> asyncio.Future[_Result]:
        """A future of the work's result. The work goes on if whoever waits for it is cancelled or never looks."""
        outcome: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._group.create_task(_run(work, outcome, name), name=name)
        return outcome


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
