"""Two gates that differ in `agents.fast_path` alone, and all that can be seen of a call that both are sent.

    async with pair(tmp_path) as gates:
        assert await gates.differences([Case(name="a read", pieces=(read(gates.token),))]) == []

What may differ is left out: ids of calls (replaced by the order in which they appear), times, ports.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from proxy.audit.keys import VEILING_KEY, veiling_key
from proxy.express import Express
from tests.fakes.upstream import Answer, reply
from tests.hostile.whole import LAW, READ_S, Whole, issuing, whole

DATED = ("date", "Tue, 01 Jul 2025 10:00:00 GMT")
OK = reply(200, b'{"ok":true}', ("content-type", "application/json"), DATED)
_CALL = re.compile(rb"call_[0-9A-Za-z]{26}")
_FINGERPRINT = re.compile(rb'(?<="fingerprint":")[0-9a-f-]{14,64}')
_DATE = re.compile(rb"Date: [A-Z][a-z]{2}, [^\r]+ GMT")
_OF_PLACE = ("v", "chain", "seq", "prev", "at")
_OF_TIME = frozenset({"received_at", "latency_ms", "decide_by"})
_OF_THE_LEDGER = frozenset({"segment", "healed", "checkpoint", "published"})
_COUNTED = re.compile(
    r"^(assentry_(?:calls|outcomes|refused|refusals|policy_errors|holds|exchange_seconds)(?:_total|_count)\S*) (\S+)$",
    re.MULTILINE,
)
_LAST = b"GET /.well-known/oauth-protected-resource HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""Sent last over a connection: it is answered if the connection still takes calls, and ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Bytes that are sent three times over one connection, if it lasts, and once over another."""

    name: str
    pieces: tuple[bytes, ...]
    """Each is read by itself."""
    methods: tuple[str, ...] = ("GET",)
    """Of the calls in it, for whoever reads the answers."""
    answer: Answer = OK
    """What the upstream says to them."""
    rounds: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a case at one gate."""

    said: list[tuple[bytes, str]]
    """What each connection carried back, and how it ended."""
    sent: list[bytes]
    """What the upstream received."""
    records: list[list[tuple[str, Any]]]
    """What the ledger got, members in order."""


class Line(asyncio.Protocol):
    """A client's connection."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = ""
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = "reset" if exc else "closed"
        self._news.set()

    async def send(self, *pieces: bytes) -> None:
        """Sends each so that it is read by itself."""
        for piece in pieces:
            if self.ended:
                return
            self.transport.write(piece)
            await turns()

    async def answered(self, methods: Iterable[str]) -> None:
        """Returns when all these calls are answered, or the connection has ended."""
        await self._until(tuple(methods))

    async def over(self) -> None:
        """Returns when the connection has ended."""
        await self._until(None)

    async def _until(self, methods: tuple[str, ...] | None) -> None:
        async with asyncio.timeout(READ_S):
            while not self.ended and (methods is None or not _all_answered(bytes(self.received), methods)):
                self._news.clear()
                await self._news.wait()


async def line_to(gate: Whole, *, source: str | None = None) -> Line:
    """A new connection to the agents' door, from this address."""
    host, _, port = gate.gate.agents_url.removeprefix("http://").rpartition(":")
    loop = asyncio.get_running_loop()
    _, line = await loop.create_connection(Line, host, int(port), local_addr=(source, 0) if source else None)
    return line


async def turns(count: int = 6) -> None:
    """Lets the loop, which the gates share with the test, read what was sent."""
    for _ in range(count):
        await asyncio.sleep(0)


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the gates."""

    live: Whole
    taken: int = 0
    """Calls taken at once."""
    prepared: int = 0
    """Calls that were looked at; the others that were taken were remembered."""
    _read: dict[Path, int] = field(default_factory=dict)

    def watch(self, express: Express) -> None:
        """Counts what is taken."""
        take, prepare = express.take, express._prepare_or_not

        def taking(*told: Any) -> bool:
            taken = take(*told)
            self.taken += taken
            return taken

        def preparing(*told: Any) -> Any:
            prepared = prepare(*told)
            self.prepared += prepared is not None
            return prepared

        express.take, express._prepare_or_not = taking, preparing  # type: ignore[method-assign]

    async def play(self, case: Case) -> Seen:
        """What becomes of a case here."""
        await self._warm()
        self._news()
        fake = self.live.upstream
        fake.default, before = case.answer, len(fake.received)
        said = [await self._over_one_line(case, case.rounds), await self._over_one_line(case, 1)]
        records = await self._concluded()
        fake.default = OK
        ids: dict[bytes, bytes] = {}
        return Seen(
            said=[(self._alike(answer, ids), ended) for answer, ended in said],
            sent=[self._alike(one.raw, ids) for one in fake.received[before:]],
            records=[self._plain(record, ids) for record in records],
        )

    async def counted(self) -> dict[str, float]:
        """What Prometheus is told, but for times."""
        text = (await self.live.raw(_METRICS, to=self.live.gate.operators_url)).decode()
        return {name: float(value) for name, value in _COUNTED.findall(text)}

    async def _warm(self) -> None:
        # The caller is known, and a connection to the upstream is idle.
        self.live.upstream.script(OK)
        got = await self.live.ask("/v1/charges")
        assert got.status == 200, got
        await self._concluded()

    async def _over_one_line(self, case: Case, rounds: int) -> tuple[bytes, str]:
        line = await line_to(self.live)
        for number in range(rounds):
            await line.send(*case.pieces)
            try:
                await line.answered(case.methods * (number + 1))
            except TimeoutError:
                pytest.fail(f"{case.name}: no answer, only {bytes(line.received)!r}")
        await line.send(_LAST)
        await line.over()
        line.transport.abort()
        return bytes(line.received), line.ended

    async def _concluded(self) -> list[dict[str, Any]]:
        """The new records, once each call that was sent has ended."""
        records = self._news()
        async with asyncio.timeout(READ_S):
            while _open(records):
                await asyncio.sleep(0.001)
                records += self._news()
        return records

    def _news(self) -> list[dict[str, Any]]:
        lines: list[bytes] = []
        for path in sorted(self.live.ledger.glob("*/*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, _, _ = file.read().rpartition(b"\n")
            if whole:
                self._read[path] = self._read.get(path, 0) + len(whole) + 1
                lines += whole.split(b"\n")
        return [record for line in lines if (record := orjson.loads(line))["kind"] not in _OF_THE_LEDGER]

    def _alike(self, raw: bytes, ids: dict[bytes, bytes]) -> bytes:
        raw = raw.replace(self.live.gate.agents_url.encode(), b"http://gate")
        raw = raw.replace(b"127.0.0.1:%d" % self.live.upstream.port, b"upstream")
        raw = _DATE.sub(b"Date: now", raw)
        raw = _FINGERPRINT.sub(b"of the call and its id", raw)
        return _CALL.sub(lambda found: ids.setdefault(found[0], b"call#%d" % len(ids)), raw)

    def _plain(self, record: dict[str, Any], ids: dict[bytes, bytes]) -> list[tuple[str, Any]]:
        told = orjson.loads(self._alike(orjson.dumps(record), ids))
        return [
            (name, type(value).__name__ if name in _OF_TIME else value)
            for name, value in told.items()
            if name not in _OF_PLACE
        ]


_METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two."""

    fast: Side
    ordinary: Side
    token: str

    async def differences(self, cases: Iterable[Case]) -> list[str]:
        """What was not the same, in words: nothing, if all is well."""
        found: list[str] = []
        before = [await side.counted() for side in (self.fast, self.ordinary)]
        for case in cases:
            fast, ordinary = await asyncio.gather(self.fast.play(case), self.ordinary.play(case))
            found += [
                f"{case.name}, {what}: {_parting(repr(one), repr(other))}"
                for what, one, other in (
                    ("said", fast.said, ordinary.said),
                    ("sent", fast.sent, ordinary.sent),
                    ("records", fast.records, ordinary.records),
                )
                if one != other
            ]
        after = [await side.counted() for side in (self.fast, self.ordinary)]
        moved = [{name: to[name] - was.get(name, 0) for name in to} for was, to in zip(before, after, strict=True)]
        return found if moved[0] == moved[1] else [*found, f"metrics: {_apart(*moved)}"]


@asynccontextmanager
async def pair(
    folder: Path, *, law: str = LAW, more: dict[str, Any] | None = None, **upstream: Any
) -> AsyncIterator[Pair]:
    """Two gates of one issuer, with the same key to veil values with."""
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(issuing())
        sides = []
        for name, fast_path in (("fast", True), ("ordinary", False)):
            _same_key(folder / name / "state" / "ledger", folder / "key")
            chosen = {"agents": {"listen": "127.0.0.1:0", "fast_path": fast_path}} | (more or {})
            chosen["agents"] = chosen["agents"] | {"fast_path": fast_path}
            live = await stack.enter_async_context(
                whole(folder / name, law=law, more=chosen, issuer=issuer, **upstream)
            )
            sides.append(Side(live=live))
        fast, ordinary = sides
        token = ordinary.live.token = fast.live.token
        express = fast.live.parts.agents._at_once
        assert isinstance(express, Express)
        assert ordinary.live.parts.agents._at_once is None
        fast.watch(express)
        yield Pair(fast=fast, ordinary=ordinary, token=token)
        assert [side.live.findings() for side in sides] == [[], []]


def _parting(fast: str, ordinary: str) -> str:
    at = next((at for at, (one, other) in enumerate(zip(fast, ordinary, strict=False)) if one != other), len(fast))
    return f"…{fast[max(0, at - 80) : at]}… fast …{fast[at : at + 120]}… ordinary …{ordinary[at : at + 120]}…"


def _same_key(ledger: Path, first: Path) -> None:
    ledger.mkdir(parents=True, mode=0o700)
    if not first.exists():
        first.mkdir(mode=0o700)
        veiling_key(first)
    shutil.copy2(first / VEILING_KEY, ledger / VEILING_KEY)


def _apart(one: dict[str, float], other: dict[str, float]) -> list[str]:
    names = sorted(one.keys() | other.keys())
    return [f"{name} {one.get(name)} {other.get(name)}" for name in names if one.get(name) != other.get(name)]


def _open(records: list[dict[str, Any]]) -> set[str]:
    sent = {record["call"] for record in records if record["kind"] == "judged" and record["verdict"] == "allow"}
    return sent - {record["call"] for record in records if record["kind"] == "concluded"}


def _all_answered(said: bytes, methods: tuple[str, ...]) -> bool:
    for method in methods:
        status, rest = 100, said
        while status < 200:
            head, found, rest = rest.partition(b"\r\n\r\n")
            if not found:
                return False
            status = int(head[9:12])
        after = _behind_body(head.lower(), rest, bodiless=method == "HEAD" or status in (204, 304))
        if after is None:
            return False
        said = after
    return True


def _behind_body(head: bytes, rest: bytes, *, bodiless: bool) -> bytes | None:
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    if bodiless:
        return rest
    if b"\r\ntransfer-encoding: chunked" in head:
        return _behind_chunks(rest)
    return rest[int(length[1]) :] if length and len(rest) >= int(length[1]) else None


def _behind_chunks(rest: bytes) -> bytes | None:
    while True:
        size, found, rest = rest.partition(b"\r\n")
        if not found or len(rest) < int(size, 16) + 2:
            return None
        rest = rest[int(size, 16) + 2 :]
        if size == b"0":
            return rest
