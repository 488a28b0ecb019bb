"""Runs each client against a held operation, decides early, late or too late, and counts what came of it.

One gate for all of them, so that they also stand in each other's way. Every case has an agent of its own, and a mark
that stands in its call and in no other: by these the holds, the records and the calls upstream are told apart.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

from policy.hold import Hold
from tests.clients.matrix.asking import Client, Meanwhile, Site, Surroundings, mark
from tests.fakes.certificates import authority
from tests.fakes.house import House, eventually, house
from tests.fakes.upstream import Answer, FakeUpstream, Received, upstream
from tests.fakes.valkey import PrivateValkey

SENTENCE = "Not before the invoice is checked"
"""What the person says who rejects."""
PENDING = "approval-pending"
STAGGER_S = 0.1
"""Between two cases."""
LIMIT_S = 90.0
"""Of one case, from the beginning of all."""
MOST_TRIES = 12
"""How often an agent sends the same call again before it gives up."""
LAW = """
@id("agents-may") permit (principal in Group::"bots", action, resource);
@id("everything-is-looked-at") @hold("matrix") forbid (principal is Agent, action, resource)
when { !(action in Action::"read") }
unless { context.approvals.count >= 1 };
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""
BUSY: dict[str, Any] = {
    "holds": {"wait_s": 30, "max_wait_s": 30, "wait_margin_s": 0.6, "interim_every_s": 0.6},
}
"""What is measured in seconds is shortened with the clients' timeouts, so that one bears to the other as without."""


class When(StrEnum):
    """When the person decides."""

    EARLY = "early"
    JUST_BEFORE = "just before"
    TOO_LATE = "at three times its timeout"
    UNHEARD = "at two and a half times, with nothing heard meanwhile"


_PART = {When.EARLY: 0.0, When.JUST_BEFORE: 0.75, When.TOO_LATE: 3.0, When.UNHEARD: 2.5}
"""Of the client's own timeout, since it began to ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A client, a moment, a decision."""

    client: Client
    when: When
    approve: bool
    number: int

    @property
    def place(self) -> tuple[bool, bool]:
        """Which gate it meets: over TLS or not, with interim responses or without."""
        return self.client.tls, self.when is When.UNHEARD

    @property
    def expected(self) -> Meanwhile | None:
        """What the agent sees before the end, where it sees that for certain."""
        return {When.TOO_LATE: self.client.meanwhile, When.UNHEARD: self.client.unheard}.get(self.when)

    @property
    def mark(self) -> str:
        """In this call and in no other."""
        return mark(self.number)

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
        assert case.expected is None or self.meanwhile in {case.expected, Meanwhile.OWN_RETRY}, where


async def outcomes(clients: Sequence[Client], folder: Path) -> list[Outcome]:
    """Of every client at every moment, approved and rejected, all at once; in the order of the clients."""
    ways = [
        (client, when, approve)
        for client in clients
        for when in When
        for approve in (True, False)
        if when is not When.UNHEARD or client.unheard is not None
    ]
    cases = [
        Case(client=client, when=when, approve=approve, number=number)
        for number, (client, when, approve) in enumerate(ways)
    ]
    places = {place: [case for case in cases if case.place == place] for place in product((False, True), repeat=2)}
    with _quick_turns():
        ran = await asyncio.gather(*(_outcomes(own, folder / f"{place}") for place, own in places.items()))
    return sorted((one for some in ran for one in some), key=lambda one: one.case.number)


@contextmanager
def _quick_turns() -> Iterator[None]:
    """The gates share this process with the threads of many clients, and must not wait long for their turn."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def _outcomes(cases: Sequence[Case], folder: Path) -> list[Outcome]:
    if not cases:
        return []
    folder.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs yet
    async with _place(cases, folder) as place, asyncio.TaskGroup() as group:
        begun = [group.create_task(_in_time(case, place)) for case in cases]
    return [one.result() for one in begun]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A gate with everything around it."""

    watch: _Watch
    folder: Path
    ca: Path | None
    calls: Callable[[Case], int]


@asynccontextmanager
async def _place(cases: Sequence[Case], folder: Path) -> AsyncIterator[_Place]:
    clients = {case.client.upstream: case.client for case in cases}
    async with AsyncExitStack() as stack:
        server = stack.enter_context(PrivateValkey())
        api = await stack.enter_async_context(upstream())
        api.default = _answering(cases)
        around = {}
        for name, client in clients.items():
            if client.around is not None:
                (folder / name).mkdir()
                around[name] = await stack.enter_async_context(client.around(folder / name, api.url))
        unheard = cases[0].when is When.UNHEARD
        upstreams = [_settings(client, api, around.get(name), unheard=unheard) for name, client in clients.items()]
        own: dict[str, Any] = {"store": server.url, "policies": LAW, "upstreams": upstreams, **BUSY}
        ca = None
        if cases[0].client.tls:
            trusted = authority(folder)
            certificate, key = map(str, trusted.issue("127.0.0.1"))
            own["agents"], ca = {"tls": {"certificate": certificate, "key": key}}, trusted.ca_file
        home = await stack.enter_async_context(house(folder / "house", **own))
        watch = _Watch(home)
        home.begin(watch.run())

        def calls(case: Case) -> int:
            elsewhere = around.get(case.client.upstream)
            if elsewhere is not None and elsewhere.calls is not None:
                return elsewhere.calls(case.mark)
            return sum(case.mark.encode() in one.raw for one in api.received)

        yield _Place(watch=watch, folder=folder, ca=ca, calls=calls)


def _answering(cases: Sequence[Case]) -> Answer:
    by_mark = {case.mark.encode(): case.client for case in cases}
    by_upstream = {case.client.upstream: case.client for case in cases}

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        mine = [client for word, client in by_mark.items() if word in received.raw]
        # What a client asks beside its call (kubectl: what there is) bears no mark.
        client = mine[0] if mine else by_upstream[received.target.split("/")[1]]
        await client.answer(received, writer)

    return answer


def _settings(client: Client, api: FakeUpstream, around: Surroundings | None, *, unheard: bool) -> dict[str, Any]:
    own = {
        "name": client.upstream,
        "url": f"{api.url}/{client.upstream}",
        "private_networks": True,
        # To the client it is the same whether they are swallowed or not sent.
        "interim": not unheard,
        "credential": {"kind": "bearer", "token": "file:credential"},
    }
    return {**own, **client.settings, **(around.settings if around else {})}


class _Watch:
    """Looks into the store for all cases at once, and knows the holds of each agent."""

    def __init__(self, home: House) -> None:
        self.home = home
        self._holds: dict[str, list[Hold]] = {}

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(0.1)

    async def look(self) -> None:
        """Looks once."""
        found: dict[str, list[Hold]] = {}
        for hold in await self.home.gate.store.recent(limit=1000):
            found.setdefault(hold.call.principal.agent.rpartition(":")[2], []).append(hold)
        self._holds = found

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

        return await eventually(opened, 60)


async def _in_time(case: Case, place: _Place) -> Outcome:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _carried_out(case, place)
    except TimeoutError as exc:
        raise AssertionError(f"{case.client.label}, {case.when}, {case.approve}: not at its end in time") from exc


async def _carried_out(case: Case, place: _Place) -> Outcome:
    watch, client = place.watch, case.client
    home = watch.home
    # Not all at once: what is to be seen is how clients wait, not how many of them a small machine can start.
    await asyncio.sleep(case.number * STAGGER_S)
    asking = home.begin(_asked(client, await _site(case, place)))
    held = await watch.first(case.agent, asking)
    await asyncio.sleep(held.opened_at + _PART[case.when] * client.timeout_s - time.time())
    person = home.person(f"lead-{case.number}")
    decided = await (person.approve(held) if case.approve else person.reject(held, SENTENCE))
    assert decided.status == 200, decided.body
    ended = await asking
    await watch.look()
    holds = watch.of(case.agent)
    kinds = [one["kind"] for hold in holds for one in home.ledger_records(hold)]
    return Outcome(
        case=case,
        returned=ended.returned,
        refused=ended.refused,
        meanwhile=_seen(ended.errors, tries=ended.tries, attached=kinds.count("attached")),
        tries=ended.tries,
        holds=len(holds),
        announced=kinds.count("held"),
        attached=kinds.count("attached"),
        sent=place.calls(case),
    )


async def _site(case: Case, place: _Place) -> Site:
    home, client = place.watch.home, case.client
    folder = place.folder / case.mark
    folder.mkdir()
    return Site(
        url=f"{home.gate.agents_url}/{client.upstream}",
        credential=await client.credential(home, case.agent) if client.credential else home.agent_token(case.agent),
        mark=case.mark,
        timeout_s=client.timeout_s,
        folder=folder,
        ca=place.ca,
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
