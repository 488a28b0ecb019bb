"""The official MCP client, in both eras of its protocol, against a real server of the same package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import httpx2
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from connectors.apis.mcp.writing import made
from proxy.mcp.fetching import tools_of
from tests.clients.matrix.asking import TRUST, Client, Meanwhile, Site, Surroundings
from tests.fakes.mcp_server import mcp_server
from tests.fakes.upstream import drop


class ToolError(Exception):
    """What a tool's result says that is an error: the client hands it to the model rather than raise it."""


@asynccontextmanager
async def _around(folder: Path, _: str) -> AsyncIterator[Surroundings]:
    async with mcp_server() as server:
        catalogue = folder / "bank.yaml"
        catalogue.write_text(
            made(await tools_of(f"{server.url}/mcp", headers={}), path="/mcp", before={}).text, "utf-8"
        )
        settings = {
            "url": server.url,
            "connector": "mcp",
            "catalogue": str(catalogue),
            "credential": {"kind": "none"},
        }
        yield Surroundings(settings=settings, calls=lambda mark: sum(told.get("to") == mark for _, told in server.done))


def _asking(mode: str) -> Callable[[Site], Awaitable[str]]:
    async def ask(site: Site) -> str:
        headers = {"Authorization": f"Bearer {site.credential}"}
        timeout = httpx2.Timeout(30, read=site.timeout_s)
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, verify=TRUST) as http:
            transport = streamable_http_client(f"{site.url}/mcp", http_client=http)
            async with McpClient(transport, mode=mode) as client:
                result = await client.call_tool("send_money", {"to": site.mark, "amount": 500})
        said = "".join(part.text for part in result.content)
        if result.is_error:
            raise ToolError(said)
        return f"{type(result).__name__} {said.rpartition(' ')[2]}"

    return ask


ROWS = tuple(
    Client(
        name=f"mcp, {era}",
        version=version("mcp"),
        upstream="bank",
        around=_around,
        ask=_asking(mode),
        answer=drop(),
        returns="CallToolResult {mark}",
        refusal=ToolError,
        refused="a result, `isError`",
        gives_up=(MCPError, ExceptionGroup),
        default_timeout="300 s",
        meanwhile=Meanwhile.WAITS_ON,
    )
    for era, mode in (("sessions", "legacy"), ("2026-07-28", "2026-07-28"))
)
