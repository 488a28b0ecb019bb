"""The gate as MCP clients meet it: takes their messages to the ordinary gate, and its answers back in their protocol.

Decides what a message may be before anybody judges it (one, well formed, of the session's own agent, as its headers
say), and how its answer looks. Who may do what is the gate's and the law's, as for every other call. All calls come
through here; those for other upstreams go straight on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, fields, replace
from typing import Protocol, assert_never

import orjson

from connectors.apis import bodies
from connectors.apis.bodies import media_type
from connectors.apis.mcp import messages, mirrors
from connectors.apis.mcp.events import Event, comment
from connectors.apis.mcp.finding import Server
from connectors.apis.mcp.messages import Message, NoMessage
from policy.call import CallId
from policy.principal import Principal
from policy.reasons import Reason
from proxy.doors.arrival import Answer, Arrival, BearerText, Client, Held, Pending, Refusal, Relay
from proxy.errors import AssentryError, CallerFault
from proxy.identity.admission import Admission
from proxy.law import Law
from proxy.mcp import refusing, relaying
from proxy.mcp.cancelling import Cancellations
from proxy.mcp.exchange import Exchange, HeldExchange
from proxy.mcp.refusing import Said
from proxy.mcp.relaying import EVENTS, STREAM_HEADERS, Relaying
from proxy.tasks import Tasks
from proxy.unread import Ended

_IDENTITY = frozenset({
    Reason.IDENTITY_MISSING, Reason.IDENTITY_INVALID, Reason.IDENTITY_EXPIRED, Reason.IDENTITY_REVOKED,
})  # fmt: skip
"""Refusals that stay HTTP's: a client looks for the way to a token in them (RFC 9728 section 5.1)."""


class OrdinaryGate(Protocol):
    """As `proxy.doors.agents.Gate`."""

    async def carry(self, arrival: Arrival) -> Answer | Held:
        """The answer to a call, or that it waits for people."""

    async def settle(self, held: Held, client: Client) -> Answer:
        """The answer to a call that was held."""

    async def status(self, bearer: BearerText | None, call: CallId) -> Answer:
        """How a call stands."""

    async def refuse(self, refusal: Refusal, peer: str) -> None:
        """Records a refusal."""


class _Malformed(CallerFault):
    """The message is none, or contradicts its headers."""

    def __init__(self, reason: Reason, detail: str, said: Said) -> None:
        super().__init__(reason, detail)
        self.said = said


@dataclass(frozen=True, slots=True, kw_only=True)
class McpGate:
    """Carries calls to MCP servers, and leaves the others to the gate behind it."""

    gate: OrdinaryGate
    admission: Admission
    law: Law
    relaying: Relaying
    tasks: Tasks
    keep_alive_s: float
    cancellations: Cancellations = field(default_factory=Cancellations)

    async def carry(self, arrival: Arrival) -> Answer | Held:
        """The answer to one call, or that it is held. Raises Outage where a refusal cannot be recorded."""
        server = self._server(arrival.upstream)
        if server is None:
            return await self.gate.carry(arrival)
        try:
            principal = await self.admission.caller(arrival)
            exchange, travels = self._taken(arrival, server, principal)
        except _Malformed as fault:
            refusal = await self._record(arrival, fault)
            return relaying.whole(fault.said, call=refusal.call)
        except AssentryError as fault:
            return await self._record(arrival, fault)
        self.cancellations.cancel(exchange)
        answer = await self.gate.carry(travels)
        if isinstance(answer, Held):
            return HeldExchange(**{one.name: getattr(answer, one.name) for one in fields(answer)}, exchange=exchange)
        return await self._answer(answer, exchange)

    async def settle(self, held: Held, client: Client) -> Answer:
        """The answer to a call that was held: a stream that begins at once, where the client takes one."""
        if not isinstance(held, HeldExchange):
            return await self.gate.settle(held, client)
        if not held.exchange.waits_on_a_stream:
            return await self._answer(await self.gate.settle(held, client), held.exchange)
        body = Ended(self._waiting(held, client), unread=lambda: self._left(held, client))
        return Relay(status=200, headers=STREAM_HEADERS, body=body, call=held.id)

    async def status(self, bearer: BearerText | None, call: CallId) -> Answer:
        """As the gate behind says."""
        return await self.gate.status(bearer, call)

    async def refuse(self, refusal: Refusal, peer: str) -> None:
        """As the gate behind does."""
        await self.gate.refuse(refusal, peer)

    # What comes in.

    def _server(self, upstream: str) -> Server | None:
        namer = self.law.current.namers.get(upstream)
        return namer.find if namer is not None and isinstance(namer.find, Server) else None

    def _taken(self, arrival: Arrival, server: Server, principal: Principal) -> tuple[Exchange, Arrival]:
        """What is asked, and the call as it goes on. Raises _Malformed for no message, or headers that belie it."""
        message = self._message(arrival)
        if isinstance(message, NoMessage):
            raise _Malformed(Reason.BODY_MALFORMED, message.detail, refusing.malformed(message))
        exchange = Exchange(
            call=arrival.id,
            server=server,
            principal=principal,
            message=message,
            modern=mirrors.is_modern(arrival.headers),
            takes_stream=_takes_stream(arrival),
            session="" if mirrors.is_modern(arrival.headers) else _session(arrival),
        )
        wrong = mirrors.mismatch(arrival.headers, message)
        if wrong is not None:
            raise _Malformed(Reason.HEADER_MISMATCH, wrong.detail, refusing.mismatched(wrong, exchange.answers))
        return exchange, self._travelling(arrival, exchange)

    def _message(self, arrival: Arrival) -> Message | NoMessage | None:
        if arrival.target.method != "POST":
            return None
        kind = next((value for name, value in arrival.headers if name == "content-type"), None)
        return messages.read(bodies.read(kind, arrival.body, json_depth=self.relaying.json_depth))

    def _travelling(self, arrival: Arrival, exchange: Exchange) -> Arrival:
        """The call with the server's own session, and without what keeps its answer from being read on its way."""
        headers = []
        for name, value in mirrors.travelling(arrival.headers):
            if name == mirrors.SESSION:
                headers.append((name, self._session(value, exchange)))
            elif name != "accept-encoding":
                headers.append((name, value))
        patience = arrival.patience
        if exchange.waits_on_a_stream:
            # It hears from us all the time, and bears that for as long as it likes.
            patience = replace(patience, wait_s=math.inf, total_s=None, interim=None)
        return replace(arrival, headers=tuple(headers), patience=patience)

    def _session(self, shown: str, exchange: Exchange) -> str:
        upstream = exchange.server.upstream
        own = self.relaying.marks.own(shown, upstream=upstream, whose=exchange.principal)
        if own is None:
            # 404 tells a client to begin a new session (2025-11-25, Session Management).
            detail = "There is no such session of yours. Begin a new one."
            raise _Malformed(Reason.NO_SUCH_SESSION, detail, refusing.error(404, detail, exchange.answers, status=404))
        return own

    # What goes out.

    async def _answer(self, answer: Answer, exchange: Exchange) -> Answer:
        match answer:
            case Relay():
                return await self._passed_on(answer, exchange)
            case Refusal():
                # Who is not known is told so by HTTP: there a client finds the way to a token (RFC 9728 section 5.1).
                known = answer.reason not in _IDENTITY
                return relaying.whole(refusing.refused(answer, exchange), call=answer.call) if known else answer
            case Pending():
                return relaying.whole(refusing.pending(answer, exchange), call=answer.call)
            case _:
                assert_never(answer)

    async def _passed_on(self, relay: Relay, exchange: Exchange) -> Relay:
        try:
            passed = await self.relaying.passed_on(relay, exchange)
        except AssentryError as fault:
            passed = Refusal(reason=fault.reason, detail=fault.detail, call=relay.call)
        if isinstance(passed, Relay):
            return passed
        return relaying.whole(refusing.refused(passed, exchange), call=passed.call)

    async def _record(self, arrival: Arrival, fault: AssentryError) -> Refusal:
        refusal = Refusal(reason=fault.reason, detail=fault.detail, call=arrival.id, upstream=arrival.upstream)
        await self.gate.refuse(refusal, arrival.peer)
        return refusal

    # Waiting.

    async def _waiting(self, held: HeldExchange, client: Client) -> AsyncGenerator[bytes, None]:
        """What a client hears while people decide, and then the answer."""
        with self.cancellations.of(held.exchange, client) as waiting:
            async with aclosing(self._heard(held, waiting)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _heard(self, held: HeldExchange, client: Client) -> AsyncGenerator[bytes, None]:
        settling = self.tasks.spawn(self.gate.settle(held, client), name=f"settle {held.id}")
        answered = False
        try:
            yield comment(f"held as {held.hold}")
            beats = 0
            while not (await asyncio.wait([settling], timeout=self.keep_alive_s))[0]:
                beats += 1
                yield _beat(held, beats)
            answer, answered = settling.result(), True
        finally:
            if not answered:
                self.tasks.spawn(_closed(settling), name=f"leave {held.id}")
        told = await self._answer(answer, held.exchange)
        async with aclosing(relaying.in_a_stream(told, held.exchange)) as pieces:
            async for piece in pieces:
                yield piece

    async def _left(self, held: HeldExchange, client: Client) -> None:
        """The same for a client that left before it heard anything: what follows from that is the hold's to say."""
        settling = self.tasks.spawn(self.gate.settle(held, client), name=f"settle {held.id}")
        self.tasks.spawn(_closed(settling), name=f"leave {held.id}")


def _session(arrival: Arrival) -> str:
    return next((value for name, value in arrival.headers if name == mirrors.SESSION), "")


def _takes_stream(arrival: Arrival) -> bool:
    accepted = ",".join(value for name, value in arrival.headers if name == "accept").split(",")
    kinds = [media_type(one.strip()) for one in accepted]
    return any(kind is not None and kind.name == EVENTS for kind in kinds)


def _beat(held: HeldExchange, count: int) -> bytes:
    """A sign of life; as progress too, where the agent asked for it."""
    token = held.exchange.progress_token
    if token is None:
        return comment("waiting for approval")
    # It has to grow each time (2025-11-25, Progress), and must leave room for the server's own, which come later.
    told = {"progressToken": token, "progress": count / 1_000_000, "message": f"Waiting for approval ({held.hold})."}
    text = orjson.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": told})
    return comment("waiting for approval") + Event(data=text.decode("utf-8")).written()


async def _closed(settling: asyncio.Future[Answer]) -> None:
    """Lets go of an answer that nobody reads."""
    answer = await settling
    if isinstance(answer, Relay):
        await answer.body.aclose()
