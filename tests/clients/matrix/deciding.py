"""Runs each client against a held operation, decides early, late or too late, and counts what came of it.

One gate for all of them, so that they also stand in each other's way. Every case has an agent of its own, and a mark
that stands in its call and in no other: by these the holds, the records and the calls upstream are told apart.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from policy.hold import Hold
from tests.clients.matrix.asking import Client, Meanwhile, Site
from tests.fakes.house import House, eventually, house
from tests.fakes.upstream import FakeUpstream, Received, reply, upstream
from tests.fakes.valkey import PrivateValkey

SENTENCE = "Not before the invoice is checked"
"""What the person says who rejects."""
PENDING = "approval-pending"
MOST_TRIES = 12
"""How often an agent sends the same call again before it gives up."""
LAW = """
@id("agents-may") permit (principal in Group::"bots", action, resource);
@id("everything-is-looked-at") @hold("matrix") forbid (principal is Agent, action, resource)
unless { context.approvals.count >= 1 };
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""
BUSY: dict[str, Any] = {
    "holds": {"wait_s": 30, "max_wait_s": 30, "wait_margin_s": 0.4},
}
"""Of a gate that shares two cores with dozens of clients: those that announce two seconds wait for nearly as long."""
_MARK = re.compile(rb"mk[0-9]{4}x")


class When(StrEnum):
    """When the person decides."""

    EARLY = "early"
    JUST_BEFORE = "just before"
    TOO_LATE = "at three times its timeout"


_PART = {When.EARLY: 0.0, When.JUST_BEFORE: 0.75, When.TOO_LATE: 3.0}
"""Of the client's own timeout, since it began to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A client, a moment, a decision."""

    client: Client
    when: When
    approve: bool
    number: int

    @property
    def mark(self) -> str:
        """In this call and in no other."""
        return f"mk{self.number:04}x"

    @property
    def agent(self) -> str:
        """Subject of the agent that asks."""
        return f"agent-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case."""

    case: Case
    returned: str | None
    """The object, where there was one."""
    refused: Exception | None
    """The client's own error that carried the No, where there was one."""
    meanwhile: Meanwhile
    """What the agent saw before."""
    tries: int
    holds: int
    announced: int
    """Records that say a call is held: what the channels are told from."""
    attached: int
    """Repeats that joined the hold."""
    sent: int
    """Calls that reached the upstream."""

    def check(self) -> None:
        """Raises AssertionError where the promise was not kept."""
        case = self.case
        where = f"{case.client.label}, decided {case.when}, {'approved' if case.approve else 'rejected'}: {self}"
        assert (self.holds, self.announced) == (1, 1), where
        if case.approve:
            assert self.returned == case.client.returns.format(mark=case.mark), where
            assert self.sent == 1, where
        else:
            assert isinstance(self.refused, case.client.refusal), where
            assert SENTENCE in str(self.refused), where
            assert self.sent == 0, where
        # On a busy machine a client may try again by itself where it would have been told in time.
        fine = {case.client.meanwhile, Meanwhile.OWN_RETRY, Meanwhile.WAITS_ON}
        assert self.meanwhile in fine, where


async def outcomes(clients: Sequence[Client], folder: Path) -> list[Outcome]:
    """Of every client at every moment, approved and rejected, all at once."""
    ways = [(client, when, approve) for client in clients for when in When for approve in (True, False)]
    cases = [
        Case(client=client, when=when, approve=approve, number=number)
        for number, (client, when, approve) in enumerate(ways)
    ]
    async with upstream() as api, _gate(clients, folder, api) as home:
        credentials = await _credentials(clients, home)
        watch = _Watch(home)
        home.begin(watch.run())
        async with asyncio.TaskGroup() as group:
            begun = [group.create_task(_carried_out(case, watch, api, credentials)) for case in cases]
        return [one.result() for one in begun]


@asynccontextmanager
async def _gate(clients: Sequence[Client], folder: Path, api: FakeUpstream) -> AsyncIterator[House]:
    by_mark: dict[str, Client] = {}
    for number in range(len(clients) * 6):
        by_mark[f"mk{number:04}x"] = clients[number // 6]

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        mark = mark_of(received)
        said = by_mark[mark].answer(received, mark)
        await reply(said.status, said.body, ("content-type", said.content_type))(received, writer)

    api.default = answer
    upstreams = {client.upstream: _settings(client, api) for client in clients}
    with PrivateValkey() as server:
        own = {"store": server.url, "policies": LAW, "upstreams": list(upstreams.values()), **BUSY}
        async with house(folder / "matrix", **own) as home:
            yield home


def mark_of(received: Received) -> str:
    """The mark of the case that a call belongs to."""
    found = _MARK.search(received.raw)
    assert found, f"no case asked for {received.target}"
    return found[0].decode()


def _settings(client: Client, api: FakeUpstream) -> dict[str, Any]:
    own = {
        "name": client.upstream,
        "url": f"{api.url}/{client.upstream}",
        "private_networks": True,
        "credential": {"kind": "bearer", "token": "file:credential"},
    }
    return {**own, **client.settings}


Credential = Callable[[str], Awaitable[str]]


async def _credentials(clients: Sequence[Client], home: House) -> dict[str, Credential]:
    async def token(agent: str) -> str:
        return home.agent_token(agent)

    return {client.name: await client.prepare(home) if client.prepare else token for client in clients}


class _Watch:
    """Looks into the store once for all cases, and knows the holds of each agent."""

    def __init__(self, home: House) -> None:
        self.home = home
        self._holds: dict[str, list[Hold]] = {}

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            found: dict[str, list[Hold]] = {}
            for hold in await self.home.gate.store.recent(limit=1000):
                found.setdefault(hold.call.principal.agent.rpartition(":")[2], []).append(hold)
            self._holds = found
            await asyncio.sleep(0.02)

    def of(self, agent: str) -> list[Hold]:
        """The holds of an agent."""
        return self._holds.get(agent, [])

    async def first(self, agent: str, asking: asyncio.Task[Any]) -> Hold:
        """The hold of an agent, once it is on the record. Raises what `asking` raised, where nothing came of it."""

        async def opened() -> Hold | None:
            if asking.done():
                raise AssertionError(f"{agent} was answered before anybody decided: {asking.result()}")
            holds = self.of(agent)
            return holds[0] if holds and self.home.opened(holds[0]) else None

        return await eventually(opened)


async def _carried_out(case: Case, watch: _Watch, api: FakeUpstream, credentials: dict[str, Credential]) -> Outcome:
    home, client = watch.home, case.client
    site = Site(
        url=f"{home.gate.agents_url}/{client.upstream}",
        credential=await credentials[client.name](case.agent),
        mark=case.mark,
        timeout_s=client.timeout_s,
    )
    began = time.monotonic()
    asking = home.begin(_asked(client, site))
    held = await watch.first(case.agent, asking)
    await asyncio.sleep(began + _PART[case.when] * client.timeout_s - time.monotonic())
    person = home.person(f"lead-{case.number}")
    decided = await (person.approve(held) if case.approve else person.reject(held, SENTENCE))
    assert decided.status == 200, decided.body
    ended = await asking
    records = [one for hold in watch.of(case.agent) for one in home.ledger_records(hold)]
    kinds = [one["kind"] for one in records]
    return Outcome(
        case=case,
        returned=ended.returned,
        refused=ended.refused,
        meanwhile=_seen(ended.errors, tries=ended.tries, attached=kinds.count("attached")),
        tries=ended.tries,
        holds=len(watch.of(case.agent)),
        announced=kinds.count("held"),
        attached=kinds.count("attached"),
        sent=sum(mark_of(one) == case.mark for one in api.received),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    returned: str | None = None
    refused: Exception | None = None
    errors: tuple[Exception, ...]
    """Those after which the agent sent the same call again."""
    tries: int


async def _asked(client: Client, site: Site) -> _Ended:
    """What an agent does that wants the thing done: it asks again where nobody decided, and takes a No for a No."""
    errors: list[Exception] = []
    for tries in range(1, MOST_TRIES + 1):
        try:
            returned = await client.ask(site)
        except (client.refusal, *client.gives_up) as fault:
            pending = isinstance(fault, client.gives_up) or PENDING in str(fault)
            if not pending:
                return _Ended(refused=fault, errors=tuple(errors), tries=tries)
            errors.append(fault)
        else:
            return _Ended(returned=returned, errors=tuple(errors), tries=tries)
    return _Ended(errors=tuple(errors), tries=MOST_TRIES)


def _seen(errors: Sequence[Exception], *, tries: int, attached: int) -> Meanwhile:
    if any(PENDING in str(fault) for fault in errors):
        return Meanwhile.PENDING
    if errors:
        return Meanwhile.TIMED_OUT
    return Meanwhile.OWN_RETRY if attached >= tries else Meanwhile.WAITS_ON
