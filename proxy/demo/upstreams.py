"""Fake downstream APIs for the demo: payments as Stripe shapes them, models as OpenAI does.

They check the credential that the gate attaches and remember every call they received, so that anyone can see that an
approved call arrived once, and a refused one never.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import orjson
from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A call as the upstream saw it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class DemoUpstreams:
    """Both APIs on one listener, below `/stripe` and `/openai`. `start` binds it."""

    stripe_key: str
    openai_key: str
    url: str = ""
    received: list[Received] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """The base URL that both APIs share."""
        app = web.Application()
        app.router.add_route("*", "/stripe/{rest:.*}", self._stripe)
        app.router.add_route("*", "/openai/{rest:.*}", self._openai)
        app.router.add_get("/received", self._show_received)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _stripe(self, asked: web.Request) -> web.Response:
        body = await self._remember(asked)
        if asked.headers.get("Authorization") != f"Bearer {self.stripe_key}":
            return _json({"error": {"type": "invalid_request_error", "message": "Invalid API Key"}}, status=401)
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        path = asked.match_info["rest"]
        if asked.method == "POST" and path == "v1/refunds":
            return _json(self._refund(form))
        if asked.method == "GET" and path.startswith("v1/charges/"):
            return _json(_charge(path.removeprefix("v1/charges/")))
        if asked.method == "GET" and path == "v1/charges":
            listed = {"object": "list", "data": [_charge("ch_1042")], "has_more": False, "url": "/v1/charges"}
            return _json(listed)
        return _json({"error": {"type": "invalid_request_error", "message": "No such route"}}, status=404)

    def _refund(self, form: Mapping[str, str]) -> dict[str, object]:
        return {
            "id": f"re_{next(self._ids):04d}",
            "object": "refund",
            "amount": int(form.get("amount", "0")),
            "charge": form.get("charge"),
            "currency": "eur",
            "created": int(time.time()),
            "status": "succeeded",
        }

    async def _openai(self, asked: web.Request) -> web.Response:
        body = await self._remember(asked)
        if asked.headers.get("Authorization") != f"Bearer {self.openai_key}":
            return _json({"error": {"message": "Incorrect API key provided", "type": "auth"}}, status=401)
        path = asked.match_info["rest"]
        if asked.method == "POST" and path == "v1/chat/completions":
            return _json(_completion(orjson.loads(body)))
        if asked.method == "GET" and path == "v1/models":
            return _json({"object": "list", "data": [{"id": "gpt-demo", "object": "model", "owned_by": "demo"}]})
        return _json({"error": {"message": "Unknown route", "type": "invalid_request_error"}}, status=404)

    async def _remember(self, asked: web.Request) -> bytes:
        body = await asked.read()
        headers = {name.lower(): value for name, value in asked.headers.items() if name.lower() != "authorization"}
        self.received.append(Received(method=asked.method, target=asked.raw_path, headers=headers, body=body))
        return body

    async def _show_received(self, _: web.Request) -> web.Response:
        lines = [
            {"call": f"{one.method} {one.target}", "body": one.body.decode("utf-8", "replace")} for one in self.received
        ]
        return _json({"received": lines})


def _charge(charge: str) -> dict[str, object]:
    return {"id": charge, "object": "charge", "amount": 25_000, "currency": "eur", "status": "succeeded"}


def _completion(asked: Mapping[str, object]) -> dict[str, object]:
    said = "Charge ch_1042: the parcel is lost. I would refund 250.00 EUR."
    return {
        "id": f"chatcmpl-{secrets.token_hex(6)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.get("model", "gpt-demo"),
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 14, "total_tokens": 26},
    }


def _json(document: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
