"""Every example on the pages of docs/clients does what its page says, against a real gate, when people act as told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from policy.hold import Hold
from tests.clients.matrix import plain, sdks
from tests.clients.matrix.asking import Said
from tests.clients.matrix.deciding import BUSY, LAW
from tests.fakes.house import House, eventually, house
from tests.fakes.upstream import FakeUpstream, Received, reply, upstream
from tests.fakes.valkey import PrivateValkey

PAGES = Path(__file__).resolve().parents[2] / "docs" / "clients"
GATE = "https://gate.example.com"
OURS = ("openai", "anthropic", "stripe", "github", "http", "agents-that-know")
EXAMPLE = re.compile(r"```(python|js|bash)\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
MEANWHILE = re.compile(
    r"(?:#|//) Meanwhile Ann (approves|rejects)(?:: (.+?))?(?: after (\d+) seconds)?\.?$", re.MULTILINE
)
CALL = re.compile(r"call_[0-9A-Z]{26}")
LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A block of a page, and the block behind it that shows what it prints."""

    page: str
    number: int
    language: str
    source: str
    prints: str

    @property
    def agent(self) -> str:
        return f"{self.page}-{self.number}"

    def command(self, url: str) -> list[str]:
        source = self.source.replace(GATE, url)
        match self.language:
            case "python":
                return [sys.executable, "-W", "error::DeprecationWarning", "-c", source]
            case "js":
                return [str(plain.NODE), "--input-type=module", "--eval", source]
            case _:
                return ["bash", "-c", source]


def examples() -> list[Example]:
    found = []
    for page in OURS:
        text = (PAGES / f"{page}.md").read_text("utf-8")
        for number, (language, source, prints) in enumerate(EXAMPLE.findall(text)):
            found.append(Example(page=page, number=number, language=language, source=source, prints=prints))
    return found


def answer_of(received: Received) -> Said:
    match received.target.split("/")[1:]:
        case ["openai", *_]:
            return sdks.completion(received, "chatcmpl-1")
        case ["anthropic", *_]:
            return sdks.message(received, "msg-1")
        case ["stripe", *_]:
            return sdks.refund(received, "1")
        case ["github", *_]:
            return sdks.issue(received, "The shop is closed")
        case [*_, last]:
            return Said(body=json.dumps({"id": last}).encode())


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        said = answer_of(received)
        await reply(said.status, said.body, ("content-type", said.content_type))(received, writer)

    with PrivateValkey() as server:
        async with upstream() as api:
            api.default = answer
            own = {"store": server.url, "policies": LAW, "upstreams": upstreams(api), **BUSY}
            async with house(tmp_path / "house", **own) as opened:
                yield opened


def upstreams(api: FakeUpstream) -> list[dict[str, object]]:
    rows = {row.upstream: row.settings for row in (*sdks.ROWS, *plain.ROWS)}
    own = {"private_networks": True, "credential": {"kind": "bearer", "token": "file:credential"}}
    return [{"name": name, "url": f"{api.url}/{name}", **own, **settings} for name, settings in rows.items()]


async def decide(home: House, example: Example) -> None:
    """Does what the page says that Ann does."""
    said = MEANWHILE.search(example.source)
    if said is None:
        return

    async def asked() -> Hold | None:
        mine = [
            one
            for one in await home.gate.store.recent(limit=100)
            if one.call.principal.agent == f"corp:{example.agent}"
        ]
        return mine[0] if mine and home.opened(mine[0]) else None

    held = await eventually(asked, LIMIT_S)
    await asyncio.sleep(float(said[3] or 0))
    ann = home.person("ann")
    decided = await (ann.approve(held) if said[1] == "approves" else ann.reject(held, said[2]))
    assert decided.status == 200, decided.body


async def ran(home: House, example: Example) -> str:
    """What the example prints, ids of calls blotted out."""
    environment = {
        **os.environ,
        "GATE_KEY": home.agent_token(example.agent),
        "PYTHONPATH": str(PAGES.parent / "examples" / "agents"),
    }
    process = await asyncio.create_subprocess_exec(
        *example.command(home.gate.agents_url),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, said = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except TimeoutError:
        process.kill()
        raise
    return CALL.sub("call_…", (printed or said).decode())


async def test_every_example_prints_what_the_page_shows(home: House) -> None:
    shown = examples()
    deciding = [home.begin(decide(home, example)) for example in shown]
    printed = await asyncio.gather(*(ran(home, example) for example in shown))
    assert {one.agent: text.strip() for one, text in zip(shown, printed, strict=True)} == {
        one.agent: one.prints.strip() for one in shown
    }
    await asyncio.gather(*deciding)
    assert len(await home.holds()) == sum("Meanwhile" in one.source for one in shown)


def test_every_page_has_examples_and_stands_in_the_index() -> None:
    assert {one.page for one in examples()} == set(OURS)
    index = (PAGES / "README.md").read_text("utf-8")
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert [page for page in sorted(pages) if f"({page}.md)" not in index] == []
