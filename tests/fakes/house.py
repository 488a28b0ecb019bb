"""A whole gate on loopback sockets, with everything around it: an issuer, an upstream that records, people, agents.

    async with house(tmp_path, store=valkey.url) as home:
        asked = home.begin(home.call("POST", "/stripe/v1/refunds", form={"amount": "25000", "charge": "ch_1"}))
        held = await home.wait_for_hold()
        await home.person("ann").approve(held)
        assert (await asked).status == 200
        assert await home.told(held) == ["held", "clicked approve", "moved approved", "released", "concluded executed"]

The gate is made by `proxy.wiring` from a settings file, as in production. `home.beside()` is a second replica on the
same store, with a data directory of its own. When a house closes, its ledger has to verify and to be free of secrets.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from aiohttp import ClientSession, ClientTimeout

from config.load import load
from policy.call import CallId
from policy.hold import OPEN, Hold, State
from policy.principal import Identity
from proxy.audit.ledger import Durability
from proxy.audit.record import Record
from proxy.doors.arrival import BearerText
from proxy.errors import Outage
from proxy.holds.connection import StoreConnection, connect
from proxy.identity.agent_keys import AgentKey
from proxy.identity.key_office import KeyOffice
from proxy.wiring import Running, running
from tests.fakes import ledgers
from tests.fakes.issuer import FakeIssuer
from tests.fakes.upstream import FakeUpstream, upstream
from tests.fakes.ways import FAST_PATH

T = TypeVar("T")

PATIENCE_S = 15.0
CREDENTIAL = "sk_upstream_4eC39HqLyjWDarjtT1zdp7dc"
"""What the gate attaches for the upstreams; no agent and no file of ours may ever see it."""
ENCRYPTION_KEY = base64.b64encode(b"e" * 32).decode()
EACH_UPSTREAM = "each_upstream"
"""Among a house's settings, what is laid over every upstream of it: `each_upstream={"connections": 8}`."""
OF_THE_LEDGER = frozenset({"segment", "healed", "checkpoint", "published"})
"""Kinds of records that belong to no story."""

POLICIES = """
@id("bots-may") permit (principal in Group::"bots", action, resource);

@id("no-payouts") @reason("Agents never pay out.")
forbid (principal is Agent, action == Action::"stripe:payouts.create", resource);

@id("refund-over-100") @hold("finance")
forbid (principal is Agent, action == Action::"stripe:refunds.create", resource)
when { if context.input has amount then context.input.amount > 10000 else true }
unless { context.approvals.quorum.contains(Quorum::"leads:1") };

@id("refund-over-1000") @hold("finance") @severity("high")
forbid (principal is Agent, action == Action::"stripe:refunds.create", resource)
when { if context.input has amount then context.input.amount > 100000 else true }
unless { context.approvals.quorum.contains(Quorum::"leads:2") };

@id("stored-answers") @hold("models")
forbid (principal is Agent, action == Action::"openai:responses.create", resource)
unless { context.approvals.count >= 1 };

@id("archive") @hold("archive")
forbid (principal is Agent, action in [Action::"crm:archive.put", Action::"crm:archive.delete"], resource)
unless { context.approvals.count >= 1 };

@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""

CATALOGUE = """
operations:
  notes.read: {call: "GET /notes/{id}"}
  notes.put: {call: "PUT /notes/{id}"}
  notes.delete: {call: "DELETE /notes/{id}"}
  archive.put: {call: "PUT /archive/{id}"}
  archive.delete: {call: "DELETE /archive/{id}"}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a door answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return json.loads(self.body)

    @property
    def call(self) -> CallId:
        """The id of the call, from its header."""
        return CallId(self.headers["assentry-call"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Somebody who decides, through the approvers' API of one gate."""

    home: House
    token: BearerText

    def at(self, home: House) -> Approver:
        """The same person, at another gate."""
        return replace(self, home=home)

    async def ask(self, method: str, path: str, document: object = None) -> Reply:
        """What the approvers' door answers to this person."""
        return await self.home.knock(
            method, self.home.gate.approvers_url + path, headers=bearer(self.token), document=document
        )

    async def see(self, hold: Hold) -> Reply:
        """The brief of a hold."""
        return await self.ask("GET", f"/v1/holds/{hold.call.id}")

    async def approve(self, hold: Hold, reason: str = "") -> Reply:
        """Look at it, then approve what was shown."""
        return await self._decide("approve", hold, reason)

    async def reject(self, hold: Hold, reason: str = "") -> Reply:
        """Look at it, then reject it."""
        return await self._decide("reject", hold, reason)

    async def withdraw(self, hold: Hold, reason: str = "") -> Reply:
        """Take it back."""
        return await self._decide("withdraw", hold, reason)

    async def _decide(self, act: str, hold: Hold, reason: str) -> Reply:
        seen = await self.see(hold)
        if seen.status != 200:
            return seen
        decision = {"fingerprint": seen.json["fingerprint"], "shown": seen.json["shown"], "reason": reason}
        return await self.ask("POST", f"/v1/holds/{hold.call.id}/{act}", decision)


@dataclass(slots=True, kw_only=True)
class House:
    """A running gate and its surroundings."""

    folder: Path
    issuer: FakeIssuer
    upstream: FakeUpstream
    gate: Running
    settings: Mapping[str, Any]
    client: ClientSession
    secrets: set[str]
    """Everything that may never be written anywhere: credentials and tokens, as they were handed out."""
    _houses: list[House]
    """This one and those beside it."""
    _begun: list[asyncio.Task[Any]] = field(default_factory=list)

    # Who is who.

    def agent_token(self, sub: str = "bot", *, groups: Sequence[str] = ("bots",), **claims: Any) -> BearerText:
        """A token of an agent that Olga answers for; claims as for `FakeIssuer.agent_token`."""
        told = {"groups": list(groups), "owner": "olga", **claims}
        return self._secret(self.issuer.agent_token(sub, **told))

    def person_token(self, name: str, *, groups: Sequence[str] = ("leads",), **claims: Any) -> BearerText:
        """A token of a person, in these groups from now on."""
        told = {"name": name.title(), "groups": list(groups), **claims}
        return self._secret(self.issuer.person_token(name, **told))

    def person(self, name: str, *, groups: Sequence[str] = ("leads",), **claims: Any) -> Approver:
        """Somebody at the approvers' door of this gate."""
        return Approver(home=self, token=self.person_token(name, groups=groups, **claims))

    async def agent_key(self, sub: str = "keyed", *, groups: Sequence[str] = ("bots",)) -> BearerText:
        """A key for SDKs that cannot fetch tokens."""
        whose, owner = Identity(f"corp:{sub}"), Identity("corp:olga")
        _, key = await self._office.issue(whose, owner=owner, groups=frozenset(groups), lifetime_s=3600)
        return self._secret(key)

    async def agent_pair(self, sub: str = "signing", *, groups: Sequence[str] = ("bots",)) -> AgentKey:
        """A key to sign with, for AWS's SDKs."""
        whose, owner = Identity(f"corp:{sub}"), Identity("corp:olga")
        key = await self._office.issue_pair(whose, owner=owner, groups=frozenset(groups), lifetime_s=3600)
        self.secrets.add(key.signing_secret)
        return key

    async def revoke(self, key: BearerText) -> None:
        """The key is in force no more."""
        assert await self._office.revoke(key.split("_")[1]) is not None

    @property
    def _office(self) -> KeyOffice:
        async def write(record: Record) -> None:
            await self.gate.ledger.record(record, Durability.SYNCED)

        return KeyOffice(self.gate.agent_keys, write=write, account="house")

    def _secret(self, token: BearerText) -> BearerText:
        self.secrets.add(token)
        return token

    # What agents do.

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: object = None,
        body: bytes | None = None,
    ) -> Reply:
        """What the agents' door answers. `token`: None is a fresh one of the agent `bot`, empty is none at all."""
        shown = self.agent_token() if token is None else token
        sent = {**(bearer(shown) if shown else {}), **(headers or {})}
        url = self.gate.agents_url + path
        return await self.knock(method, url, headers=sent, form=form, document=document, body=body)

    async def refund(self, amount: int = 25_000, *, charge: str = "ch_1", **more: Any) -> Reply:
        """A refund: up to 100.00 is allowed, above it one lead has to approve, above 1,000.00 two."""
        form = {"charge": charge, "amount": str(amount), "currency": "eur"}
        return await self.call("POST", "/stripe/v1/refunds", form=form, **more)

    async def status(self, call: CallId, *, token: str | None = None) -> Reply:
        """What became of a call, as its agent is told."""
        return await self.call("GET", f"/v1/calls/{call}", token=token)

    async def knock(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
        document: object = None,
        body: bytes | None = None,
    ) -> Reply:
        """What a door answers."""
        content: dict[str, Any] = {"data": form if form is not None else body} if document is None else {}
        content = {"json": document} if document is not None else content
        asked = self.client.request(method, url, headers=dict(headers), allow_redirects=False, **content)
        async with asked as answered:
            fields = {name.lower(): value for name, value in answered.headers.items()}
            return Reply(status=answered.status, headers=fields, body=await answered.read())

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that goes on beside the test, until it is awaited or the house closes. Cancelling a call hangs up."""
        task = asyncio.get_running_loop().create_task(work)
        self._begun.append(task)
        return task

    # What came of it.

    async def wait_for_hold(self, *, besides: Sequence[Hold] = (), state: State = State.PENDING) -> Hold:
        """A hold in this state, on the record, that is none of those already known."""
        known = {hold.call.id for hold in besides}

        async def found() -> Hold | None:
            recent = await self.gate.store.recent(limit=100)
            new = (one for one in recent if one.call.id not in known and one.state is state)
            return next((one for one in new if any(home.opened(one) for home in self._houses)), None)

        return await eventually(found)

    def opened(self, hold: Hold) -> bool:
        """Whether it was this gate that opened the hold, and has put it on the record."""
        return any(record["kind"] == "held" for record in self.ledger_records(hold))

    async def wait_until(self, hold: Hold, *states: State) -> Hold:
        """The hold, once it is in one of these states."""

        async def there() -> Hold | None:
            current = await self.gate.store.read(hold.call.id)
            return current if current is not None and current.state in states else None

        return await eventually(there)

    async def waiting_for(self, hold: Hold, clients: int) -> None:
        """Returns when so many clients wait for its answer, over all replicas."""

        async def so_many() -> bool | None:
            seen = await self.gate.store.look(hold.call.id, body=False)
            return True if seen is not None and seen.waiting == clients else None

        await eventually(so_many)

    async def shown_as_left(self, hold: Hold) -> None:
        """Returns when nobody waits for its answer."""
        await self.waiting_for(hold, 0)

    async def wait_for_time(self, at: float) -> None:
        """Returns when the store's clock, which cannot be moved, has come so far."""

        async def come() -> bool | None:
            return True if await self.gate.store.now() >= at else None

        await eventually(come)

    async def holds(self) -> list[Hold]:
        """Every hold of this house that the store remembers."""
        return list(await self.gate.store.recent(limit=100))

    async def open_holds(self) -> list[Hold]:
        """Those that wait for people."""
        return [hold for hold in await self.holds() if hold.state in OPEN]

    def ledger_records(self, call: CallId | Hold | None = None) -> list[dict[str, Any]]:
        """The records of this gate in order, all of them or those of one call."""
        wanted = call.call.id if isinstance(call, Hold) else call
        lines = [line for chain in sorted(self.ledger.iterdir()) if chain.is_dir() for line in _lines(chain)]
        told = [record for line in lines if (record := json.loads(line))["kind"] not in OF_THE_LEDGER]
        return [record for record in told if wanted in (None, record["call"])]

    async def told(self, call: CallId | Hold, *, ends: str = "") -> list[str]:
        """The records of one call in a few words each, once the last of them begins with `ends`."""

        async def complete() -> list[str] | None:
            words = [_in_words(record) for record in self.ledger_records(call)]
            return words if words and words[-1].startswith(ends) else None

        return await eventually(complete)

    @property
    def ledger(self) -> Path:
        """Where the chains are."""
        return self.folder / "state" / "ledger"

    def verify_ledger(self) -> None:
        """Fails when anything is wrong with the ledger."""
        assert ledgers.findings(self.ledger) == []

    # What operators do.

    async def publish(self, policies: str) -> None:
        """These policies are in force when this returns."""
        (self.folder / "policies" / "house.cedar").write_text(policies, "utf-8")
        assert await self.gate.reload.try_publishing(), self.gate.reload.standing

    async def metrics(self) -> str:
        """What Prometheus sees."""
        return (await self.knock("GET", f"{self.gate.operators_url}/metrics", headers={})).body.decode()

    @asynccontextmanager
    async def store_connection(self) -> AsyncIterator[StoreConnection]:
        """The store behind the gate's back, for looking into it and for tampering with it."""
        connection = connect(self.gate.settings.store, url=str(self.gate.settings.store.url))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def beside(self, name: str = "replica", **settings: Any) -> AsyncIterator[House]:
        """Another gate on the same store, issuer and upstream, with its own data directory."""
        folder = self.folder.parent / f"{self.folder.name}-{name}"
        policies = (self.folder / "policies" / "house.cedar").read_text("utf-8")
        chosen = _merged(self.settings, settings)
        around = _Around(issuer=self.issuer, upstream=self.upstream, client=self.client, houses=self._houses)
        async with _living(folder, around, policies=policies, settings=chosen, secrets=self.secrets) as other:
            yield other


async def eventually(found: Callable[[], Awaitable[T | None]], limit_s: float = PATIENCE_S) -> T:
    """What is looked for, as soon as it is there. An outage of the store is waited out."""
    async with asyncio.timeout(limit_s):
        while True:
            try:
                if (result := await found()) is not None:
                    return result
            except Outage:
                pass
            await asyncio.sleep(0.005)


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


def basic(user: str, password: str = "") -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def house(
    folder: Path, *, store: str | None = None, namespace: str = "assentry", policies: str = POLICIES, **settings: Any
) -> AsyncIterator[House]:
    """A house in this folder, from open doors to a verified ledger.

    `store`: URL of a store, else an embedded one; houses on one store have different namespaces. `settings` are laid
    over the house's own, deep: `holds={"wait_s": 1}`.
    """
    chosen = _merged(_STANDARD, settings)
    if store is not None:
        shared = {"url": store, "encryption_key": ENCRYPTION_KEY, "timeout_s": 5, "namespace": namespace}
        chosen = _merged({"store": shared}, chosen)
    async with FakeIssuer() as issuer, upstream() as api, ClientSession(timeout=ClientTimeout(60)) as client:
        around = _Around(issuer=issuer, upstream=api, client=client)
        async with _living(folder, around, policies=policies, settings=chosen, secrets={CREDENTIAL}) as home:
            yield home


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    issuer: FakeIssuer
    upstream: FakeUpstream
    client: ClientSession
    houses: list[House] = field(default_factory=list)


_STANDARD: Mapping[str, Any] = {
    "holds": {"wait_s": 30, "max_wait_s": 30},
    "limits": {"shutdown_s": 5},
    "groups": {"leads": {"quorum": 3}, "operators": {}, "auditors": {}},
}


@asynccontextmanager
async def _living(
    folder: Path, around: _Around, *, policies: str, settings: Mapping[str, Any], secrets: set[str]
) -> AsyncIterator[House]:
    file = _furnished(folder, around, policies=policies, settings=settings)
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(_apart(lambda: running(load(file, environ={}))))
        home = House(
            folder=folder,
            issuer=around.issuer,
            upstream=around.upstream,
            gate=gate,
            settings=settings,
            client=around.client,
            secrets=secrets,
            _houses=around.houses,
        )
        around.houses.append(home)
        try:
            yield home
        finally:
            await _ended(home._begun)
    home.verify_ledger()
    _check_for_secrets(home.ledger, secrets)


@asynccontextmanager
async def _apart(enter: Callable[[], Any]) -> AsyncIterator[Any]:
    """A context that lives in a task of its own, so that what fails in the test does not fail in the gate."""
    loop = asyncio.get_running_loop()
    entered: asyncio.Future[Any] = loop.create_future()
    leave = asyncio.Event()

    async def live() -> None:
        async with enter() as inside:
            entered.set_result(inside)
            await leave.wait()

    living = loop.create_task(live())
    await asyncio.wait({living, entered}, return_when=asyncio.FIRST_COMPLETED)
    if not entered.done():
        await living
    try:
        yield entered.result()
    finally:
        leave.set()
        await living


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _furnished(folder: Path, around: _Around, *, policies: str, settings: Mapping[str, Any]) -> Path:
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "house.cedar").write_text(policies, "utf-8")
    (folder / "crm.yaml").write_text(CATALOGUE, "utf-8")
    secret = folder / "credential"
    secret.touch(mode=0o600)
    secret.write_text(CREDENTIAL, "ascii")
    approvers = free_port()
    own = {
        "demo": True,
        "data": "state",
        "agents": {"listen": "127.0.0.1:0", "fast_path": FAST_PATH},
        "approvers": {
            "listen": f"127.0.0.1:{approvers}",
            "public_url": f"http://127.0.0.1:{approvers}",
            "auditors": ["auditors"],
            "operators": ["operators"],
        },
        "operators": {"listen": "127.0.0.1:0"},
        "issuers": [around.issuer.settings().model_dump(mode="json", exclude_defaults=True)],
        "upstreams": [
            _merged(_upstream(name, around.upstream), settings.get(EACH_UPSTREAM, {}))
            for name in ("stripe", "openai", "crm")
        ],
        "policy": {"files": ["policies"]},
    }
    file = folder / "assentry.yaml"
    laid_over = {name: value for name, value in settings.items() if name != EACH_UPSTREAM}
    file.write_text(yaml.safe_dump(_merged(own, laid_over), sort_keys=False), "utf-8")
    return file


def _upstream(name: str, api: FakeUpstream) -> dict[str, Any]:
    return {
        "name": name,
        "url": f"{api.url}/{name}",
        "catalogue": "crm.yaml" if name == "crm" else f"builtin:{name}",
        "connector": "generic" if name == "crm" else name,
        "private_networks": True,
        "credential": {"kind": "bearer", "token": "file:credential"},
    }


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = _merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _lines(chain: Path) -> list[bytes]:
    # The last line may be on its way to the disk.
    whole = [path.read_bytes().rpartition(b"\n")[0] for path in sorted(chain.glob("*.jsonl"))]
    return [line for text in whole for line in text.splitlines()]


def _in_words(record: Mapping[str, Any]) -> str:
    names = {"judged": "verdict", "refused": "reason", "clicked": "act", "moved": "state"}
    kind: str = record["kind"]
    said = record.get("state") or record["reason"] if kind == "concluded" else record.get(names.get(kind, ""))
    return f"{kind} {said}" if said else kind


def _check_for_secrets(folder: Path, secrets: set[str]) -> None:
    for file in (path for path in folder.rglob("*") if path.is_file()):
        written = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in written], f"{file} holds a secret"
