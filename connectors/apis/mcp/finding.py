"""Which operation a message is: a tool by its name, the protocol's own methods by theirs, everything else unknown.

The list is closed: the protocol's methods, and the tools that the upstream's catalogue file pins. A call that is not of
the endpoint, or not one message, is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from connectors.apis import entries
from connectors.apis.bodies import Document, Json
from connectors.apis.entries import Section
from connectors.apis.finders import Asked, BadBody, Found, Spoken
from connectors.apis.mcp import messages, methods, tools
from connectors.apis.mcp.canonical import digest
from connectors.apis.mcp.messages import NoMessage, Notification, Request, Response
from connectors.apis.mcp.mirrors import mismatch
from policy.operation import Operation

KEYS = frozenset({"path", "tools", "server_requests"})
TOOL_CHANGED = "tool-changed"
"""The label of a call to a tool that its server defines otherwise than the catalogue."""
ASKABLE = frozenset({"sampling/createMessage", "elicitation/create", "roots/list"})
"""What a server may ask of a client, where `server_requests` lets it."""
_TOOL_KEYS = (entries.KEYS - {"call", "name", "ignore"}) | {"definition"}
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is known of one MCP server; as a function, it names calls."""

    upstream: str
    path: str
    """Of the endpoint, below the upstream's URL."""
    pins: Mapping[str, str]
    """SHA-256 of each tool's definition, by tool."""
    server_requests: frozenset[str]
    """What it may ask of clients."""

    def is_endpoint(self, path: str, query: str) -> bool:
        """Whether a target is this server's."""
        return path == self.path and not query

    def pin_of(self, operation: str) -> str | None:
        """SHA-256 of the definition of the tool that an operation is; None where it is none."""
        return self.pins.get(operation.removeprefix(f"{self.upstream}:"))

    def __call__(self, asked: Asked) -> Found | BadBody | None:
        """The operation of a call; BadBody for what is not one message, or contradicts its headers."""
        target = asked.target
        if not self.is_endpoint(target.path, target.query):
            return None
        if target.method in ("GET", "DELETE"):
            return None if asked.raw else self._own(methods.STREAM if target.method == "GET" else methods.END)
        message = messages.read(asked.body) if target.method == "POST" else None
        if message is None:
            return None
        if isinstance(message, NoMessage):
            return BadBody(detail=message.detail)
        wrong = mismatch(asked.headers, message)
        return BadBody(detail=wrong.detail) if wrong else self._named(message)

    def _named(self, message: messages.Message) -> Found | BadBody | None:
        match message:
            case Response():
                return self._own(methods.PONG if message.is_empty else methods.RESPONSE)
            case Notification(method=method, params=params):
                known = method.startswith("notifications/")
                return self._own(method, Document(root=dict(params))) if known else None
            case Request():
                found = self._asked(message)
                return found if isinstance(found, BadBody) else replace(found, meaning=_meaning(message))

    def _asked(self, message: Request) -> Found | BadBody:
        method, params = message.method, message.params
        if method == "tools/call":
            return self._tool(params)
        no_request = method.startswith("notifications/") or method in methods.NO_METHODS
        return self._unknown() if no_request else self._own(method, Document(root=dict(params)))

    def _tool(self, params: Mapping[str, Json]) -> Found | BadBody:
        name, arguments = params.get("name"), params.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return BadBody(detail="A tool is called by its name, with an object of arguments.")
        if name not in self.pins:
            return self._unknown()
        return Found(name=f"{self.upstream}:{name}", body=Document(root=arguments))

    def _unknown(self) -> Found:
        return Found(name=f"{self.upstream}:unknown")

    def _own(self, method: str, body: Document | None = None) -> Found:
        return Found(name=f"{self.upstream}:{methods.PREFIX}{method}", body=body)


def spoken(section: Section, *, upstream: str) -> Spoken:
    """The operations of one MCP server, and what names its calls."""
    path = section.text("path") or "/mcp"
    if not _PATH.fullmatch(path):
        section.fault("path", "must be the path of the server's endpoint, such as /mcp")
    requests = section.texts("server_requests") or ()
    for word in requests:
        if word not in ASKABLE:
            section.fault("server_requests", f'"{word}" is not one of {", ".join(sorted(ASKABLE))}')
    found = dict(_tools(section, upstream=upstream))
    pins = {tool: pinned for tool, (_, pinned) in found.items()}
    server = Server(upstream=upstream, path=path, pins=pins, server_requests=frozenset(requests))
    operations = (*methods.operations(upstream), *[operation for operation, _ in found.values()])
    return Spoken(operations=operations, find=server, labels=frozenset({TOOL_CHANGED}))


def _meaning(message: Request) -> str:
    """SHA-256 over a request without its id, and without what it wants to be told of progress under."""
    params = dict(message.params)
    if isinstance(meta := params.get("_meta"), dict):
        params["_meta"] = {key: value for key, value in meta.items() if key != "progressToken"}
    return digest({"method": message.method, "params": params})


def _tools(section: Section, *, upstream: str) -> list[tuple[str, tuple[Operation, str]]]:
    names = entries.section_keys(section, "tools")
    listed = section.below("tools", frozenset(names))
    found = []
    for name in names if listed else ():
        one = listed.below(name, _TOOL_KEYS) if listed else None
        if one is None or not tools.is_name(name):
            section.fault("tools", f'"{name}" is not the name of a tool: letters, digits, dots, dashes, not "unknown"')
            continue
        pinned = one.text("definition") or ""
        if not tools.DIGEST.fullmatch(pinned):
            one.fault("definition", "must be the SHA-256 of the tool's definition: `assentry catalog mcp` writes it")
        found.append((name, (entries.applied(_fresh(upstream, name), one), pinned)))
    return found


def _fresh(upstream: str, name: str) -> Operation:
    """A tool of which only the name is known."""
    return Operation(
        name=f"{upstream}:{name}",
        upstream=upstream,
        method="POST",
        template=name,
        resource_kind="tool",
        summary=f"Call the tool {name} of {{upstream}}",
    )
