"""All bodies together: what is refused while there is no room for one more, and when there is room again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from config import settings
from policy.reasons import Reason
from proxy.doors.agents import AgentsDoor
from proxy.doors.room import Room
from proxy.errors import Outage
from tests.fakes.agents_door import RecordingGate, door_settings, opened, request, sent, status_of

CLOSE = "Connection: close"
CHUNKED = "Transfer-Encoding: chunked"
LIMITS = settings.Limits(body_bytes=1000, bodies_bytes=1500, body_timeout_s=5)


def upload(size: int, *lines: str) -> bytes:
    return request("/api/x", *lines, CLOSE, method="POST", body=b"x" * size)


@dataclass
class InHand:
    """A call whose body the gate has."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def status(self) -> int:
        answer = await self.reader.read()
        self.writer.close()
        await self.writer.wait_closed()
        return status_of(answer)


async def in_hand(door: AgentsDoor, gate: RecordingGate, raw: bytes) -> InHand:
    gate.arrived.clear()
    reader, writer = await asyncio.open_connection(*door.address)
    writer.write(raw)
    async with asyncio.timeout(5):
        await gate.arrived.wait()
    return InHand(reader, writer)


async def test_a_body_that_does_not_fit_is_refused_before_it_comes_and_fits_once_another_is_answered() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    assert gate.hold is not None
    async with opened(gate, using=door_settings(limits=LIMITS)) as door:
        first = await in_hand(door, gate, upload(900))
        head = upload(900).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        answer = await sent(door, head)  # and not one byte of the body
        assert status_of(answer) == 503
        assert b"\r\nRetry-After: " in answer
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (document["reason"], document["retryable"]) == ("no-room", True)
        assert [(refusal.reason, len(gate.arrivals)) for refusal, _ in gate.refusals] == [(Reason.NO_ROOM, 1)]
        gate.hold.set()
        assert await first.status() == 200
        assert status_of(await sent(door, upload(900))) == 200


async def test_a_call_without_a_body_and_one_that_still_fits_go_on() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    assert gate.hold is not None
    async with opened(gate, using=door_settings(limits=LIMITS)) as door:
        calls = [await in_hand(door, gate, raw) for raw in (upload(900), request("/api/y", CLOSE), upload(600))]
        gate.hold.set()
        assert [await call.status() for call in calls] == [200] * 3


async def test_a_chunked_body_is_refused_where_it_outgrows_the_room() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    assert gate.hold is not None
    async with opened(gate, using=door_settings(limits=LIMITS)) as door:
        first = await in_hand(door, gate, upload(900))
        raw = request("/api/x", CHUNKED, CLOSE, method="POST") + b"300\r\n" + b"x" * 0x300 + b"\r\n"
        assert status_of(await sent(door, raw)) == 503
        gate.hold.set()
        assert await first.status() == 200
        assert status_of(await sent(door, raw + b"0\r\n\r\n")) == 200


async def test_a_body_that_was_announced_and_does_not_come_takes_no_room() -> None:
    async with opened(RecordingGate(), using=door_settings(limits=LIMITS)) as door:
        _, writer = await asyncio.open_connection(*door.address)
        writer.write(upload(1000)[:-900])
        await writer.drain()
        assert status_of(await sent(door, upload(1000))) == 200
        writer.close()


async def test_a_call_that_waits_for_people_takes_no_room() -> None:
    gate = RecordingGate(hold=asyncio.Event(), holds=True)
    assert gate.hold is not None
    async with opened(gate, using=door_settings(limits=LIMITS)) as door:
        held = [await in_hand(door, gate, upload(1000)) for _ in range(3)]
        gate.hold.set()
        assert [await call.status() for call in held] == [200] * 3


def test_room_is_given_back_whatever_became_of_the_body() -> None:
    room = Room(limit_bytes=10)
    with room.place(10) as place:
        place.grow_to(6)
        with pytest.raises(Outage):
            place.grow_to(11)
        assert room.taken_bytes == 6
    assert room.taken_bytes == 0
    with pytest.raises(Outage), room.place(8) as place:
        place.grow_to(12)
    assert room.taken_bytes == 0
