"""The official MCP client, unmodified, through a real gate to a real server, in every revision that it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.fakes.house import House, eventually, house
from tests.fakes.mcp_server import FakeMcpServer, mcp_server

READ_S = 0.8
"""Read timeout of the client in these tests: a tenth of a second per wait would be a lottery, 300 s too long."""
POLICIES = """
@id("bots-may") permit (principal in Group::"bots", action, resource);
@id("money") @hold("money")
forbid (principal is Agent, action == Action::"bank:send_money", resource)
when { if context.input has amount then context.input.amount > 100 else true }
unless { context.approvals.count >= 1 };
@id("no-big-sums") @reason("Agents do not send that much.")
forbid (principal is Agent, action == Action::"bank:send_money", resource)
when { if context.input has amount then context.input.amount > 100000 else false };
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""
MODES = ("legacy", "2026-07-28")


@asynccontextmanager
async def bank(folder: Path, server: FakeMcpServer, **settings: Any) -> AsyncIterator[House]:
    """A house with this server behind it, its tools pinned as they are now."""
    catalogue = folder / "bank.yaml"
    catalogue.write_text(await pinned(server), "utf-8")
    upstream = {
        "name": "bank",
        "url": server.url,
        "connector": "mcp",
        "catalogue": str(catalogue),
        "private_networks": True,
        "credential": {"kind": "none"},
    }
    holds = {"interim_every_s": 0.1, "wait_s": 30, "max_wait_s": 30}
    chosen = {"holds": holds, **settings}
    async with house(folder / "house", policies=POLICIES, upstreams=[upstream], **chosen) as home:
        yield home


async def pinned(server: FakeMcpServer) -> str:
    from connectors.apis.bodies import Document, document
    from connectors.apis.mcp.tools import described

    async with Client(f"{server.url}/mcp", mode="legacy") as client:
        listed = await client.list_tools()
    tools = {}
    for one in listed.tools:
        read = document(one.model_dump_json(by_alias=True, exclude_none=True).encode(), json_depth=64)
        assert isinstance(read, Document)
        tool = described(read.root)
        tools[tool.name] = dict(tool.entry)
    return yaml.safe_dump({"mcp": {"tools": tools}})


@asynccontextmanager
async def connected(home: House, mode: str, **more: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {home.agent_token()}"}
    timeout = httpx2.Timeout(5, read=READ_S)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:
        transport = streamable_http_client(f"{home.gate.agents_url}/bank/mcp", http_client=http)
        async with Client(transport, mode=mode, **more) as client:
            yield client


def said(result: Any) -> str:
    return "".join(part.text for part in result.content)


@pytest.mark.parametrize("mode", MODES)
async def test_an_allowed_tool_call_is_carried_out(tmp_path: Path, mode: str) -> None:
    async with mcp_server() as server, bank(tmp_path, server) as home, connected(home, mode) as client:
        result = await client.call_tool("add", {"a": 2, "b": 3})
        assert not result.is_error
        assert said(result) == "5"
        assert server.done == [("add", {"a": 2, "b": 3})]
        assert all("authorization" not in headers for headers in server.seen)


@pytest.mark.parametrize("json_response", [False, True], ids=["by a stream", "in one piece"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_held_tool_call_outlives_the_read_timeout_and_returns_its_result(
    tmp_path: Path, mode: str, json_response: bool
) -> None:
    async with (
        mcp_server(json_response=json_response) as server,
        bank(tmp_path, server) as home,
        connected(home, mode) as client,
    ):
        told: list[tuple[float, str | None]] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            told.append((done, message))

        asked = home.begin(client.call_tool("send_money", {"to": "ann", "amount": 500}, progress_callback=progress))
        held = await home.wait_for_hold()
        assert held.call.operation.name == "bank:send_money"
        assert dict(held.call.input.values) == {"to": "ann", "amount": 500}

        async def long_enough() -> bool | None:
            return len(told) > 3 * READ_S / 0.1 or None

        await eventually(long_enough)
        assert server.done == []
        assert (await home.person("ann").approve(held)).status == 200
        result = await asked
        assert not result.is_error
        assert said(result) == "sent 500 to ann"
        assert server.done == [("send_money", {"to": "ann", "amount": 500})]
        assert [done for done, _ in told] == sorted({done for done, _ in told})
        assert "Waiting for approval" in (told[0][1] or "")
        assert await home.told(held, ends="concluded") == [
            "held", "clicked approve", "moved approved", "released", "concluded executed",
        ]  # fmt: skip
