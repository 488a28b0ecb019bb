"""The agents' door: takes one well-formed call at a time, hands it to the gate, writes the gate's answer.

Decides only whether what came in is one call for a configured upstream. Who calls, what the call is and whether it may
go on is the gate's. A client that leaves does not stop the gate: the connection's own task goes on awaiting `carry`,
`Client.present` turns false, and the answer is dropped. Of a call that is held, nothing is kept here but how to answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, TypeVar, assert_never, cast
from urllib.parse import urlsplit

from aiohttp import http_parser
from aiohttp.streams import StreamReader
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from config.settings import Settings, Upstream
from connectors.apis.aws import refusals
from policy.call import CallId
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors import replies
from proxy.doors.addresses import base_url
from proxy.doors.arrival import Answer, Arrival, BearerText, Client, Held, Pending, Refusal, Relay
from proxy.doors.body import BodyRefused, ClientLeft, as_it_comes, read_body
from proxy.doors.connection import AtOnce, Connection, Server, Visit
from proxy.doors.entrance import Asked, Entrance, TurnedAway, arrival, bearer
from proxy.doors.hygiene import Head, UpgradeRefused, body_too_large
from proxy.doors.interim import Interims
from proxy.doors.metadata import WELL_KNOWN, metadata_url, resource_metadata
from proxy.doors.patience import read_patience
from proxy.doors.room import Room
from proxy.doors.tls import serving
from proxy.doors.writing import Recipient, Written, write_relay, write_whole
from proxy.errors import AssentryError, CallerFault, OperatorFault
from proxy.upstream.routes import Routes
from proxy.upstream.signing import place_of

log = logging.getLogger("assentry.doors")

# How long cancelled exchanges may take to unwind once the door's time to stop is over.
_UNWIND_S = 1.0

_Answered = TypeVar("_Answered")


class Gate(Protocol):
    """Who decides. `carry` and `status` may raise `AssentryError`, which the door answers and hands to `refuse`."""

    async def carry(self, arrival: Arrival) -> Answer | Held:
        """The answer to a call, or that it waits for people. Not cancelled when the client leaves."""

    async def settle(self, held: Held, client: Client) -> Answer:
        """The answer to a call that was held; may take as long as a person does."""

    async def status(self, bearer: BearerText | None, call: CallId) -> Answer:
        """How a call stands, or its kept response."""

    async def refuse(self, refusal: Refusal, peer: str) -> None:
        """Records a refusal that the door itself made."""


class AgentsDoor:
    """The listener that agents call."""

    def __init__(  # noqa: PLR0913 - the wiring has them all, and nobody else
        self,
        gate: Gate,
        settings: Settings,
        *,
        routes: Routes,
        new_call_id: Callable[[], CallId],
        at_once: AtOnce | None = None,
        passes_unread: Callable[[Asked], bool] = lambda asked: False,  # noqa: ARG005
        now: Callable[[], float] = time.time,
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._at_once = at_once
        self._passes_unread = passes_unread
        self._entrance = Entrance(settings, routes=routes)
        self._room = Room(limit_bytes=settings.limits.bodies_bytes)
        self._interims = Interims(every_s=settings.holds.interim_every_s)
        self._new_call_id = new_call_id
        self._now = now
        self._server: Server | None = None
        self._listener: asyncio.Server | None = None
        self._bound: tuple[str, int] | None = None
        self._stopping = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; port 0 in the settings has become a real one."""
        if self._bound is None:
            raise OperatorFault(Reason.STOPPING, "The agents' door is not open.")
        return self._bound

    async def start(self) -> None:
        """Listens. Raises OSError when it cannot, and OperatorFault when aiohttp lacks its C parser."""
        require_c_parser(http_parser.HttpRequestParser)
        limits = self._settings.limits
        self._server = Server(self._respond, self._complete, limits=limits, room=self._room, at_once=self._at_once)
        host, _, port = self._settings.agents.listen.rpartition(":")
        loop = asyncio.get_running_loop()
        tls = self._settings.agents.tls
        self._listener = await loop.create_server(
            self._server,
            host.strip("[]"),
            int(port),
            backlog=1024,
            ssl=serving(tls),
            ssl_handshake_timeout=limits.header_timeout_s if tls else None,
        )
        self._bound = self._listener.sockets[0].getsockname()[:2]

    async def stop(self, *, within_s: float) -> None:
        """Takes no new call, lets running exchanges finish, then cancels what is left."""
        if self._server is None or self._listener is None:
            return
        self._stopping = True
        self._listener.close()
        for connection in self._server.connections:
            cast("Connection", connection).retire()
        try:
            async with asyncio.timeout(within_s):
                await self._server.quiet()
        except TimeoutError:
            log.warning("stopped with %d exchanges unfinished", self._server.running)
        self._server.stop_clock()
        await self._server.shutdown(_UNWIND_S)

    async def _respond(self, request: BaseRequest) -> StreamResponse:
        connection = cast("Connection", request.protocol)
        server = cast("Server", self._server)
        server.running += 1
        try:
            visit = self._visit(connection, request.content)
            exchange = self._exchange(visit, self._admit(visit))
            del visit  # The exchange lets go of it where people are waited for.
            written = await exchange
        finally:
            server.left()
        if written.keep_alive:
            connection.next_call()
        else:
            await connection.linger()
        return cast("StreamResponse", written)

    async def _complete(self, visit: Visit, answering: Awaitable[Answer]) -> bool:
        return (await self._exchange(visit, answering)).keep_alive

    def _visit(self, connection: Connection, payload: StreamReader) -> Visit:
        peer = self._entrance.peer(connection.address, connection.call)
        return Visit(id=self._new_call_id(), head=connection.call, connection=connection, payload=payload, peer=peer)

    async def _exchange(self, visit: Visit, answering: Awaitable[Answer | Held | replies.Whole]) -> Written:
        try:
            answer = await self._answer(visit, answering)
            if isinstance(answer, Held):
                visit, answering = _waiting(visit), self._gate.settle(answer, visit.connection)
                with self._interims.during(visit.connection, answer.patience):
                    answer = await self._answer(visit, answering)
            return await self._write(answer, visit)
        except (ClientLeft, ConnectionError):
            log.debug("client of %s left before its answer", visit.id)
        except AssentryError as exc:
            log.warning("answer of %s was cut: %s", visit.id, exc.reason)
        return Written(keep_alive=False)

    async def _answer(self, visit: Visit, answering: Awaitable[_Answered]) -> _Answered | Refusal:
        try:
            return await answering
        except ClientLeft:
            raise
        except AssentryError as exc:
            fault = isinstance(exc, CallerFault)
            refusal = Refusal(reason=exc.reason, detail=exc.detail, call=visit.id, close=fault)
        except Exception as exc:  # noqa: BLE001 - the door's one: whatever it is, it is a No
            log.error("call %s refused: %s", visit.id, type(exc).__name__)  # noqa: TRY400 - its text may quote the call
            detail = "The gate failed. Whether the call was sent is on the ledger. Ask its operator before repeating."
            refusal = Refusal(reason=Reason.INTERNAL, detail=detail, call=visit.id, close=True)
        await self._record(refusal, peer=visit.peer)
        return refusal

    async def _record(self, refusal: Refusal, *, peer: str) -> None:
        log.info("call %s refused at the door: %s", refusal.call, refusal.reason)
        try:
            await self._gate.refuse(refusal, peer)
        except AssentryError as exc:
            # The refusal stands with or without its record; nothing was sent.
            log.warning("refusal of %s is not on the ledger: %s", refusal.call, exc.reason)

    async def _admit(self, visit: Visit) -> Answer | Held | replies.Whole:
        head = visit.head
        if isinstance(head, Refused):
            raise TurnedAway(head)
        self._entrance.check_host(head)
        return await self._own_path(head) or await self._carry(visit, head)

    async def _own_path(self, head: Head) -> Answer | replies.Whole | None:
        if call := self._entrance.status_of(head):
            return await self._gate.status(bearer(head), call)
        path = self._entrance.metadata_path(head)
        return self._metadata(head, path) if path else None

    def _metadata(self, head: Head, asked: str) -> replies.Whole | None:
        path = asked.removeprefix(WELL_KNOWN)
        own = urlsplit(self._base).path.rstrip("/")
        if path not in ("", own) and not self._entrance.route_of(head.host, path.removeprefix(own)):
            return None
        return replies.document(resource_metadata(self._settings, base=self._base, path=path))

    async def _carry(self, visit: Visit, head: Head) -> Answer | Held:
        asked, began = self._entrance.asked(head), self._now()
        if self._is_upload(head, asked):
            return await self._carry_upload(visit, head, asked)
        if head.length > self._settings.limits.body_bytes:
            raise BodyRefused(body_too_large(self._settings.limits))
        with self._room.place(head.length) as place:
            if head.expects_continue and visit.connection.transport and not visit.payload.is_eof():
                visit.connection.transport.write(replies.CONTINUE)
            body = await read_body(visit.payload, limits=self._settings.limits, place=place)
            now, call_id, peer = self._now(), visit.id, visit.peer
            came = arrival(asked, body, call_id=call_id, peer=peer, received_at=now, sending_s=now - began)
            return await self._gate.carry(came)

    def _is_upload(self, head: Head, asked: Asked) -> bool:
        # What may be held is read whole: somebody has to look at it, and its digest is what they approve.
        too_large_to_hold = head.length > self._settings.holds.body_bytes
        return too_large_to_hold and head.length <= self._settings.limits.upload_bytes and self._passes_unread(asked)

    async def _carry_upload(self, visit: Visit, head: Head, asked: Asked) -> Answer | Held:
        def begin() -> None:
            if head.expects_continue and visit.connection.transport and not visit.payload.is_eof():
                visit.connection.transport.write(replies.CONTINUE)

        came = arrival(asked, b"", call_id=visit.id, peer=visit.peer, received_at=self._now())
        upload = as_it_comes(visit.payload, length=head.length, limits=self._settings.limits, begin=begin)
        return await self._gate.carry(replace(came, upload=upload))

    async def _write(self, answer: Answer | replies.Whole, visit: Visit) -> Written:
        head = visit.head
        to = self._recipient(visit)
        match answer:
            case Relay():
                headers = replies.relayed(answer)
                if headers is not None:
                    return await write_relay(answer, headers=headers, to=to)
                await answer.body.aclose()
                return await self._write(replies.bad_relay(answer), visit)
            case Refusal():
                return await write_whole(replies.refused(answer, manner=self._manner(head)), to=to)
            case Pending():
                return await write_whole(replies.pending(answer, manner=self._manner(head)), to=to)
            case replies.Whole():
                return await write_whole(answer, to=to)
            case _:
                assert_never(answer)

    def _recipient(self, visit: Visit) -> Recipient:
        head, stall_s = visit.head, self._settings.limits.stall_timeout_s
        if isinstance(head, Refused):
            return Recipient(connection=visit.connection, stall_s=stall_s)
        reusable = visit.connection.reusable and not self._stopping
        return Recipient(
            connection=visit.connection,
            method=head.method,
            minor=head.minor,
            # Behind a body that was not read there is no next call to find.
            keep_alive=head.keep_alive and visit.payload.is_eof() and reusable,
            stall_s=stall_s,
        )

    def _manner(self, head: Head | Refused) -> replies.Manner:
        metadata = metadata_url(self._base)
        if isinstance(head, UpgradeRefused):
            head = head.head
        if isinstance(head, Refused):
            return replies.Manner(resource_metadata=metadata)
        route = self._entrance.route_of(head.host, head.path)
        if route and route.upstream.connector == "mcp" and route.upstream.host is None:
            # Its clients ask for a token for the very URL that they called (RFC 9728 section 3.3).
            metadata = metadata_url(self._base, path=head.path)
        return replies.Manner(
            connector=_manner_of(route.upstream, head) if route else "generic",
            resource_metadata=metadata,
            respond_async=read_patience(head.fields, now=self._now()).respond_async,
        )

    @property
    def _base(self) -> str:
        if self._settings.agents.public_url:
            return self._settings.agents.public_url
        return base_url(self.address, tls=self._settings.agents.tls)


_FOR_ANSWERS = frozenset({"prefer", "smithy-protocol", "x-amz-target"})
"""What an answer depends on, of the headers of a call."""


def _manner_of(upstream: Upstream, head: Head) -> str:
    """Whose error shape is spoken to this client."""
    if upstream.aws is None:
        return upstream.connector
    return refusals.way(place_of(upstream.aws).protocol, head.fields)


def _waiting(visit: Visit) -> Visit:
    """The visit without its call, which is in the store now: what is needed to answer, for as long as people take."""
    if isinstance(visit.head, Refused):
        return visit
    kept = {name: value for name, value in visit.head.fields.items() if name in _FOR_ANSWERS}
    visit.connection.call = replace(visit.head, headers=(), fields=kept)
    return replace(visit, head=visit.connection.call)


def require_c_parser(parser: object) -> None:
    """Raises OperatorFault when aiohttp runs on its Python parser, which lets through what the C parser refuses."""
    if parser is http_parser.HttpRequestParserPy:
        raise OperatorFault(
            Reason.INTERNAL,
            "aiohttp runs without its C extension. Install a wheel of it, and unset AIOHTTP_NO_EXTENSIONS.",
        )
