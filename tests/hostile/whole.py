"""The whole gate as it runs: settings file, issuer, store, ledger, three doors; and a recording upstream behind it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from config.load import Loaded, load
from policy.principal import Identity
from proxy.audit import segments
from proxy.audit.keys import PUBLIC_KEY, public_key
from proxy.audit.verify import Finding, verify
from proxy.demo.issuer import DemoAgent, DemoIssuer, DemoPerson
from proxy.wiring import Running, _Assembly
from tests.fakes.upstream import FakeUpstream, reply, upstream
from tests.fakes.ways import FAST_PATH

READ_S = 15
CREDENTIAL = "sk-the-gates-own-9d1f"
FORM = "application/x-www-form-urlencoded"
PEOPLE = {"ann": ("leads", "auditors"), "ben": ("leads",), "olga": ("leads", "operators"), "eve": ()}
BOTS = {"bot": "olga", "other": "ben"}
LAW = """
@id("reads") permit (principal in Group::"bots", action in Action::"read", resource in Upstream::"pay");
@id("refunds") permit (principal in Group::"bots", action == Action::"pay:refunds.create", resource in Upstream::"pay");
@id("deletes") permit (principal in Group::"bots", action == Action::"pay:charges.delete", resource in Upstream::"pay");
@id("unknowns") permit (principal in Group::"bots", action in Action::"unknown", resource in Upstream::"pay");
@id("gate") @hold("money") forbid (principal is Agent, action == Action::"pay:refunds.create", resource)
when { if context.input has amount then context.input.amount > 10000 else true }
unless { context.approvals.count >= 1 };
@id("never") @reason("Nobody pays out.") forbid (principal is Agent, action == Action::"pay:payouts.create", resource);
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource in Upstream::"pay");
"""
CATALOGUE = """
operations:
  charges.list: {call: GET /v1/charges, class: read, tier: low}
  charges.read: {call: "GET /v1/charges/{charge}", class: read, resource: {kind: charge, field: charge}}
  charges.delete: {call: "DELETE /v1/charges/{charge}", class: write, resource: {kind: charge, field: charge}}
  payouts.create: {call: POST /v1/payouts, class: money}
  refunds.create:
    call: POST /v1/refunds
    class: money
    fields:
      amount: {in: body, type: long}
      charge: {in: body}
    resource: {kind: charge, field: charge}
    money: {amount: amount, currency: EUR}
    summary: "Refund {amount:money} of {charge}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """An answer of a door."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found


@dataclass(slots=True, kw_only=True)
class Whole:
    """A running gate and everything around it."""

    folder: Path
    gate: Running
    issuer: DemoIssuer
    upstream: FakeUpstream
    token: str
    parts: _Assembly
    """What the gate is made of, for moving its clocks and looking at what it keeps."""
    _session: aiohttp.ClientSession
    _reads: dict[str, str] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        return self.folder / "state" / "ledger"

    @property
    def law(self) -> Path:
        return self.folder / "policies" / "law.cedar"

    async def raw(self, sent: bytes, *, to: str | None = None, then_close: bool = False) -> bytes:
        """Everything that a door (the agents' if not told) says to these bytes until it closes."""
        host, _, port = (to or self.gate.agents_url).removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(sent)
            await writer.drain()
            if then_close:
                writer.write_eof()
            async with asyncio.timeout(READ_S):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def ask(
        self, target: str, *lines: str, method: str = "GET", body: bytes = b"", token: str | None = None
    ) -> Got:
        """The answer to an agent's call; `target` below the upstream's prefix, raw."""
        return await self.door(f"/pay{target}", *lines, method=method, body=body, token=token)

    async def door(
        self, target: str, *lines: str, method: str = "GET", body: bytes = b"", token: str | None = None
    ) -> Got:
        """The answer of the agents' door to a whole path."""
        head = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token or self.token}"]
        head += [*lines, f"Content-Length: {len(body)}", "Connection: close"]
        return _read(await self.raw("\r\n".join([*head, "", ""]).encode() + body))

    async def refund(self, amount: object, *lines: str, charge: str = "ch_1", token: str | None = None) -> Got:
        """The answer to a refund, asked for as a form."""
        body = f"charge={charge}&amount={amount}".encode()
        return await self.ask("/v1/refunds", f"Content-Type: {FORM}", *lines, method="POST", body=body, token=token)

    async def held(self, amount: int = 25_000, *lines: str, charge: str = "ch_1", token: str | None = None) -> str:
        """The id of a refund that waits for people, asked for without waiting."""
        got = await self.refund(amount, "Prefer: respond-async", *lines, charge=charge, token=token)
        assert got.status == 202, got
        return got.headers["assentry-call"]

    async def status(self, call: str, *, token: str | None = None) -> Got:
        """How a call stands, for an agent."""
        return await self.door(f"/v1/calls/{call}", token=token)

    async def api(self, person: str, method: str, path: str, document: object = None) -> Got:
        """The answer of the approvers' API to a person."""
        bearer = {"Authorization": f"Bearer {self.issuer.person_token(person)}"}
        url = f"{self.gate.approvers_url}{path}"
        async with self._session.request(method, url, headers=bearer, json=document) as answer:
            return Got(status=answer.status, headers=dict(answer.headers), body=await answer.read())

    async def show(self, call: str, *, person: str = "ann") -> dict[str, Any]:
        """The brief of a held call."""
        got = await self.api(person, "GET", f"/v1/holds/{call}")
        assert got.status == 200, got
        return got.said

    async def decide(self, call: str, act: str = "approve", *, person: str = "ann", **changes: str) -> Got:
        """What comes of a decision on what is held now."""
        brief = await self.show(call)
        said = {"fingerprint": brief["fingerprint"], "shown": brief["shown"], "reason": "looked at", **changes}
        return await self.api(person, "POST", f"/v1/holds/{call}/{act}", said)

    async def until(self, call: str, state: str) -> None:
        """Returns once the hold is in that state."""
        async with asyncio.timeout(READ_S):
            while (await self.show(call))["state"] != state:  # noqa: ASYNC110 - another process' store has no event
                await asyncio.sleep(0.01)

    def records(self, call: str | None = None) -> list[dict[str, Any]]:
        """Every record of the ledger, or those of one call."""
        lines = [
            orjson.loads(line)
            for chain in segments.chains(self.ledger)
            for path in sorted(chain.glob("*.jsonl"))
            for line in path.read_bytes().splitlines()
        ]
        return [line for line in lines if call is None or line.get("call") == call]

    async def until_attached(self, call: str, count: int) -> None:
        """Returns once so many repeats wait for the hold."""
        async with asyncio.timeout(READ_S):
            while sum(line["kind"] == "attached" and call in str(line) for line in self.records()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def until_recorded(self, call: str, kind: str) -> dict[str, Any]:
        """The first record of that kind about the call, once it is there."""
        async with asyncio.timeout(READ_S):
            while True:
                for line in self.records(call):
                    if line["kind"] == kind:
                        return line
                await asyncio.sleep(0.005)

    def findings(self) -> list[Finding]:
        """What verification finds wrong."""
        reports = verify(self.ledger, key=public_key(self.ledger / PUBLIC_KEY))
        return [finding for report in reports for finding in report.findings]


@asynccontextmanager
async def whole(
    folder: Path,
    *,
    law: str = LAW,
    more: dict[str, Any] | None = None,
    issuer: DemoIssuer | None = None,
    **upstream_settings: Any,
) -> AsyncIterator[Whole]:
    """A gate of these policies; `more` goes over the settings, `upstream_settings` into its one upstream.

    `issuer` is one that runs already, for gates that are to take the same tokens.
    """
    async with AsyncExitStack() as stack:
        issuer = issuer or await stack.enter_async_context(issuing())
        async with upstream() as fake, aiohttp.ClientSession() as session:
            fake.default = reply(200, b'{"ok":true}', ("content-type", "application/json"))
            settings = _settings(folder, issuer, fake, upstream_settings) | (more or {})
            _write(folder, law, settings)
            async with _assembled(load(folder / "assentry.yaml", environ={})) as parts:
                yield Whole(
                    folder=folder,
                    gate=parts.running(),
                    issuer=issuer,
                    upstream=fake,
                    token=issuer.agent_token("bot"),
                    parts=parts,
                    _session=session,
                )


@asynccontextmanager
async def issuing() -> AsyncIterator[DemoIssuer]:
    """An issuer that runs."""
    issuer = _issuer()
    await issuer.start()
    try:
        yield issuer
    finally:
        await issuer.stop()


@asynccontextmanager
async def _assembled(loaded: Loaded) -> AsyncIterator[_Assembly]:
    """What `proxy.wiring.running` runs, and not only what it shows."""
    async with asyncio.TaskGroup() as group, AsyncExitStack() as closing:
        parts = _Assembly(loaded, group, closing)
        await parts.keep()
        await parts.publish()
        await parts.admit()
        parts.send()
        await parts.open_doors()
        yield parts


async def a_key(live: Whole, agent: str = "demo:bot") -> tuple[str, str]:
    """An agent key and its id."""
    key, text = live.gate.agent_keys.draft(
        Identity(agent), owner=Identity("demo:olga"), groups=frozenset({"bots"}), lifetime_s=3600
    )
    await live.gate.agent_keys.keep(key)
    return text, key.id


def _issuer() -> DemoIssuer:
    people = [DemoPerson(subject=name, name=name.title(), groups=groups, about="") for name, groups in PEOPLE.items()]
    agents = [
        DemoAgent(client_id=name, secret=secrets.token_hex(8), owner=owner, groups=("bots",))
        for name, owner in BOTS.items()
    ]
    return DemoIssuer(
        people={person.subject: person for person in people},
        agents={agent.client_id: agent for agent in agents},
        people_audience="people",
        agents_audience="agents",
        client_id="console",
        redirect_uris=("http://127.0.0.1:1/signed-in",),
        demo=True,
    )


def _settings(folder: Path, issuer: DemoIssuer, fake: FakeUpstream, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "demo": True,
        "data": "state",
        "agents": {"listen": "127.0.0.1:0", "fast_path": FAST_PATH},
        "approvers": {
            "listen": "127.0.0.1:0",
            "public_url": "http://127.0.0.1:1",
            "sign_in": {"issuer": "demo", "client_id": "console"},
            "auditors": ["auditors"],
            "operators": ["operators"],
        },
        "operators": {"listen": "127.0.0.1:0"},
        "issuers": [
            {
                "name": "demo",
                "issuer": issuer.url,
                "algorithms": ["ES256"],
                "agents_audience": "agents",
                "people_audience": "people",
            }
        ],
        "groups": {"leads": {"quorum": 2}, "auditors": {}, "operators": {}},
        "upstreams": [
            {
                "name": "pay",
                "url": f"{fake.url}/base",
                "catalogue": "pay.yaml",
                "private_networks": True,
                "credential": {"kind": "bearer", "token": "file:secret"},
                **more,
            }
        ],
        "policy": {"files": ["policies"]},
        "holds": {"detached_after_s": 0},
    }


def _write(folder: Path, law: str, settings: dict[str, Any]) -> None:
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "policies" / "law.cedar").write_text(law)
    (folder / "pay.yaml").write_text(CATALOGUE)
    (folder / "secret").write_text(CREDENTIAL)
    (folder / "secret").chmod(0o600)
    (folder / "sealing").write_text("a2" * 21 + "I=")
    (folder / "sealing").chmod(0o600)
    (folder / "assentry.yaml").write_bytes(orjson.dumps(settings))


def _read(answer: bytes) -> Got:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    return Got(status=int(line.split(" ")[1]), headers=headers, body=body)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return whole
