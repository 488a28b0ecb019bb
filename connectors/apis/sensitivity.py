"""What kinds of data a call carries: labels, counts and pointers, never values.

Labels come from the operation, from the fields it declares, and from detectors run over every scalar in path, query
and body. What was not looked at (too much of it, or bytes nobody can read) carries the label `unscanned`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import assert_never

from connectors.apis.bodies import Body, Document, Form, Json, Malformed, Nothing, Opaque, Prose
from connectors.apis.detectors import UNSCANNED, Budget, hits, labels_of_pair
from policy.call import Input, Sensitivity
from policy.operation import Operation

_MOST_LEAVES = 20_000
_MOST_PATHS = 5
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,17}")
"""Keys in which no detector finds anything: every other key is scanned like a value."""
_SHOWN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}|[0-9]{1,6}")

Pointer = tuple[str, ...]
"""The parts of a JSON pointer that begins at `path`, `query` or `body`."""


@dataclass(slots=True)
class _Findings:
    """What was found so far."""

    counts: dict[str, int] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)

    def add(self, label: str, pointer: Pointer) -> None:
        """Counts one occurrence, and keeps its pointer if it is among the first."""
        self.counts[label] = self.counts.get(label, 0) + 1
        self.place(label, pointer)

    def place(self, label: str, pointer: Pointer) -> None:
        """Notes the label and where it is, without a count."""
        self.labels.add(label)
        kept = self.paths.setdefault(label, [])
        if len(kept) < _MOST_PATHS and (text := _shown(pointer)) not in kept:
            kept.append(text)


@dataclass(slots=True, kw_only=True)
class _Page:
    """All scalars of a call as one text, so that each detector runs once, and where each begins."""

    room: int
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    pointers: list[Pointer] = field(default_factory=list)
    length: int = 0
    whole: bool = True

    def add(self, pointer: Pointer, text: str) -> None:
        """Puts a value at the end, as far as there is room."""
        if not text.isascii():
            # Full-width digits and their like are read as the plain ones.
            text = unicodedata.normalize("NFKC", text[: self.room])
        cost = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if cost > self.room or len(self.texts) >= _MOST_LEAVES:
            self.whole = False
            # At worst four bytes a character: what is kept never exceeds the room.
            text = text[: self.room] if text.isascii() else text[: self.room // 4]
            cost = self.room
        self.room -= cost
        if text:
            self.texts.append(text)
            self.starts.append(self.length)
            self.pointers.append(pointer)
            self.length += len(text) + 1

    def pointer(self, position: int) -> Pointer:
        """The pointer of the value that stands at a position of the joined text."""
        return self.pointers[bisect_right(self.starts, position) - 1]


def sensitivity(
    operation: Operation, typed: Input, values: tuple[tuple[Pointer, Json], ...], *, scan_bytes: int
) -> Sensitivity:
    """The labels of a call. `values` are the trees to look through, each with the pointer it stands at."""
    found = _Findings()
    found.labels |= operation.labels
    for one in operation.fields:
        if one.labels and (one.name in typed.values or one.name in typed.unreadable):
            for label in one.labels:
                found.place(label, (one.place.value, *one.path))
    page = _Page(room=scan_bytes)
    for pointer, tree in values:
        if tree:
            _collect(tree, pointer, page, found)
    budget = Budget()
    for label, position in hits("\0".join(page.texts), budget):
        found.add(label, page.pointer(position))
    if not page.whole or budget.checks < 0:
        found.labels.add(UNSCANNED)
    paths = {label: tuple(pointers) for label, pointers in found.paths.items()}
    return Sensitivity(labels=frozenset(found.labels), counts=found.counts, paths=paths)


def scannable(body: Body) -> tuple[Json, bool]:
    """What of a body can be looked through, and whether that is all of it."""
    match body:
        case Nothing():
            return None, True
        case Document(root=root):
            return root, True
        case Form(root=root, files=files):
            return root, not files
        case Prose(text=text):
            return text, True
        case Opaque() | Malformed():
            return None, False
        case _:
            assert_never(body)


def _collect(root: Json, pointer: Pointer, page: _Page, found: _Findings) -> None:
    for where, node in _leaves(root, pointer):
        if not page.whole:
            return
        text = _text(node)
        if text:
            page.add(where, text)
            for label in labels_of_pair(where[-1], text):
                found.add(label, where)


def _leaves(root: Json, pointer: Pointer) -> Iterator[tuple[Pointer, Json]]:
    """Scalars with their pointers in order, and every key that is not a plain word, as if it were a value."""
    stack: list[tuple[Pointer, Json]] = [(pointer, root)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, dict):
            yield from ((where, key) for key in node if not _PLAIN_KEY.fullmatch(key))
            stack.extend(((*where, key), below) for key, below in reversed(node.items()))
        elif isinstance(node, list):
            stack.extend(((*where, str(index)), node[index]) for index in range(len(node) - 1, -1, -1))
        else:
            yield where, node


def _text(node: Json) -> str:
    if isinstance(node, str):
        return node
    if isinstance(node, bool) or node is None:
        return ""
    if isinstance(node, int):
        # Below eight digits no detector finds anything in a bare number.
        return str(node) if abs(node) >= 10_000_000 else ""
    return str(node) if isinstance(node, Decimal) else ""


def _shown(pointer: Pointer) -> str:
    """RFC 6901, with `*` for every key that is not a plain word or that is itself a find: keys can be values."""
    return "".join(f"/{part if _harmless(part) else '*'}" for part in pointer)


def _harmless(part: str) -> bool:
    return _SHOWN_KEY.fullmatch(part) is not None and next(hits(part, Budget()), None) is None
