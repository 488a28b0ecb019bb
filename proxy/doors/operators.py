"""The operators' door: is it alive, is it ready, what does it count.

Speaks to platforms, never to agents or approvers, and says nothing of any call. Readiness means that a call could be
judged, recorded and held right now.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from proxy.doors.discreet import Discreet
from proxy.errors import AssentryError
from proxy.meters import Meters

_log = logging.getLogger("assentry.operators")
_LIMIT_S = 2.0

Check = Callable[[], Awaitable[None]]
"""Returns when a part is ready; raises AssentryError when it is not."""


class OperatorsDoor:
    """Serves `/livez`, `/readyz` and `/metrics`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        meters: Meters,
        checks: Mapping[str, Check],
        facts: Callable[[], dict[str, str]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._meters = meters
        self._checks = checks
        self._facts = facts
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.stopping = False

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once started."""
        bound = self._runner.addresses[0] if self._runner else (self._host, self._port)
        return bound[0], bound[1]

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, logger=Discreet(_log))
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        wrong = {name: said for name, said in await self._checked() if said}
        if self.stopping:
            wrong["serve"] = "stopping"
        report = {"ready": not wrong, "not_ready": wrong, **self._facts()}
        body = orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE)
        return web.Response(status=503 if wrong else 200, body=body, content_type="application/json")

    async def _checked(self) -> list[tuple[str, str]]:
        # At once: a probe has a limit of its own, and two silent parts must not make it run out before we answer.
        said = await asyncio.gather(*map(_said, self._checks.values()))
        return list(zip(self._checks, said, strict=True))

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self._meters.text()
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def _said(check: Check) -> str:
    try:
        async with asyncio.timeout(_LIMIT_S):
            await check()
    except AssentryError as fault:
        return fault.detail
    except TimeoutError:
        return "no answer in time"
    return ""
