"""Which operation a method and a raw path are, for certain; whatever is not certain is nobody's.

A literal segment beats a template at each step, and a template takes exactly one non-empty segment; only one that says
so, `{path+}` at the end, takes all that are left. Two readers must not disagree: a segment that another router could
take for a literal sibling (other case, escaped letters) is not taken by a template, and the call stays unknown, which
the law holds or refuses (threats P1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from policy.operation import Operation

_PARAMETER = re.compile(r"\{([^{}]+)\}")
_REST = re.compile(r"\{[^{}+]+\+\}")
"""A parameter that takes all segments that are left."""
UNRESERVED_ESCAPE = re.compile(r"%(?:2[dDeE]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
"""An escape of a letter, digit or `-._~`: nobody needs it, and readers differ on it (RFC 3986 section 2.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """An operation, and the raw segments that its template's parameters took."""

    operation: Operation
    captured: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two operations whose templates take the same calls; the first keeps them."""

    kept: str
    dropped: str
    call: str

    def __str__(self) -> str:
        return f"{self.dropped} takes the same calls as {self.kept} ({self.call}) and is dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixed:
    """A segment of literals and parameters: `{base}...{head}`, `{owner}.json`."""

    text: str
    """The segment with its parameters' names taken out, for order and identity."""
    eager: re.Pattern[str]
    lazy: re.Pattern[str]
    loose: re.Pattern[str]

    def values(self, segment: str) -> tuple[str, ...] | None:
        """What the parameters take, or None if the segment does not fit or can be cut in two ways."""
        first = self.lazy.fullmatch(segment)
        second = self.eager.fullmatch(segment)
        if first is None or second is None or first.groups() != second.groups():
            return None
        return first.groups()


@dataclass(slots=True, kw_only=True)
class _Node:
    """A place in the tree of segments. Built once, only read afterwards."""

    literals: dict[str, _Node] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)
    mixed: list[tuple[_Mixed, _Node]] = field(default_factory=list)
    parameter: _Node | None = None
    rest: _Node | None = None
    operation: Operation | None = None
    names: tuple[str, ...] = ()


class Matcher:
    """All templates of a catalogue, compiled. `conflicts` lists the operations that another one shadows wholly."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._roots: dict[str, _Node] = {}
        conflicts: list[Conflict] = []
        for operation in operations:
            taken = self._plant(operation)
            if taken is not None:
                call = f"{operation.method} {operation.template}"
                conflicts.append(Conflict(kept=taken.name, dropped=operation.name, call=call))
        self.conflicts = tuple(conflicts)

    def match(self, method: str, path: str) -> Match | None:
        """The one operation this is. None: unknown. HEAD is GET's operation (threats P4), OPTIONS only its own."""
        if "%" in path and UNRESERVED_ESCAPE.search(path):
            return None
        segments = path.split("/")
        found = self._found(method, segments)
        if found is None and method == "HEAD":
            found = self._found("GET", segments)
        return found

    def _found(self, method: str, segments: list[str]) -> Match | None:
        root = self._roots.get(method)
        if root is None or segments[0]:
            return None
        captured: list[str] = []
        leaf = _walk(root, segments, 1, captured)
        if leaf is None or leaf.operation is None:
            return None
        return Match(operation=leaf.operation, captured=tuple(zip(leaf.names, captured, strict=True)))

    def _plant(self, operation: Operation) -> Operation | None:
        """Adds the operation; returns the one that already stands there, if any."""
        node = self._roots.setdefault(operation.method, _Node())
        for segment in operation.template.split("/")[1:]:
            node = _child(node, segment)
        if node.operation is not None:
            return node.operation
        node.operation = operation
        node.names = parameters(operation.template)
        return None


def parameters(template: str) -> tuple[str, ...]:
    """The names of a template's parameters, in order."""
    return tuple(name.removesuffix("+") for name in _PARAMETER.findall(template))


def fault(template: str) -> str | None:
    """What is wrong with a path template, or None."""
    if not template.startswith("/"):
        return "must begin with a slash"
    if re.search(r"[\s?#\\]", template):
        return "must hold no space, backslash, question mark or hash"
    rest = _PARAMETER.sub("", template)
    if "{" in rest or "}" in rest:
        return "has a brace without its partner"
    if "}{" in template:
        return "has two parameters with nothing between them"
    if "+}" in template and (template.count("+}") > 1 or not _REST.fullmatch(template.rpartition("/")[2])):
        return "has a `+` that is not that of a last segment which is all parameter"
    names = parameters(template)
    return "names a parameter twice" if len(set(names)) != len(names) else None


def _child(node: _Node, segment: str) -> _Node:
    if "{" not in segment:
        node.folded.add(segment.casefold())
        return node.literals.setdefault(segment, _Node())
    if _REST.fullmatch(segment):
        node.rest = node.rest or _Node()
        return node.rest
    if _PARAMETER.fullmatch(segment):
        node.parameter = node.parameter or _Node()
        return node.parameter
    mixed = _compiled(segment)
    for known, child in node.mixed:
        if known.text == mixed.text:
            return child
    child = _Node()
    node.mixed.append((mixed, child))
    # Most literal first; the text breaks ties, so that the order of the catalogue does not matter.
    node.mixed.sort(key=lambda pair: (-len(pair[0].text.replace("{}", "")), pair[0].text))
    return child


def _compiled(segment: str) -> _Mixed:
    literals = [re.escape(piece) for piece in _PARAMETER.split(segment)[::2]]
    return _Mixed(
        text=_PARAMETER.sub("{}", segment),
        eager=re.compile("([^/]+)".join(literals)),
        lazy=re.compile("([^/]+?)".join(literals)),
        loose=re.compile("[^/]+".join(literals), re.IGNORECASE),
    )


def _walk(node: _Node, segments: list[str], index: int, captured: list[str]) -> _Node | None:
    """The leaf for the segments from `index` on; `captured` then holds what was taken on the way."""
    # Nearly everywhere there is one way to go on: only where there are several is there anything to come back to.
    while index < len(segments):
        segment = segments[index]
        child = node.literals.get(segment)
        if node.mixed or node.rest is not None or (child is not None and node.parameter is not None):
            return _branch(node, segments, index, captured)
        if child is None:
            child = node.parameter
            if child is None or not segment or _mistakable(node, segment):
                return None
            captured.append(segment)
        node = child
        index += 1
    return node if node.operation is not None else None


def _branch(node: _Node, segments: list[str], index: int, captured: list[str]) -> _Node | None:
    """The same where several ways lead on: the literal first, the parameter last."""
    segment, mark = segments[index], len(captured)
    child = node.literals.get(segment)
    if child is not None and (leaf := _walk(child, segments, index + 1, captured)) is not None:
        return leaf
    if not segment:
        return None
    for mixed, child in node.mixed:
        values = mixed.values(segment)
        if values is not None:
            captured[mark:] = values
            if (leaf := _walk(child, segments, index + 1, captured)) is not None:
                return leaf
    if _mistakable(node, segment):
        return None
    if node.parameter is not None:
        captured[mark:] = [segment]
        if (leaf := _walk(node.parameter, segments, index + 1, captured)) is not None:
            return leaf
    if node.rest is None or not all(segments[index:]):
        return None
    captured[mark:] = ["/".join(segments[index:])]
    return node.rest


def _mistakable(node: _Node, segment: str) -> bool:
    """True if another router could read this value as one of the literal siblings."""
    if not node.folded and not node.mixed:
        return False
    if segment in node.literals:
        # The literal was tried first and its branch ended; every router that backtracks comes here as well.
        return False
    plain = unquote(segment) if "%" in segment else segment
    return plain.casefold() in node.folded or any(mixed.loose.fullmatch(plain) for mixed, _ in node.mixed)
