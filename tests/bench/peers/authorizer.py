"""An aiohttp app that nginx, Envoy and Caddy ask before each call: `python -m tests.bench.peers.authorizer PORT`.

200 lets the call go on, anything else ends it. A held call is not answered until somebody posts to `/approve`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from tests.bench.peers.deciding import Decision, decide, write_log

_held: set[asyncio.Future[None]] = set()


async def authorize(asked: web.Request) -> web.Response:
    """The decision as a status."""
    method = asked.headers.get("X-Forwarded-Method", asked.method)
    target = asked.headers.get("X-Forwarded-Uri", asked.path_qs)
    decision, subject = decide(method, target, asked.headers.get("Authorization"))
    if decision is Decision.HOLD:
        approved = asyncio.get_running_loop().create_future()
        _held.add(approved)
        await approved
        decision = Decision.ALLOW
    return web.Response(status=decision.value, headers={"X-Agent": subject})


async def approve(_: web.Request) -> web.Response:
    """Lets everything go on that is held."""
    for approved in _held:
        approved.set_result(None)
    _held.clear()
    return web.Response()


async def held(_: web.Request) -> web.Response:
    """How many wait."""
    return web.Response(text=str(len(_held)))


async def serve(port: int) -> None:
    """Until ended."""
    app = web.Application()
    app.router.add_post("/approve", approve)
    app.router.add_get("/held", held)
    app.router.add_route("*", "/{any:.*}", authorize)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    while True:
        await asyncio.sleep(0.05)
        write_log()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
