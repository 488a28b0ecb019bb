"""A server's answer on its way to an agent: read as messages, each looked at, and put together again.

Nothing passes that was not looked at. An answer in one piece is read whole before it goes on, a stream event by event;
neither may be longer than `limits.mcp_message_bytes`. Which messages go on is `connectors.apis.mcp.answers`' to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from connectors.apis.bodies import media_type
from connectors.apis.mcp import mirrors
from connectors.apis.mcp.answers import Passes, Stays, looked_at
from connectors.apis.mcp.events import Event, Events, TooLong, comment
from policy.call import CallId
from policy.reasons import Reason
from proxy.doors.arrival import Answer, Refusal, Relay
from proxy.errors import AssentryError
from proxy.mcp import refusing
from proxy.mcp.drift import Drift
from proxy.mcp.exchange import Exchange
from proxy.mcp.sessions import SessionMarks
from proxy.unread import Ended

_log = logging.getLogger("assentry.mcp")
JSON, EVENTS = "application/json", "text/event-stream"
STREAM_HEADERS = (("Content-Type", EVENTS), ("Cache-Control", "no-cache, no-transform"), ("X-Accel-Buffering", "no"))
_NOT_PASSED = frozenset({
    "content-length", "content-type", "cache-control", "x-accel-buffering", "location", "www-authenticate", "link",
})  # fmt: skip
"""Headers that the answer's new form has itself, or that would lead a client elsewhere."""
_OWN = (("Cache-Control", "no-store"),)
_LINGER_S = 1.0
"""How long a stream may go on behind its answer before it is ended for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaying:
    """Passes answers on."""

    marks: SessionMarks
    drift: Drift
    message_bytes: int
    json_depth: int

    async def passed_on(self, relay: Relay, exchange: Exchange) -> Relay | Refusal:
        """The answer as the agent gets it; or why it does not. What is not passed on is closed."""
        headers = self._headers(relay, exchange)
        kind = _kind(relay)
        if relay.status == 401:
            # Passed on, it would send the agent for a token of this server's.
            return await _dropped(relay, "The server does not take the credential that this gate has for it.")
        if headers is None or 300 <= relay.status < 400:
            return await _dropped(relay, "The server's answer leads elsewhere, or gives a session no proper id.")
        if any(name.lower() == "content-encoding" for name, _ in relay.headers):
            return await _dropped(relay, "The server's answer is encoded in a way that nobody asked for.")
        if kind == EVENTS and relay.status == 200:
            body = Ended(self.events(relay, exchange), unread=relay.body.aclose)
            return replace(relay, headers=(*headers, *STREAM_HEADERS), body=body)
        if kind == JSON:
            return await self._whole(replace(relay, headers=headers), exchange)
        if relay.status >= 400 or relay.status in (202, 204) or exchange.answers is None:
            return await self._bodiless(replace(relay, headers=headers))
        return await _dropped(relay, "The server's answer is no message of the protocol.")

    async def events(self, relay: Relay, exchange: Exchange) -> AsyncGenerator[bytes, None]:
        """The events of a stream that go on, the last one being the answer where one is due."""
        found = Events(limit_bytes=self.message_bytes)
        async with aclosing(relay.body) as chunks:
            try:
                async for chunk in chunks:
                    heard = False
                    for event in found.feed(chunk):
                        heard = True
                        piece, ends = await self._event(event, exchange)
                        yield piece
                        if ends:
                            await _drained(chunks)
                            return
                    if not heard:
                        # The server's own sign of life, or half of an event: either way the client need not give up.
                        yield comment("alive")
            except (TooLong, UnicodeDecodeError):
                yield _told("The server's message is too long, or no text.", exchange)
            except AssentryError as fault:
                yield _told(fault.detail, exchange)

    async def message(self, raw: bytes, exchange: Exchange) -> Passes | Stays:
        """Whether one message goes on, and as what. Raises Outage where what it tells cannot be kept."""
        said = looked_at(
            raw,
            server_requests=exchange.server.server_requests,
            answers=exchange.answers,
            json_depth=self.json_depth,
        )
        if isinstance(said, Stays):
            _log.warning("an answer to %s is not passed on", exchange.call)
            return said
        if said.listed:
            await self.drift.compare(said.listed, server=exchange.server, call=exchange.call)
        return said

    async def _event(self, event: Event, exchange: Exchange) -> tuple[bytes, bool]:
        if not event.data:
            # It only says where a client that lost the stream takes it up again.
            return event.written(), False
        said = await self.message(event.data.encode("utf-8"), exchange)
        if isinstance(said, Passes):
            # A stream that a client took up again, by GET, may hold answers to more than one call.
            return replace(event, data=said.text).written(), said.ends and exchange.answers is not None
        if exchange.answers is None:
            # Nobody waits for it, so nobody has to be told.
            return comment("a message of the server was not passed on"), False
        return _told(said.detail, exchange), True

    async def _whole(self, relay: Relay, exchange: Exchange) -> Relay | Refusal:
        raw = bytearray()
        async with aclosing(relay.body) as chunks:
            async for chunk in chunks:
                raw += chunk
                if len(raw) > self.message_bytes:
                    return _refusal(relay, "The server's message is longer than limits.mcp_message_bytes.")
        said = await self.message(bytes(raw), exchange) if raw or exchange.answers is not None else None
        if isinstance(said, Passes):
            return _with(relay, said.text.encode("utf-8"), ("Content-Type", JSON))
        # An error may come in words of the server's own: they are no message, and the status says enough.
        return _refusal(relay, said.detail) if said is not None and relay.status < 400 else _with(relay, b"")

    async def _bodiless(self, relay: Relay) -> Relay:
        async with aclosing(relay.body) as chunks:
            await _drained(chunks)
        return _with(relay, b"")

    def _headers(self, relay: Relay, exchange: Exchange) -> tuple[tuple[str, str], ...] | None:
        """The answer's headers without those that its new form has itself; None where a session's id is none."""
        kept = []
        for name, value in relay.headers:
            match name.lower():
                case mirrors.SESSION:
                    upstream = exchange.server.upstream
                    marked = self.marks.marked(value, upstream=upstream, whose=exchange.principal)
                    if marked is None:
                        return None
                    kept.append((name, marked))
                case other if other not in _NOT_PASSED:
                    kept.append((name, value))
                case _:
                    continue
        return tuple(kept)


def whole(said: refusing.Said, *, call: CallId) -> Relay:
    """A message of our own as an answer in one piece."""
    return _with(Relay(status=said.status, headers=_OWN, body=_one(b""), call=call), said.text, ("Content-Type", JSON))


async def in_a_stream(answer: Answer, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    """An answer that was passed on, as the end of a stream that has begun: its status is told no more."""
    if not isinstance(answer, Relay):
        # Who waits was let in; only a key that was revoked meanwhile comes to this.
        yield _told("This agent is not let in any more.", exchange)
        return
    if _kind(answer) == EVENTS:
        async with aclosing(answer.body) as pieces:
            async for piece in pieces:
                yield piece
        return
    text = b"".join([piece async for piece in answer.body])
    silent = f"The server answered with status {answer.status}, and no message."
    yield Event(data=text.decode("utf-8")).written() if text else _told(silent, exchange)


def _kind(relay: Relay) -> str | None:
    types = [value for name, value in relay.headers if name.lower() == "content-type"]
    media = media_type(types[0]) if len(types) == 1 else None
    return media.name if media and media.parameters.get("charset", "utf-8").lower() == "utf-8" else None


def _told(detail: str, exchange: Exchange) -> bytes:
    """Why a stream ends without the server's answer."""
    if exchange.answers is None:
        return comment("the stream ends here")
    return Event(data=refusing.error(502, detail, exchange.answers, status=502).text.decode("utf-8")).written()


def _with(relay: Relay, text: bytes, *headers: tuple[str, str]) -> Relay:
    told = (*relay.headers, *headers, ("Content-Length", str(len(text))))
    return replace(relay, headers=told, body=_one(text))


def _refusal(relay: Relay, detail: str) -> Refusal:
    return Refusal(reason=Reason.UPSTREAM_MALFORMED, detail=detail, call=relay.call)


async def _dropped(relay: Relay, detail: str) -> Refusal:
    await relay.body.aclose()
    return _refusal(relay, detail)


async def _drained(chunks: AsyncGenerator[bytes, None]) -> None:
    """Reads to the end, which is how its source learns that it was delivered; not for long."""
    try:
        async with asyncio.timeout(_LINGER_S):
            async for _ in chunks:
                pass
    except (TimeoutError, AssentryError):
        return


async def _one(text: bytes) -> AsyncGenerator[bytes, None]:
    if text:
        yield text
