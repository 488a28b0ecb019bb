"""Many held calls at once: what they leave in memory, what they cost the loop, and how they all go out."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from policy.hold import Hold
from tests.fakes.house import House, eventually
from tests.fakes.upstream import Received, held, reply

CROWD = {"open_per_agent": 1000}
Waiting = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def begun(home: House, path: str, body: bytes) -> Waiting:
    """A call on a connection of its own that has been sent; nothing of it is kept on this side."""
    url = home.gate.agents_url
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    lines = (
        f"PUT {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {home.agent_token()}",
        "Content-Type: application/json", "Prefer: wait=30", f"Content-Length: {len(body)}", "", "",
    )  # fmt: skip
    writer.write("\r\n".join(lines).encode() + body)
    await writer.drain()
    return reader, writer


@asynccontextmanager
async def waiting(home: House, count: int) -> AsyncIterator[list[Waiting]]:
    """So many calls, each held and each waited for."""
    calls = [await begun(home, f"/crm/archive/{n}", b'{"n": %d}' % n) for n in range(count)]
    try:
        await all_held(home, count)
        yield calls
    finally:
        for _, writer in calls:
            writer.close()


async def all_held(home: House, count: int) -> Sequence[Hold]:
    """The holds, once all of them are open and on the record, and their waits have begun."""

    async def there() -> Sequence[Hold] | None:
        holds = await home.gate.store.open_holds(limit=count + 1)
        recorded = [record for record in home.ledger_records() if record["kind"] == "held"]
        return holds if len(holds) == len(recorded) == count else None

    return await eventually(there)


async def status(call: Waiting) -> int:
    head = await call[0].readuntil(b"\r\n\r\n")
    found = re.match(rb"HTTP/1.1 (\d+) ", head)
    assert found is not None
    return int(found[1])


def holders(needle: str) -> Counter[str]:
    """The types of what refers to bytes or text with the needle in it."""
    gc.collect()
    found: Counter[str] = Counter()
    for owner in gc.get_objects():
        for part in gc.get_referents(owner):
            text = part if isinstance(part, str) else ""
            raw = bytes(part) if isinstance(part, bytes | bytearray) else b""
            if part is not needle and (needle in text or needle.encode() in raw):
                found[type(owner).__qualname__] += 1
    return found


async def test_nothing_of_a_held_body_is_in_memory_while_people_decide_and_all_of_it_is_sent(open_house):
    async with open_house(holds=CROWD) as home:
        needle = secrets.token_hex(16)
        call = await begun(home, "/crm/archive/1", json.dumps({"note": f"about {needle}"}).encode())
        (hold,) = await all_held(home, 1)

        async def forgotten() -> bool | None:
            return not holders(needle) or None

        await eventually(forgotten)
        await home.person("ann").approve(hold)

        assert await status(call) == 200
        assert json.loads(home.upstream.received[0].body) == {"note": f"about {needle}"}
        call[1].close()


async def test_a_hundred_held_calls_cost_no_task_and_no_timer_beyond_those_of_their_connections(open_house):
    async with open_house(holds=CROWD) as home:
        await home.call("GET", "/crm/notes/1")
        before, timers = running(), armed()
        async with waiting(home, 100):
            tasks = running() - before
            assert tasks.keys() <= {"RequestHandler.start", "RequestHandler._handle_request"}
            assert tasks.total() <= 200
            added = armed() - timers
            assert added.pop("Connection._process_keepalive", 0) <= 100
            assert added.total() <= 20  # the shared ones, and limits of what the store is asked just now; not a hundred


async def test_two_hundred_approved_at_once_go_out_over_eight_connections_once_each(open_house):
    patience = {"connections": 8, "connect_timeout_s": 1.0}
    async with open_house(holds=CROWD, each_upstream=patience) as home:
        go, most = asyncio.Event(), 0

        async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
            nonlocal most
            most = max(most, home.upstream.open)
            await held(go, reply())(received, writer)

        home.upstream.default = answer
        async with waiting(home, 200) as calls:
            ann = home.person("ann")
            holds = await home.gate.store.open_holds(limit=300)
            clicks = await asyncio.gather(*(ann.approve(hold) for hold in holds))
            assert {click.status for click in clicks} == {200}
            await home.upstream.until_received(8)
            go.set()
            assert Counter([await status(call) for call in calls]) == {200: 200}
        sent = Counter(one.body for one in home.upstream.received)
        assert (len(sent), sent.total()) == (200, 200)
        assert most <= 8


def running() -> Counter[str]:
    return Counter(task.get_coro().__qualname__ for task in asyncio.all_tasks())


def armed() -> Counter[str]:
    """What the loop's timers will call."""
    handles = asyncio.get_running_loop()._scheduled
    return Counter(handle._callback.__qualname__ for handle in handles if not handle.cancelled())
