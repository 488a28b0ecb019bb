"""A server's tools as a catalogue file, and what became different since the file was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from connectors.apis.bodies import Json
from connectors.apis.documents import Tree
from connectors.apis.mcp.tools import described

_HEAD = """\
# Made by `assentry catalog mcp`: the tools of the server, each pinned by the SHA-256 of its definition. Fields and
# classes come from what the server says of itself. What you know better stands in `operations`, which is kept when the
# file is made again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A catalogue file and what is new in it."""

    text: str
    tools: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    left_out: tuple[str, ...]
    """Names that can be no operation's: calls of these tools stay unknown."""

    @property
    def differs(self) -> bool:
        """Whether the server's tools are not those of the file before."""
        return bool(self.added or self.changed or self.gone)


def made(definitions: Iterable[Mapping[str, Json]], *, path: str, before: Mapping[str, Tree]) -> Made:
    """The file for these tools. `before` is the file as it was, empty where there was none."""
    section = before.get("mcp")
    old = section if isinstance(section, dict) else {}
    entries: dict[str, Tree] = {}
    left_out = []
    for one in definitions:
        tool = described(one)
        if tool is None or tool.name in entries:
            left_out.append(str(one.get("name"))[:128])
        else:
            entries[tool.name] = dict(tool.entry)
    told: dict[str, Tree] = {"path": path}
    if "server_requests" in old:
        told["server_requests"] = old["server_requests"]
    content: dict[str, Tree] = {"mcp": {**told, "tools": entries}}
    if "operations" in before:
        content["operations"] = before["operations"]
    listed = old.get("tools")
    known: dict[str, Tree] = listed if isinstance(listed, dict) else {}
    return Made(
        text=_HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1_000),
        tools=len(entries),
        added=tuple(sorted(entries.keys() - known.keys())),
        changed=tuple(sorted(name for name in entries.keys() & known.keys() if _differ(entries[name], known[name]))),
        gone=tuple(sorted(known.keys() - entries.keys())),
        left_out=tuple(left_out),
    )


def _differ(one: Tree, other: Tree) -> bool:
    pins = [entry.get("definition") if isinstance(entry, dict) else None for entry in (one, other)]
    return pins[0] != pins[1]
