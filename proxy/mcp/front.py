"""What agents meet where an upstream is an MCP server: the gate, behind the one that speaks the protocol."""

from __future__ import annotations

from config.settings import Settings
from proxy.gate import Gate
from proxy.mcp.drift import Drift
from proxy.mcp.gate import McpGate
from proxy.mcp.relaying import Relaying
from proxy.mcp.sessions import SessionMarks
from proxy.tasks import Tasks

CONNECTOR = "mcp"


def speaks_mcp(settings: Settings) -> bool:
    """Whether any upstream is an MCP server."""
    return any(upstream.connector == CONNECTOR for upstream in settings.upstreams)


def in_front(gate: Gate, settings: Settings, *, drift: Drift, key: bytes, tasks: Tasks) -> Gate | McpGate:
    """What the agents' door hands its calls to. `key` is common to all replicas."""
    if not speaks_mcp(settings):
        return gate
    relaying = Relaying(
        marks=SessionMarks(key),
        drift=drift,
        message_bytes=settings.limits.mcp_message_bytes,
        json_depth=settings.limits.json_depth,
    )
    return McpGate(
        gate=gate,
        admission=gate.admission,
        law=gate.law,
        relaying=relaying,
        tasks=tasks,
        keep_alive_s=settings.holds.interim_every_s,
    )
