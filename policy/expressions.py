"""Cedar expressions as a tree: what a condition says, which parts of the context it reads, and its text again.

Read from Cedar's JSON form (docs.cedarpolicy.com, "JSON policy format"). Only looked at, never evaluated and never
turned back into policies: Cedar always judges by the verbatim text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

Json = Union[None, bool, int, float, str, Sequence["Json"], Mapping[str, "Json"]]  # noqa: UP007 - it names itself
Path = tuple[str, ...]
"""Attribute names below `context`; the empty path is the context as a whole."""

_CONSTRUCTORS = frozenset({"ip", "decimal", "datetime", "duration"})
_RESERVED = frozenset({"if", "then", "else", "true", "false", "in", "is", "like", "has", "__cedar"})
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
"""Text that stands for itself between quotes."""
_INFIX = frozenset({"==", "!=", "in", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*"})


class UnknownForm(ValueError):
    """An expression of a form that this room does not know, so that it cannot be examined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A literal entity."""

    type: str
    id: str


Literal = str | int | bool | Entity


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator and its operands. `op` is the key that Cedar's JSON form uses."""

    op: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    """The variable's, attribute's or entity type's name; the pattern of a `like`."""
    names: tuple[str, ...] = ()
    """Keys of a record, in the order of `parts`."""
    literal: Literal | None = None


def tree(expression: Json) -> Node:
    """The tree of an expression. Raises UnknownForm."""
    if not isinstance(expression, Mapping) or len(expression) != 1:
        raise UnknownForm("an expression of a form that is not known here")
    ((op, inner),) = expression.items()
    if op in {"Var", "Slot"}:
        return Node(op=op, name=str(inner))
    if op == "Value":
        return Node(op=op, literal=_literal(inner))
    if op == "Record" and isinstance(inner, Mapping):
        return Node(op=op, names=tuple(inner), parts=tuple(tree(value) for value in inner.values()))
    if isinstance(inner, Mapping):
        return _operator(op, inner)
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return Node(op=op, parts=tuple(tree(item) for item in inner))
    raise UnknownForm(f"`{op}` in a form that is not known here")


def path(node: Node) -> tuple[str, ...] | None:
    """`("context", "approvals", "count")` for `context.approvals.count`; None for anything but such a chain."""
    names: list[str] = []
    while node.op in {".", "has"}:
        names.append(node.name)
        (node,) = node.parts
    return (node.name, *reversed(names)) if node.op == "Var" else None


def context_reads(node: Node) -> Iterator[Path]:
    """Every path below `context` that the expression may look at; `()` where the context goes somewhere as a whole."""
    found = path(node)
    if found is not None:
        if found[0] == "context":
            yield found[1:]
        return
    for part in node.parts:
        yield from context_reads(part)


def entities(node: Node) -> Iterator[Entity]:
    """Every literal entity in the expression."""
    if isinstance(node.literal, Entity):
        yield node.literal
    for part in node.parts:
        yield from entities(part)


def identifies(node: Node, variable: str, *, within: str) -> bool:
    """Whether the expression may tell by its id which entity the variable is.

    Its attributes, its type, and whether it is in a literal entity of the type `within` do not tell that.
    """
    found = path(node)
    if found is not None:
        return found == (variable,)
    if node.op in {"in", "is"} and path(node.parts[0]) == (variable,):
        return not all(_literally(one, within) for one in node.parts[1:])
    return any(identifies(part, variable, within=within) for part in node.parts)


def _literally(node: Node, kind: str) -> bool:
    if node.op == "Set":
        return all(_literally(part, kind) for part in node.parts)
    return isinstance(node.literal, Entity) and node.literal.type == kind


def covers(read: Path, attribute: Path) -> bool:
    """Whether reading `read` looks at `attribute`, at a record that holds it, or at something inside it."""
    shorter = min(len(read), len(attribute))
    return read[:shorter] == attribute[:shorter]


def quoted(text: str) -> str:
    """A Cedar string literal."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    body = "".join(c if " " <= c <= "~" and c not in '"\\' else _escape(c) for c in text)
    return f'"{body}"'


def render(node: Node) -> str:
    """The expression as Cedar text, on one line, with brackets only around compound operands."""
    if node.op in _INFIX:
        left, right = (_operand(part) for part in node.parts)
        return f"{left} {node.op} {right}"
    written = _WRITTEN.get(node.op)
    return written(node) if written else _called(node)


def _operator(op: str, inner: Mapping[str, Json]) -> Node:
    if op == "if-then-else":
        return Node(op=op, parts=tuple(tree(inner[key]) for key in ("if", "then", "else")))
    if op == "like":
        return Node(op=op, parts=(tree(inner["left"]),), name=_pattern(inner["pattern"]))
    if op == "is":
        parts = [tree(inner[key]) for key in ("left", "in") if key in inner]
        return Node(op=op, parts=tuple(parts), name=str(inner["entity_type"]))
    if "attr" in inner and isinstance(inner["attr"], str):
        return Node(op=op, parts=(tree(inner["left"]),), name=inner["attr"])
    if inner.keys() <= {"left", "right", "arg"}:
        return Node(op=op, parts=tuple(tree(value) for value in inner.values()))
    raise UnknownForm(f"`{op}` in a form that is not known here")


def _literal(value: Json) -> Literal:
    if isinstance(value, str | int):
        return value
    entity = value.get("__entity") if isinstance(value, Mapping) else None
    if isinstance(entity, Mapping):
        return Entity(type=str(entity["type"]), id=str(entity["id"]))
    raise UnknownForm("a literal of a form that is not known here")


def _pattern(pieces: Json) -> str:
    if not isinstance(pieces, Sequence) or isinstance(pieces, str):
        raise UnknownForm("a `like` pattern of a form that is not known here")
    shown = []
    for piece in pieces:
        literal = piece["Literal"] if isinstance(piece, Mapping) else None
        shown.append("*" if literal is None else quoted(str(literal))[1:-1].replace("*", "\\*"))
    return '"' + "".join(shown) + '"'


def _escape(character: str) -> str:
    simple = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
    return simple.get(character) or f"\\u{{{ord(character):x}}}"


def _operand(node: Node) -> str:
    compound = node.op in _INFIX or node.op in {"has", "like", "is", "if-then-else", "!", "neg"}
    return f"({render(node)})" if compound else render(node)


def _value(node: Node) -> str:
    value = node.literal
    if isinstance(value, Entity):
        return f"{value.type}::{quoted(value.id)}"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def _plain(name: str) -> bool:
    return name.isidentifier() and name.isascii() and name not in _RESERVED


def _attribute(node: Node) -> str:
    return f".{node.name}" if _plain(node.name) else f"[{quoted(node.name)}]"


def _has(node: Node) -> str:
    return f"{_operand(node.parts[0])} has {node.name if _plain(node.name) else quoted(node.name)}"


def _is(node: Node) -> str:
    left, *within = (_operand(part) for part in node.parts)
    return f"{left} is {node.name}" + "".join(f" in {one}" for one in within)


def _conditional(node: Node) -> str:
    condition, then, otherwise = (_operand(part) for part in node.parts)
    return f"if {condition} then {then} else {otherwise}"


def _called(node: Node) -> str:
    arguments = [render(part) for part in node.parts]
    if node.op in _CONSTRUCTORS:
        return f"{node.op}({', '.join(arguments)})"
    return f"{_operand(node.parts[0])}.{node.op}({', '.join(arguments[1:])})"


_WRITTEN: Mapping[str, Callable[[Node], str]] = {
    "Var": lambda node: node.name,
    "Slot": lambda node: node.name,
    "Value": _value,
    "Record": lambda node: (
        "{" + ", ".join(f"{quoted(k)}: {render(v)}" for k, v in zip(node.names, node.parts, strict=True)) + "}"
    ),
    "Set": lambda node: "[" + ", ".join(render(part) for part in node.parts) + "]",
    ".": lambda node: _operand(node.parts[0]) + _attribute(node),
    "has": _has,
    "like": lambda node: f"{_operand(node.parts[0])} like {node.name}",
    "is": _is,
    "!": lambda node: f"!{_operand(node.parts[0])}",
    "neg": lambda node: f"-{_operand(node.parts[0])}",
    "if-then-else": _conditional,
}
