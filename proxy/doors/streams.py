"""Server-sent events (HTML Living Standard, section 9.2) at the approvers' door.

Decides only how a stream ends: when there is nothing more, when its reader has left, or when it cannot be known any
more whether the reader may go on. What is said on it is decided by whoever makes the events.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from proxy.errors import AssentryError

_log = logging.getLogger("assentry.approvers")


async def pour(asked: web.Request, events: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """The stream, once it has ended. A fault in the middle ends it: there is no second answer to one question."""
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await stream.prepare(asked)
    async with aclosing(events):
        try:
            async for event in events:
                await stream.write(event)
        except AssentryError as fault:
            _log.info("a stream ended: %s", fault.reason.value)
        except ConnectionError:
            _log.debug("the reader of a stream left")
    return stream
