"""Values that stand inside other values: the tools of a prompt, the object of a query.

A field of a catalogue says `read_as`, and one of these reads it. Each gives what is sure, or None; the field is then
unreadable, and a policy that reads it denies. Nothing is ever guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.apis.bodies import Json
from policy.call import InputValue
from policy.operation import FieldType

_SOQL = re.compile(
    # Names, dots and commas, functions of one name each: no subquery, no TYPEOF, no literal before FROM.
    r"\s*SELECT\s+(?:[A-Za-z0-9_.,\s]|\(\s*[A-Za-z0-9_.]*\s*\))+?\sFROM\s+([A-Za-z][A-Za-z0-9_]*)(?=\s|$)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_SOQL_GOES_ON = re.compile(
    r"\s*(?:(?:WHERE|WITH|GROUP|ORDER|LIMIT|OFFSET|FOR)\s.*|ALL\s+ROWS\s*)?", re.IGNORECASE | re.DOTALL
)
_SELECT = re.compile(r"\bSELECT\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """How a value is read out of what stands in its place."""

    type: FieldType
    read: Callable[[Json], InputValue | None]


def _tool_names(value: Json) -> InputValue | None:
    """The tools that a model is offered: by name, and where the vendor runs them by what they are.

    OpenAI nests functions, Anthropic dates the types of its own tools: `code_execution_20250825`.
    """
    if not isinstance(value, list):
        return None
    found: set[str] = set()
    for tool in value:
        names = _names_of(tool) if isinstance(tool, dict) else None
        if not names:
            return None
        found |= names
    return tuple(sorted(found))


def _names_of(tool: dict[str, Json]) -> set[str] | None:
    function = tool.get("function")
    within = function if isinstance(function, dict) else {}
    said = [one for one in (tool.get("name"), within.get("name")) if one is not None]
    kind = tool.get("type")
    if kind not in (None, "function", "custom"):
        said.append(re.sub(r"_20[0-9]{6}$", "", kind) if isinstance(kind, str) else kind)
    names = {one for one in said if isinstance(one, str) and one}
    return names if len(said) == len([one for one in said if isinstance(one, str) and one]) else None


def _soql_object(value: Json) -> InputValue | None:
    """The one object that a SOQL query is about. None where another may stand in it, in whatever way."""
    query = _SOQL.fullmatch(value) if isinstance(value, str) else None
    if query is None or not _SOQL_GOES_ON.fullmatch(query[2]) or len(_SELECT.findall(query[0])) != 1:
        return None
    return query[1]


DERIVATIONS: Mapping[str, Derivation] = {
    "tool-names": Derivation(type=FieldType.TEXTS, read=_tool_names),
    "soql-object": Derivation(type=FieldType.TEXT, read=_soql_object),
}
