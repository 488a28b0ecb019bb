"""`assentry catalog mcp` asks a server for its tools, in either era, page by page, and pins them."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamWriter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connectors.apis.catalogue import load
from proxy.cli.main import app
from proxy.mcp.fetching import Unlisted, tools_of
from tests.fakes.mcp_server import mcp_server
from tests.fakes.upstream import Answer, Received, reply, upstream

JSON = ("content-type", "application/json")


def result(ident: object, members: Mapping[str, Any]) -> Answer:
    return reply(200, json.dumps({"jsonrpc": "2.0", "id": ident, "result": dict(members)}).encode(), JSON)


async def run(*arguments: str) -> Any:
    return await asyncio.to_thread(CliRunner().invoke, app, ["catalog", "mcp", *arguments])


@pytest.mark.parametrize("json_response", [False, True])
async def test_the_tools_of_a_real_server_become_a_catalogue(tmp_path: Path, json_response: bool):
    file = tmp_path / "bank.yaml"
    async with mcp_server(json_response=json_response) as server:
        made = await run(f"{server.url}/mcp", "-o", str(file))
        assert (made.exit_code, made.output) == (0, f"{file}: 3 tools\n")
        names = {one.name for one in load(file, upstream="bank", connector="mcp").operations}
        assert {"bank:add", "bank:send_money", "bank:count", "bank:mcp/tools/list"} <= names
        assert (await run(f"{server.url}/mcp", "-o", str(file), "--check")).exit_code == 0
        server.redescribe("add", "Something else")
        found = await run(f"{server.url}/mcp", "-o", str(file), "--check")
        assert (found.exit_code, found.output) == (1, "changed: add\n")
        before = file.read_text("utf-8")
        assert (await run(f"{server.url}/mcp", "-o", str(file))).exit_code == 0
        assert file.read_text("utf-8") != before
        assert (await run(f"{server.url}/mcp", "-o", str(file), "--check")).exit_code == 0


async def test_a_server_of_the_newer_era_is_asked_without_a_handshake_and_page_by_page():
    async def answer(received: Received, writer: StreamWriter) -> None:
        asked = json.loads(received.body)
        if received.header("mcp-protocol-version") != "2026-07-28" or received.header("mcp-method") != asked["method"]:
            await reply(400, b"{}", JSON)(received, writer)
            return
        cursor = asked["params"].get("cursor", "0")
        more = {"nextCursor": str(int(cursor) + 1)} if cursor != "2" else {}
        tools = [{"name": f"t{cursor}", "inputSchema": {}}]
        await result(asked["id"], {"resultType": "complete", "tools": tools, **more})(received, writer)

    async with upstream() as server:
        server.default = answer
        found = await tools_of(f"{server.url}/mcp", headers={"Authorization": "Bearer t"})
        assert [one["name"] for one in found] == ["t0", "t1", "t2"]
        assert {one.header("authorization") for one in server.received} == {"Bearer t"}


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, b"no"),
        reply(200, b"<html>", ("content-type", "text/html")),
        result(1, {"tools": {}}),
        result(1, {"tools": [], "nextCursor": "again"}),
        reply(200, b"[]", JSON),
    ],
)
async def test_a_server_that_has_no_list_of_tools_is_told_of(answer: Answer):
    async with upstream() as server:
        server.default = answer
        with pytest.raises(Unlisted):
            await tools_of(f"{server.url}/mcp", headers={})


async def test_nobody_there_is_told_of_too(tmp_path: Path):
    async with upstream() as server:
        url = f"{server.url}/mcp"
        await server.close()
        found = await run(url, "-o", str(tmp_path / "x.yaml"))
    assert found.exit_code == 2
    assert "does not answer" in found.output
    assert not (tmp_path / "x.yaml").exists()


def test_a_token_that_is_not_in_the_environment_is_missed():
    found = CliRunner().invoke(app, ["catalog", "mcp", "http://127.0.0.1:1/mcp", "--token", "NO_SUCH_VARIABLE"])
    assert found.exit_code == 2
    assert "NO_SUCH_VARIABLE" in found.output
