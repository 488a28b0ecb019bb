"""An agents' door on a real socket before a gate that records what it is asked, and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from config import settings
from policy.call import CallId
from policy.reasons import Reason
from proxy.doors.agents import AgentsDoor
from proxy.doors.arrival import Answer, Arrival, BearerText, Client, Held, Refusal, Relay
from proxy.errors import AssentryError
from proxy.upstream.routes import Routes

READ_S = 10


async def pieces(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


def relay_of(arrival: Arrival, *, body: bytes = b"ok") -> Relay:
    headers = (("content-type", "text/plain"), ("content-length", str(len(body))))
    return Relay(status=200, headers=headers, body=pieces(body), call=arrival.id)


@dataclass
class RecordingGate:
    """Answers as it is told, and remembers every arrival and refusal."""

    answer: Callable[[Arrival], Answer] = relay_of
    arrivals: list[Arrival] = field(default_factory=list)
    refusals: list[tuple[Refusal, str]] = field(default_factory=list)
    statuses: list[tuple[BearerText | None, CallId]] = field(default_factory=list)
    hold: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    refusing_fails: AssentryError | None = None
    holds: bool = False
    """Whether calls are held before they are answered, which is then what `hold` keeps back."""
    clients: list[Client] = field(default_factory=list)
    """Whose calls were held."""
    settling: asyncio.Event = field(default_factory=asyncio.Event)
    _held: dict[CallId, Arrival] = field(default_factory=dict)

    async def carry(self, arrival: Arrival) -> Answer | Held:
        self.arrivals.append(arrival)
        self.arrived.set()
        if self.holds:
            self._held[arrival.id] = arrival
            return Held(
                id=arrival.id,
                hold=arrival.id,
                upstream=arrival.upstream,
                peer=arrival.peer,
                deadline=0,
                patience=arrival.patience,
            )
        return await self._answered(arrival)

    async def settle(self, held: Held, client: Client) -> Answer:
        self.clients.append(client)
        self.settling.set()
        return await self._answered(self._held.pop(held.hold))

    async def _answered(self, arrival: Arrival) -> Answer:
        if self.hold is not None:
            await self.hold.wait()
        self.answered.set()
        return self.answer(arrival)

    async def status(self, bearer: BearerText | None, call: CallId) -> Answer:
        self.statuses.append((bearer, call))
        return Refusal(reason=Reason.NO_SUCH_HOLD, detail="No such call.", call=call)

    async def refuse(self, refusal: Refusal, peer: str) -> None:
        if self.refusing_fails:
            raise self.refusing_fails
        self.refusals.append((refusal, peer))


def door_settings(
    *, limits: settings.Limits | None = None, agents: settings.AgentsDoor | None = None
) -> settings.Settings:
    return settings.Settings(
        agents=agents or settings.AgentsDoor(listen="127.0.0.1:0"),
        limits=limits or settings.Limits(header_timeout_s=5, body_timeout_s=5),
        issuers=(settings.Issuer(name="corp", issuer="https://id.example", agents_audience="gate"),),
        upstreams=(
            settings.Upstream(name="api", url="http://127.0.0.1:9/base"),
            settings.Upstream(name="openai", url="http://127.0.0.1:9", connector="openai"),
            settings.Upstream(name="stripe", url="http://127.0.0.1:9", connector="stripe"),
            settings.Upstream(name="github", url="http://127.0.0.1:9", connector="github"),
            settings.Upstream(name="anthropic", url="http://127.0.0.1:9", connector="anthropic"),
            settings.Upstream(name="slack", url="http://127.0.0.1:9", connector="slack"),
            settings.Upstream(name="own", url="http://127.0.0.1:9", host="own.example"),
        ),
    )


@asynccontextmanager
async def opened(gate: RecordingGate, *, using: settings.Settings | None = None) -> AsyncIterator[AgentsDoor]:
    numbers = itertools.count(1)
    chosen = using or door_settings()
    door = AgentsDoor(
        gate,
        chosen,
        routes=Routes(chosen.upstreams),
        new_call_id=lambda: CallId(f"call_{next(numbers):026d}"),
    )
    await door.start()
    try:
        yield door
    finally:
        await door.stop(within_s=1)


async def sent(door: AgentsDoor, raw: bytes, *more: bytes, then_close: bool = False) -> bytes:
    """Everything the door answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection(*door.address)
    try:
        for part in (raw, *more):
            writer.write(part)
            await writer.drain()
        if then_close:
            writer.write_eof()
        async with asyncio.timeout(READ_S):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def statuses_of(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n", answer)]


def status_of(answer: bytes) -> int:
    return next(iter(statuses_of(answer)), 0)


def request(
    target: str = "/api/x", *lines: str, method: str = "GET", body: bytes = b"", host: str = "localhost"
) -> bytes:
    head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines])
    length = f"\r\nContent-Length: {len(body)}" if body else ""
    return f"{head}{length}\r\n\r\n".encode() + body
