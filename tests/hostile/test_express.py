"""What is remembered of a call is dropped at once when something changes that it rests on; and nothing else is bent.

In each test the memory is warm: the same call over the same connection was taken without being looked at.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.doors.connection import Connection
from proxy.express import MOST_FACES, MOST_REMEMBERED, MOST_SEEN, Express
from proxy.identity.denials import Denial, Kind
from tests.fakes.upstream import FakeUpstream, Header, drop, held, raw, reply, upstream
from tests.hostile.pair import DATED, OK, Line, Side, line_to, turns
from tests.hostile.whole import CATALOGUE, CREDENTIAL, FORM, LAW, Got, Whole, _read, a_key, whole


@dataclass(slots=True, kw_only=True)
class Agent:
    """A client on one connection, and what the gate's fast path made of its calls."""

    live: Whole
    side: Side
    line: Line
    token: str

    def call(self, target: str = "/v1/charges", *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
        head = [f"{method} /pay{target} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {self.token}", *lines]
        length = [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*head, *length, "", ""]).encode() + body

    async def send(self, call: bytes, method: str = "GET") -> Got:
        """What it is answered."""
        self.line.received.clear()
        await self.line.send(call)
        await self.line.answered((method,))
        assert self.line.received, "the connection ended without an answer"
        return _read(bytes(self.line.received))

    async def ask(self, target: str = "/v1/charges", *lines: str, method: str = "GET", body: bytes = b"") -> Got:
        """The same of a call in words."""
        return await self.send(self.call(target, *lines, method=method, body=body), method)

    async def warm(self, *call: str, **more: Any) -> None:
        """Returns when this call is taken without being looked at."""
        for _ in range(3):
            assert (await self.ask(*call, **more)).status == 200
        taken, prepared = self.side.taken, self.side.prepared
        assert (await self.ask(*call, **more)).status == 200
        assert (self.side.taken, self.side.prepared) == (taken + 1, prepared)

    async def another(self, *, source: str | None = None) -> Agent:
        """The same agent on another connection."""
        line = await line_to(self.live, source=source)
        return Agent(live=self.live, side=self.side, line=line, token=self.token)


@asynccontextmanager
async def an_agent(folder: Path, *, more: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Agent]:
    """An agent at a gate with the fast path on."""
    chosen = dict(more or {})
    chosen["agents"] = {"listen": "127.0.0.1:0", "fast_path": True} | chosen.get("agents", {})
    async with whole(folder, more=chosen, **settings) as live:
        live.upstream.default = OK
        side = Side(live=live)
        side.watch(express_of(live))
        yield Agent(live=live, side=side, line=await line_to(live), token=live.token)


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    async with an_agent(tmp_path) as found:
        yield found


@dataclass(slots=True)
class Clock:
    """Moved by hand."""

    ahead_s: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


def reads_where(condition: str) -> str:
    """The law, but that reads are permitted on a condition."""
    return LAW.replace('resource in Upstream::"pay");', f'resource in Upstream::"pay") when {{ {condition} }};', 1)


def express_of(live: Whole) -> Express:
    express = live.parts.agents._at_once
    assert isinstance(express, Express)
    return express


def clock_of(live: Whole) -> Clock:
    """The clock that credentials are judged by from now on."""
    clock, parts = Clock(), live.parts
    for owner in (express_of(live), parts.tokens, parts.agent_keys, parts.law):
        owner._now = clock.time  # type: ignore[attr-defined]
    return clock


async def in_force(live: Whole, *, law: str = LAW, catalogue: str = CATALOGUE) -> None:
    """Publishes."""
    live.law.write_text(law)
    (live.folder / "pay.yaml").write_text(catalogue)
    assert await live.gate.reload.try_publishing(), live.gate.reload.standing


async def refused(agent: Agent, status: int, reason: str, **call: Any) -> None:
    """The very next call is refused with this, and nothing is sent."""
    sent = len(agent.live.upstream.received)
    got = await agent.ask(**call)
    assert (got.status, got.said["reason"]) == (status, reason)
    assert len(agent.live.upstream.received) == sent


# Who calls.


async def test_a_token_that_has_expired_is_refused(agent: Agent):
    clock = clock_of(agent.live)
    await agent.warm()
    clock.ahead_s = 24 * 3600
    await refused(agent, 401, "identity-expired")


async def test_a_proof_older_than_a_minute_is_made_anew(agent: Agent):
    clock = clock_of(agent.live)
    await agent.warm()
    taken = agent.side.taken
    clock.ahead_s = 60
    assert (await agent.ask()).status == 200
    assert agent.side.taken == taken
    await agent.warm()


async def test_a_clock_set_back_makes_every_proof_be_made_anew(agent: Agent):
    clock = clock_of(agent.live)
    await agent.warm()
    taken = agent.side.taken
    clock.ahead_s = -5
    assert (await agent.ask()).status == 200
    assert agent.side.taken == taken


async def test_tokens_that_are_to_be_verified_anew_are(agent: Agent):
    await agent.warm()
    taken = agent.side.taken
    agent.live.parts.tokens.forget()
    assert (await agent.ask()).status == 200
    assert agent.side.taken == taken


async def test_an_agents_key_that_is_revoked_is_refused(agent: Agent):
    agent.token, key = await a_key(agent.live)
    await agent.warm()
    assert await agent.live.gate.agent_keys.revoke(key)
    await refused(agent, 401, "identity-invalid")


async def test_an_agents_key_that_was_revoked_elsewhere_is_refused_within_seconds(agent: Agent):
    clock = clock_of(agent.live)
    agent.token, key = await a_key(agent.live)
    await agent.warm()
    keys = agent.live.parts.agent_keys
    await agent.live.parts.connection.command("DEL", keys._name(key))
    clock.ahead_s = 5
    await refused(agent, 401, "identity-invalid")


async def test_an_agent_that_is_shut_out_is_refused_and_served_again_when_it_is_let_in(agent: Agent):
    await agent.warm()
    denials = agent.live.parts.denials
    await denials.add(Denial(kind=Kind.SUBJECT, value="demo:bot", by="demo:olga", reason="odd", at=1))
    await refused(agent, 401, "identity-revoked")
    await denials.remove(Kind.SUBJECT, "demo:bot")
    await agent.warm()


async def test_while_the_deny_list_is_too_old_nobody_is_let_in(agent: Agent):
    await agent.warm()
    (refreshing,) = [task for task in asyncio.all_tasks() if task.get_name() == "denials"]
    refreshing.cancel()
    await asyncio.wait({refreshing})
    agent.live.parts.denials._monotonic = Clock(ahead_s=11).monotonic
    await refused(agent, 503, "store-unavailable")


# The law.


async def test_a_prohibition_counts_from_the_next_call_on(agent: Agent):
    await agent.warm()
    await in_force(
        agent.live, law=LAW + '@id("new") forbid (principal, action == Action::"pay:charges.list", resource);'
    )
    await refused(agent, 403, "forbidden")
    await in_force(agent.live)
    await agent.warm()


async def test_a_gate_counts_from_the_next_call_on(agent: Agent):
    await agent.warm()
    gate = '@id("new") @hold("x") forbid (principal is Agent, action == Action::"pay:charges.list", resource)'
    await in_force(agent.live, law=f"{LAW}{gate} unless {{ context.approvals.count >= 1 }};")
    sent = len(agent.live.upstream.received)
    assert (await agent.ask("/v1/charges", "Prefer: respond-async")).status == 202
    assert len(agent.live.upstream.received) == sent


async def test_a_catalogue_counts_from_the_next_call_on(agent: Agent):
    await agent.warm()
    await in_force(agent.live, catalogue=CATALOGUE.replace("GET /v1/charges,", "GET /v1/others,"))
    sent = len(agent.live.upstream.received)
    assert (await agent.ask("/v1/charges", "Prefer: respond-async")).status == 202  # Of no operation any more.
    assert len(agent.live.upstream.received) == sent


async def test_nothing_keeps_a_law_that_is_no_longer_in_force(agent: Agent):
    for number in range(5):
        await agent.warm(f"/v1/charges/ch_{number}")
    await in_force(
        agent.live, law=LAW + '@id("new") permit (principal, action == Action::"pay:payouts.create", resource);'
    )
    await agent.warm()
    express = express_of(agent.live)
    assert {id(kept.law) for kept in express._remembered.values()} == {id(agent.live.parts.law.current)}


async def test_a_policy_on_the_clock_is_asked_each_time(tmp_path: Path):
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 30))
    law = reads_where(f'context.req.now < datetime("{until}")')
    async with an_agent(tmp_path, law=law) as agent:
        clock = clock_of(agent.live)
        for _ in range(3):
            assert (await agent.ask()).status == 200
        clock.ahead_s = 31
        await refused(agent, 403, "no-policy-permits")


async def test_a_policy_by_sample_is_asked_once_of_each_call(tmp_path: Path):
    async with an_agent(tmp_path, law=reads_where("context.req.sample < 5000")) as agent:
        statuses = [(await agent.ask()).status for _ in range(600)]
    # Had each call a second chance, three quarters would pass.
    assert 220 < statuses.count(200) < 380
    assert statuses.count(403) == 600 - statuses.count(200)


async def test_a_policy_that_counts_is_exact_under_racing_calls(tmp_path: Path):
    law = reads_where("context.recent.callsHour <= 20")
    async with an_agent(tmp_path, law=law) as agent:
        many = [await agent.another() for _ in range(50)]
        statuses = [got.status for got in await asyncio.gather(*(one.ask() for one in many))]
        assert (statuses.count(200), statuses.count(403)) == (20, 30)
        assert len(agent.live.upstream.received) == 20
        await refused(agent, 403, "no-policy-permits")


# Where a call comes from.


async def test_the_same_call_from_another_address_is_another(tmp_path: Path):
    law = reads_where('context.req.ip.isInRange(ip("127.0.0.1/32"))')
    async with an_agent(tmp_path, law=law) as agent:
        await agent.warm()
        elsewhere = await agent.another(source="127.0.0.2")
        await refused(elsewhere, 403, "no-policy-permits")
        await agent.warm()
        await refused(elsewhere, 403, "no-policy-permits")


async def test_a_trusted_proxy_says_where_a_call_comes_from_and_nobody_else(tmp_path: Path):
    law = reads_where('context.req.ip.isInRange(ip("10.0.0.1/32"))')
    more = {"agents": {"trusted_proxies": ["127.0.0.1/32"]}}
    async with an_agent(tmp_path, law=law, more=more) as agent:
        await agent.warm("/v1/charges", "X-Forwarded-For: 10.0.0.1")
        assert (await agent.ask("/v1/charges", "X-Forwarded-For: 10.0.0.2")).status == 403
        liar = await agent.another(source="127.0.0.2")
        assert (await liar.ask("/v1/charges", "X-Forwarded-For: 10.0.0.1")).status == 403


# The credential.


async def test_a_credential_that_is_due_is_fetched_before_anything_is_sent_with_the_old_one(tmp_path: Path):
    async with upstream(*(_tokens(f"tok_{number}_{'x' * 8}") for number in range(3))) as endpoint:
        credential = {"kind": "oauth2", "token_url": f"{endpoint.url}/token", "client_id": "gate", "client_secret": "s"}
        async with an_agent(tmp_path, credential=credential) as agent:
            clock = Clock()
            agent.live.parts.sender._credentials._now = clock.monotonic
            await agent.warm()
            echo = reply(200, b"x", DATED, ("x-echo", f"tok_0_{'x' * 8} tok_1_{'x' * 8}"))
            agent.live.upstream.default = echo
            assert (await agent.ask()).headers["x-echo"] == f"[redacted] tok_1_{'x' * 8}"
            clock.ahead_s = 3600
            assert (await agent.ask()).headers["x-echo"] == f"tok_0_{'x' * 8} [redacted]"
            await agent.warm()
            assert (await agent.ask()).headers["x-echo"] == f"tok_0_{'x' * 8} [redacted]"
            shown = [one.header("authorization") for one in agent.live.upstream.received]
    assert [shown.count(f"Bearer tok_{number}_{'x' * 8}") for number in range(3)] == [5, len(shown) - 5, 0]


def _tokens(token: str) -> Any:
    return reply(200, f'{{"access_token":"{token}","token_type":"bearer","expires_in":3600}}'.encode())


async def test_no_secret_is_in_an_answer_or_on_the_ledger(agent: Agent):
    said: list[Header] = [DATED, ("x-echo", f"Bearer {CREDENTIAL}"), (f"x-{CREDENTIAL}", "1")]
    agent.live.upstream.default = reply(200, b"x", *said)
    await agent.warm("/v1/charges", f"Assentry-Reason: {CREDENTIAL}")
    assert CREDENTIAL.encode() not in agent.line.received
    assert b"[redacted]" in agent.line.received
    written = b"".join(path.read_bytes() for path in agent.live.ledger.rglob("*") if path.is_file())
    assert [secret for secret in (agent.token, CREDENTIAL) if secret.encode() in written] == []


# The ledger.


async def test_while_the_ledger_cannot_be_written_nothing_is_sent(agent: Agent):
    await agent.warm()
    (segment,) = agent.live.ledger.glob("*/*.jsonl")
    segment.unlink()
    await refused(agent, 503, "ledger-unavailable")
    await refused(agent, 503, "ledger-unavailable")


async def test_while_the_ledgers_queue_is_full_nothing_is_sent(agent: Agent):
    await agent.warm()
    ledger = agent.live.parts.ledger
    room, ledger._room = ledger._room, 0
    await refused(agent, 503, "ledger-unavailable")
    ledger._room = room
    await agent.warm()


# Memory.


async def test_what_is_remembered_has_a_bound(agent: Agent):
    express = express_of(agent.live)
    callers = [agent, *[await agent.another() for _ in range(15)]]

    async def call(caller: Agent, first: int) -> None:
        for number in range(first, 3200, len(callers)):
            for _ in range(2):
                assert (await caller.ask(f"/v1/charges/ch_{number}")).status == 200

    await asyncio.gather(*(call(caller, number) for number, caller in enumerate(callers)))
    assert len(express._remembered) == MOST_REMEMBERED
    for number in range(2 * MOST_SEEN):
        express._came_before(b"%d" % number)
    assert len(express._seen) <= MOST_SEEN


async def test_the_heads_of_answers_that_are_kept_have_a_bound(agent: Agent):
    await agent.warm()
    express = express_of(agent.live)
    for number in range(2 * MOST_FACES // 8):
        agent.live.upstream.default = reply(200, b"x", DATED, ("x-id", str(number)), ("x-long", "y" * 30_000))
        assert (await agent.ask()).headers["x-id"] == str(number)
    kept = sum(len(value) for faces in express._faces.values() for head in faces.kept for _, value in head.headers)
    assert kept < MOST_FACES * 2048


async def test_while_there_is_no_room_for_bodies_none_is_taken(tmp_path: Path):
    async with an_agent(tmp_path, more={"limits": {"body_bytes": 100, "bodies_bytes": 100}}) as agent:
        refund: dict[str, Any] = {"method": "POST", "body": b"charge=ch_1&amount=1&note=" + b"x" * 34}
        call = "/v1/refunds", f"Content-Type: {FORM}"
        await agent.warm(*call, **refund)
        large = await agent.another()
        await large.line.send(agent.call(*call, method="POST", body=b"x" * 90)[:-10])
        sent = len(agent.live.upstream.received)
        got = await agent.ask(*call, **refund)
        assert (got.status, got.said["reason"]) == (503, "no-room")
        assert len(agent.live.upstream.received) == sent
        large.line.transport.abort()
        await large.line.over()
        await turns(20)
        await agent.warm(*call, **refund)


async def test_long_calls_are_not_remembered(agent: Agent):
    for _ in range(3):
        assert (await agent.ask("/v1/charges?a=" + "b" * 5000)).status == 200
    assert len(express_of(agent.live)._remembered) == 0


# Connections.


async def test_an_idle_connection_ends_after_calls_that_were_taken_at_once(tmp_path: Path):
    async with an_agent(tmp_path, more={"limits": {"idle_timeout_s": 0.2}}) as agent:
        await agent.warm()
        began = time.monotonic()
        await agent.line.over()
        assert agent.line.ended == "closed"
        assert time.monotonic() - began > 0.1


async def test_a_connection_in_use_does_not_end(tmp_path: Path):
    async with an_agent(tmp_path, more={"limits": {"idle_timeout_s": 0.4}}) as agent:
        began = time.monotonic()
        while time.monotonic() < began + 0.6:
            assert (await agent.ask()).status == 200


async def test_a_slow_head_after_calls_that_were_taken_at_once_is_408(tmp_path: Path):
    async with an_agent(tmp_path, more={"limits": {"header_timeout_s": 0.1}}) as agent:
        await agent.warm()
        got = await agent.send(b"GET /pay/v1/char")
        assert (got.status, got.said["reason"]) == (408, "too-slow")


async def test_a_slow_call_that_was_taken_at_once_is_not_idle(tmp_path: Path):
    async with an_agent(tmp_path, more={"limits": {"idle_timeout_s": 0.1, "header_timeout_s": 0.1}}) as agent:
        await agent.warm()
        later = asyncio.Event()
        agent.live.upstream.script(held(later, OK))
        asyncio.get_running_loop().call_later(0.35, later.set)
        assert (await agent.ask()).status == 200


async def test_a_stop_finishes_a_call_that_was_taken_at_once_and_ends_idle_connections(agent: Agent):
    idle = await agent.another()
    await idle.warm()
    await agent.warm()
    later = asyncio.Event()
    agent.live.upstream.script(held(later, OK))
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(agent.ask())
        await agent.live.upstream.until(lambda seen: len(seen.received) == 9)
        stopping = group.create_task(agent.live.parts.agents.stop(within_s=5))
        await idle.line.over()
        assert not asked.done()
        later.set()
        got = await asked
        await stopping
    assert (got.status, got.headers["connection"]) == (200, "close")
    await agent.line.over()
    assert agent.line.ended == "closed"


async def test_a_call_that_outlasts_the_stop_is_on_the_ledger_with_its_end(tmp_path: Path):
    later = asyncio.Event()
    async with an_agent(tmp_path, more={"limits": {"shutdown_s": 0.1}}) as agent:
        await agent.warm()
        agent.live.upstream.script(held(later, OK))
        await agent.line.send(agent.call("/v1/charges"))
        await agent.live.upstream.until(lambda seen: len(seen.received) == 5)
    await agent.line.over()
    assert _ends(agent.live)[-1] == "upstream-broke-off"
    assert agent.live.findings() == []


async def test_a_call_whose_client_has_left_is_sent_once_and_concluded(agent: Agent):
    await agent.warm()
    later = asyncio.Event()
    agent.live.upstream.script(held(later, OK))
    await agent.line.send(agent.call())
    await agent.live.upstream.until(lambda seen: len(seen.received) == 5)
    agent.line.transport.abort()
    await turns(20)
    later.set()
    await _until(lambda: _ends(agent.live) == ["executed"] * 5)
    assert len(agent.live.upstream.received) == 5


async def test_a_client_that_leaves_at_once_leaves_nothing_open(agent: Agent):
    await agent.warm()
    for _ in range(20):
        one = await agent.another()
        one.line.transport.write(agent.call())
        one.line.transport.abort()
    await turns(20)
    await agent.warm()
    sent = len(agent.live.upstream.received)
    await _until(lambda: _ends(agent.live) == ["executed"] * sent)
    assert cast("Any", agent.live.parts.agents._server).running == 0


async def test_a_client_that_does_not_read_is_waited_for_no_longer_than_any_other(tmp_path: Path):
    async with an_agent(tmp_path, more={"limits": {"stall_timeout_s": 0.3}}) as agent:
        await agent.warm()
        agent.live.upstream.default = reply(200, b"x" * 60_000, DATED)
        deaf = await _deaf(agent)
        server = cast("Any", agent.live.parts.agents._server)
        gates_end = next(one for one in server.connections if one.transport and _peer(one) == deaf.getsockname())
        transport = gates_end.transport
        most, sent, before = 0, 0, len(_ends(agent.live))
        async with asyncio.timeout(5):
            while not transport.is_closing():
                if not gates_end.writing_paused and len(_ends(agent.live)) == before + sent:
                    await asyncio.get_running_loop().sock_sendall(deaf, agent.call())
                    sent += 1
                most = max(most, transport.get_write_buffer_size())
                await asyncio.sleep(0.002)
        deaf.close()
        assert 0 < most < 300_000


async def _deaf(agent: Agent) -> socket.socket:
    host, _, port = agent.live.gate.agents_url.removeprefix("http://").rpartition(":")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    await asyncio.get_running_loop().sock_connect(deaf, (host, int(port)))
    await turns()
    return deaf


def _peer(connection: Connection) -> object:
    return connection.transport.get_extra_info("peername") if connection.transport else None


async def test_a_call_behind_one_whose_answer_failed_is_not_carried(agent: Agent):
    await agent.warm()

    async def failing(*_: object) -> None:
        raise ValueError("a fault of ours")

    agent.live.parts.agents._write = failing  # type: ignore[assignment, method-assign]
    later = asyncio.Event()
    agent.live.upstream.script(held(later, reply(200, b"undated")))
    await agent.line.send(agent.call(), agent.call("/v1/charges/ch_behind"))
    await agent.live.upstream.until(lambda seen: len(seen.received) == 5)
    later.set()
    await agent.line.over()
    await turns(20)
    assert [one.target for one in agent.live.upstream.received].count("/base/v1/charges/ch_behind") == 0


# Upstreams.


async def test_an_upstream_that_closes_as_the_call_comes_gets_it_once_or_not_at_all(agent: Agent):
    await agent.warm()
    agent.live.upstream.default = raw(b"HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 1\r\n\r\nx", close=True)
    await _once_each(agent, 150)


async def test_an_upstream_that_closes_instead_of_answering_gets_each_call_once(agent: Agent):
    await agent.warm()
    for _ in range(30):
        agent.live.upstream.script(OK, drop())
    statuses = await _once_each(agent, 60)
    assert statuses.count(502) == 30


async def _once_each(agent: Agent, count: int) -> list[int]:
    before = len(agent.live.upstream.received)
    statuses = []
    for number in range(count):
        statuses.append((await agent.ask(f"/v1/charges/ch_{number}")).status)
        if agent.line.ended:
            agent.line = (await agent.another()).line
        await turns(number % 4)
    targets = [one.target for one in agent.live.upstream.received[before:]]
    assert len(set(targets)) == len(targets)
    assert len(targets) == sum(status != 503 for status in statuses)
    return statuses


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/v1/charges"), ("HEAD", "/v1/charges"), ("DELETE", "/v1/charges/ch_1"), ("POST", "/v1/refunds")],
)
async def test_each_call_reaches_the_upstream_once(agent: Agent, method: str, target: str):
    body = b"charge=ch_1&amount=1" if method == "POST" else b""
    for number in range(5):
        assert (await agent.ask(target, f"Content-Type: {FORM}", method=method, body=body)).status == 200
        assert len(agent.live.upstream.received) == number + 1
    assert {(one.method, one.body) for one in agent.live.upstream.received} == {(method, body)}


async def test_more_calls_at_once_than_connections_wait_their_turn(tmp_path: Path):
    async with an_agent(tmp_path, connections=2) as agent:
        await agent.warm()
        many = [await agent.another() for _ in range(20)]
        later = asyncio.Event()
        agent.live.upstream.default = held(later, OK)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(one.ask()) for one in many]
            await agent.live.upstream.until(lambda seen: len(seen.received) == 6)
            await turns(50)
            assert len(agent.live.upstream.received) == 6
            later.set()
        assert [one.result().status for one in asked] == [200] * 20
        assert _most_open(agent.live.upstream) <= 2
        assert len(agent.live.upstream.received) == 24


def _most_open(fake: FakeUpstream) -> int:
    return fake.connections


def _ends(live: Whole) -> list[str]:
    return [record["reason"] for record in live.records() if record["kind"] == "concluded"]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.005)
