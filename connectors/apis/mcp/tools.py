"""A server's tools: what pins each of them, and what they are as entries of a catalogue file.

A definition is data of the server's, and what it says of itself is a hint: it may raise what a tool is taken for, and
never lower it. Descriptions are pinned and not kept; nobody who decides reads them here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from connectors.apis.bodies import Json
from connectors.apis.documents import Tree
from connectors.apis.entries import attribute
from connectors.apis.mcp.canonical import digest

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""What a tool may be called that is to be called through the gate (2025-11-25, Tools, Tool Names), except `unknown`."""
DIGEST = re.compile(r"[0-9a-f]{64}")
_TYPES = {"string": "text", "integer": "long", "number": "decimal", "boolean": "bool"}
"""The catalogue's words by JSON schema's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool as a server lists it."""

    name: str
    definition: str
    """SHA-256 (hex) of all that its server says of it."""
    entry: Mapping[str, Tree]
    """What stands in a catalogue file under its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One tool in a list on its way to an agent: as much as is compared."""

    name: str
    definition: str


def is_name(name: str) -> bool:
    """Whether a tool of this name can be an operation."""
    return NAME.fullmatch(name) is not None and name != "unknown"


def shown(listed: Json) -> tuple[Shown, ...] | None:
    """The tools of one page of a list; None where it is no list of tools."""
    if not isinstance(listed, list):
        return None
    found = []
    for one in listed:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(one, dict) or not isinstance(name, str):
            return None
        found.append(Shown(name=name, definition=pin(one)))
    return tuple(found)


def pin(definition: Mapping[str, Json]) -> str:
    """SHA-256 (hex) over a tool's definition, without `_meta`, which is the transport's and may differ each time."""
    return digest({key: value for key, value in definition.items() if key != "_meta"})


def described(definition: Mapping[str, Json]) -> Tool | None:
    """The tool with its entry; None where its name can be no operation's."""
    name = definition.get("name")
    if not (isinstance(name, str) and is_name(name)):
        return None
    pinned = pin(definition)
    entry: dict[str, Tree] = {"definition": pinned}
    hints = definition.get("annotations")
    if isinstance(hints, dict) and hints.get("destructiveHint") is True:
        entry |= {"class": "destructive", "tier": "high"}
    fields = dict(_fields(definition.get("inputSchema")))
    return Tool(name=name, definition=pinned, entry=entry | ({"fields": fields} if fields else {}))


def _fields(schema: Json) -> Iterator[tuple[str, Tree]]:
    """Top-level arguments of one scalar type, and lists of texts. Others are no fields, unless somebody adds them."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(schema, dict) or not isinstance(properties, dict):
        return
    required = set(_texts(schema.get("required")))
    taken: set[str] = set()
    for key, below in properties.items():
        kind, name = _type(below), attribute(key)
        if kind is None or name in taken:
            continue
        taken.add(name)
        said: dict[str, Tree] = {"in": "body"}
        said |= {"path": [key]} if name != key or "." in key else {}
        said |= {"type": kind} if kind != "text" else {}
        yield name, said | ({"required": True} if key in required else {})


def _type(schema: Json) -> str | None:
    """The catalogue's word for the type of every value of a schema; None where there is no such word."""
    if not isinstance(schema, dict):
        return None
    words = schema.get("type")
    said = [word for word in (words if isinstance(words, list) else [words]) if word != "null"]
    if words is None and isinstance(branches := schema.get("anyOf"), list):
        kinds = {_type(one) for one in branches if not (isinstance(one, dict) and one.get("type") == "null")}
        return kinds.pop() if len(kinds) == 1 else None
    if len(said) != 1 or not isinstance(said[0], str):
        return None
    if said[0] == "array":
        return "texts" if _type(schema.get("items")) == "text" else None
    return _TYPES.get(said[0])


def _texts(node: Json) -> Iterable[str]:
    return [one for one in node if isinstance(one, str)] if isinstance(node, list) else ()
