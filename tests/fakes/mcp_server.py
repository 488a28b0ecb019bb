"""A real MCP server, of the official package, on a real socket: a few tools, and what it was asked to do."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

from tests.fakes.house import eventually


@dataclass(slots=True, kw_only=True)
class FakeMcpServer:
    """The server, and a record of its tools' work."""

    url: str
    """Its origin: the endpoint is `/mcp` below it."""
    app: MCPServer
    done: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Name and arguments of every tool that ran."""
    seen: list[dict[str, str]] = field(default_factory=list)
    """Headers of every request, names in lower case."""

    def redescribe(self, name: str, description: str) -> None:
        """The tool says something else of itself from now on."""
        self.app._tool_manager._tools[name].description = description


def _tools(app: MCPServer, done: list[tuple[str, dict[str, Any]]]) -> None:
    @app.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        done.append(("add", {"a": a, "b": b}))
        return a + b

    @app.tool()
    def send_money(to: str, amount: int) -> str:
        """Send money to somebody."""
        done.append(("send_money", {"to": to, "amount": amount}))
        return f"sent {amount} to {to}"

    @app.tool()
    async def count(ctx: Context, to: int) -> str:
        """Count, telling how far it is."""
        for number in range(1, to + 1):
            await ctx.report_progress(number, to)
        done.append(("count", {"to": to}))
        return "counted"

    @app.resource("note://{name}")
    def note(name: str) -> str:
        """A note."""
        return f"note {name}"


@asynccontextmanager
async def mcp_server(*, json_response: bool = False) -> AsyncIterator[FakeMcpServer]:
    """A running server. `json_response`: it answers in one piece instead of by a stream."""
    app = MCPServer("fake", log_level="CRITICAL")
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        fake = FakeMcpServer(url=f"http://127.0.0.1:{listening.getsockname()[1]}", app=app)
        _tools(app, fake.done)
        inner = app.streamable_http_app(json_response=json_response)

        async def recording(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                fake.seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
            await inner(scope, receive, send)

        config = uvicorn.Config(recording, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            await eventually(lambda: _started(server))
            yield fake
        finally:
            server.should_exit = True
            await asyncio.to_thread(thread.join, 10)


async def _started(server: uvicorn.Server) -> bool | None:
    return server.started or None
