"""A server's list of tools, fetched once for a catalogue, as an ordinary client would ask for it.

Speaks both eras: the handshake of 2025-11-25 first, and where a server will have none of that, 2026-07-28. Follows
cursors, within limits. What the tools become is `connectors.apis.mcp.tools`' to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import orjson

from connectors.apis import bodies
from connectors.apis.bodies import Json
from connectors.apis.mcp.events import Events, TooLong
from connectors.apis.mcp.messages import NoMessage, Response, read
from connectors.apis.mcp.mirrors import LEGACY, METHOD, MODERN, SESSION, VERSION
from policy.reasons import Reason
from proxy.errors import Outage

_PAGES = 100
_BYTES = 8 * 1024 * 1024
_DEPTH = 64
_TIMEOUT_S = 30.0
_CLIENT = {"name": "assentry", "version": "1"}


class Unlisted(Outage):
    """The server did not say which tools it has."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.UPSTREAM_MALFORMED, detail)


@dataclass(slots=True, kw_only=True)
class _Conversation:
    http: aiohttp.ClientSession
    url: str
    headers: dict[str, str]
    modern: bool = False
    asked: int = field(default=0)

    async def ask(self, method: str, params: Mapping[str, Json]) -> Mapping[str, Json]:
        """The result of a request. Raises Unlisted."""
        self.asked += 1
        sent: dict[str, object] = {"jsonrpc": "2.0", "id": self.asked, "method": method, "params": self._params(params)}
        headers = {**self.headers, METHOD: method} if self.modern else self.headers
        async with self.http.post(self.url, data=orjson.dumps(sent), headers=headers) as answer:
            if session := answer.headers.get(SESSION):
                self.headers[SESSION] = session
            found = _response(await _body(answer), answer.content_type)
        if found is None:
            raise Unlisted(f"The server answered {method} with status {answer.status}, and with no result.")
        return found

    async def notify(self, method: str) -> None:
        """Tells the server something, and hears nothing of it."""
        sent = orjson.dumps({"jsonrpc": "2.0", "method": method})
        async with self.http.post(self.url, data=sent, headers=self.headers):
            return

    def _params(self, params: Mapping[str, Json]) -> dict[str, Json]:
        if not self.modern:
            return dict(params)
        meta: dict[str, Json] = {
            "io.modelcontextprotocol/protocolVersion": MODERN[-1],
            "io.modelcontextprotocol/clientInfo": {**_CLIENT},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        return {**params, "_meta": meta}


async def tools_of(url: str, *, headers: Mapping[str, str]) -> tuple[Mapping[str, Json], ...]:
    """The definitions of all tools of the server at `url`. Raises Unlisted."""
    own = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **headers}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        talk = _Conversation(http=http, url=url, headers=own)
        try:
            await _begin(talk)
            return await _listed(talk)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise Unlisted(f"The server at {url} does not answer ({type(exc).__name__}).") from exc


async def _begin(talk: _Conversation) -> None:
    try:
        told = await talk.ask(
            "initialize", {"protocolVersion": LEGACY[-1], "capabilities": {}, "clientInfo": {**_CLIENT}}
        )
    except Unlisted:
        talk.modern = True
        talk.headers[VERSION] = MODERN[-1]
        talk.headers.pop(SESSION, None)
        return
    version = told.get("protocolVersion")
    talk.headers[VERSION] = version if isinstance(version, str) and version in LEGACY else LEGACY[-1]
    await talk.notify("notifications/initialized")


async def _listed(talk: _Conversation) -> tuple[Mapping[str, Json], ...]:
    found: list[Mapping[str, Json]] = []
    cursor: Json = None
    for _ in range(_PAGES):
        page = await talk.ask("tools/list", {} if cursor is None else {"cursor": cursor})
        tools, cursor = page.get("tools"), page.get("nextCursor")
        if not isinstance(tools, list):
            raise Unlisted("The server's list of tools is none.")
        found += [one for one in tools if isinstance(one, dict)]
        if not isinstance(cursor, str):
            return tuple(found)
    raise Unlisted(f"The server's list of tools has more than {_PAGES} pages.")


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in answer.content.iter_any():
        raw += chunk
        if len(raw) > _BYTES:
            raise Unlisted(f"The server's answer is longer than {_BYTES} bytes.")
        # A stream may stay open behind the answer that it carries.
        if answer.content_type == "text/event-stream" and _in_events(bytes(raw)) is not None:
            break
    return bytes(raw)


def _response(raw: bytes, kind: str) -> Mapping[str, Json] | None:
    return _in_events(raw) if kind == "text/event-stream" else _result(raw)


def _in_events(raw: bytes) -> Mapping[str, Json] | None:
    try:
        found = [_result(event.data.encode()) for event in Events(limit_bytes=_BYTES).feed(raw) if event.data]
    except (TooLong, UnicodeDecodeError) as exc:
        raise Unlisted("The server's stream cannot be read.") from exc
    return next((one for one in found if one is not None), None)


def _result(raw: bytes) -> Mapping[str, Json] | None:
    message = read(bodies.document(raw, json_depth=_DEPTH))
    if isinstance(message, NoMessage) or not isinstance(message, Response):
        return None
    return message.result if isinstance(message.result, dict) else None
