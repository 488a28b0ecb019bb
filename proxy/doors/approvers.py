"""The approvers' door: its own listener and origin, the API and the console behind one front check.

Decides only what is not for this door at all: another host, another origin, a body without end. Every failure inside
becomes a problem document (RFC 9457) or a page that says what happened.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Protocol
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from policy.reasons import Reason
from proxy.doors.api import Api
from proxy.doors.discreet import Discreet
from proxy.doors.openapi import document
from proxy.doors.replies import click_status, phrase
from proxy.errors import AssentryError, BrokenPromise, CallerFault

_log = logging.getLogger("assentry.approvers")
_MOST_BYTES = 64 * 1024
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Pages(Protocol):
    """Pages beside the API: the console."""

    def mount(self, app: web.Application) -> None:
        """Add the routes of the pages."""

    def failed(self, fault: AssentryError) -> web.Response:
        """A failure as a page."""


class ApproversDoor:
    """Serves the approvers' API, its description, and whatever is mounted."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        public_url: str,
        api: Api,
        pages: Pages | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._public_url = public_url.rstrip("/")
        self._api = api
        self._pages = pages
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once started."""
        bound = self._runner.addresses[0] if self._runner else (self._host, self._port)
        return bound[0], bound[1]

    async def start(self) -> None:
        """Begin to listen."""
        app = web.Application(
            middlewares=[_middleware(self._failures), _middleware(self._front)], client_max_size=_MOST_BYTES
        )
        app.on_response_prepare.append(self._dressed)
        app.on_shutdown.append(self._end_streams)
        for route in self._api.routes():
            app.router.add_route(route.method, route.path, self._api.handler(route))
        app.router.add_get("/openapi.json", self._description)
        if self._pages is not None:
            self._pages.mount(app)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, logger=Discreet(_log))
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._tls).start()

    async def stop(self, *, within_s: float = 5) -> None:
        """Stop listening: streams end at once, exchanges within `within_s`."""
        if self._runner is not None:
            self._runner._shutdown_timeout = within_s  # noqa: SLF001 - the runner takes it at construction only
            await self._runner.cleanup()

    async def _description(self, _: web.Request) -> web.Response:
        described = document(self._api.routes(), server=self._public_url, version=version("assentry"))
        return web.Response(body=orjson.dumps(described), content_type="application/json")

    async def _front(self, asked: web.Request, handler: Handler) -> web.StreamResponse:
        # Another host name is another origin, and a way past it is DNS rebinding.
        hosts = asked.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts():
            return problem(Reason.UNKNOWN_HOST, "This address is not served here.")
        return await handler(asked)

    async def _dressed(self, asked: web.Request, answer: web.StreamResponse) -> None:
        """Put what every answer carries on this one: pages, documents, redirects and streams."""
        for name, value in {"Content-Security-Policy": _POLICY, **_HEADERS}.items():
            answer.headers.setdefault(name, value)
        answer.headers.popall("Server", None)
        if answer.content_type == "text/event-stream" and asked.task not in self._streams:
            self._streams.add(asked.task)
            asked.task.add_done_callback(self._streams.discard)

    async def _end_streams(self, _: web.Application) -> None:
        for stream in tuple(self._streams):
            stream.cancel()

    async def _failures(self, asked: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(asked)
        except AssentryError as fault:
            return self._failed(asked, fault)
        except web.HTTPRequestEntityTooLarge:
            return problem(Reason.BODY_TOO_LARGE, f"The body is larger than {_MOST_BYTES} bytes.")
        except web.HTTPMethodNotAllowed as refused:
            answer = problem(Reason.METHOD_NOT_ALLOWED, "This path does not take this method.")
            answer.headers["Allow"] = ", ".join(sorted(refused.allowed_methods))
            return answer
        except web.HTTPNotFound:
            return self._failed(asked, CallerFault(Reason.NO_SUCH_HOLD, "There is nothing at this path."))
        except web.HTTPException:
            raise
        except Exception as fault:  # noqa: BLE001 - the door of the approvers: refuse, and report once
            _log.error("a click could not be taken: %s", type(fault).__name__, exc_info=fault)
            broken = BrokenPromise(Reason.INTERNAL, "Something is wrong with the gate. Nothing was decided; try again.")
            return self._failed(asked, broken)

    def _failed(self, asked: web.Request, fault: AssentryError) -> web.Response:
        of_the_api = asked.path.startswith("/v1/") or asked.path == "/openapi.json"
        if self._pages is None or of_the_api or "text/html" not in asked.headers.get("Accept", ""):
            return problem(fault.reason, fault.detail)
        return self._pages.failed(fault)

    def _hosts(self) -> frozenset[str]:
        host, port = self.address
        bound = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return frozenset({urlsplit(origin(self._public_url)).netloc, bound, f"localhost:{port}"})


def origin(url: str) -> str:
    """The origin of a URL as browsers write it (RFC 6454 section 6.2): lower case, without the scheme's own port."""
    parts = urlsplit(url.lower())
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


def _middleware(step: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]) -> Middleware:
    @web.middleware
    async def wrapped(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await step(request, handler)

    return wrapped


def problem(reason: Reason, detail: str) -> web.Response:
    """A refusal as a problem document."""
    status = click_status(reason)
    said = {
        "type": f"urn:assentry:problem:{reason.value}",
        "title": phrase(status),
        "status": status,
        "detail": detail,
        "reason": reason.value,
    }
    headers = {"WWW-Authenticate": 'Bearer realm="approvers"'} if status == 401 else {}
    return web.Response(
        status=status, body=orjson.dumps(said), content_type="application/problem+json", headers=headers
    )
