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
from functools import lru_cache
from itertools import accumulate
from typing import assert_never

from connectors.apis.bodies import Body, Document, Form, Json, Malformed, Nothing, Opaque, Prose
from connectors.apis.detectors import UNSCANNED, Budget, KeyKind, hits, kind_of_key, labels_of_kind
from connectors.apis.reading import REMEMBERED_KEY
from policy.call import Input, Sensitivity
from policy.operation import Operation

_MOST_LEAVES = 20_000
_MOST_PATHS = 5
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,17}")
"""Keys in which no detector finds anything: every other key is scanned like a value."""
_SHOWN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}|[0-9]{1,6}")

Pointer = tuple[str, ...]
"""The parts of a JSON pointer that begins at `path`, `query` or `body`."""
_Place = tuple["_Place | None", str, KeyKind | None, Json]
"""A node of a tree: what it stands in, the last part of its pointer, what its key promises, and the node itself. The
pointer is spelt out only where something is found, which is rare."""
_NOTHING = Sensitivity()


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
    """All scalars of a call as one text, so that each detector runs once, and where each of them stands."""

    room: int
    texts: list[str] = field(default_factory=list)
    places: list[_Place] = field(default_factory=list)
    whole: bool = True

    def add(self, place: _Place, text: str) -> None:
        """Puts a text that is not empty at the end, as far as there is room."""
        if not text.isascii() or len(text) > self.room or len(self.texts) >= _MOST_LEAVES:
            text = self._fitted(text)
        else:
            self.room -= len(text)
        if text:
            self.texts.append(text)
            self.places.append(place)

    def _fitted(self, text: str) -> str:
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
        return text

    def scan(self, budget: Budget) -> Iterator[tuple[str, Pointer]]:
        """Everything found on the page, with its pointer."""
        found = hits("\0".join(self.texts), budget) if self.texts else ()
        if found:
            starts = list(accumulate((len(text) + 1 for text in self.texts), initial=0))
            for label, position in found:
                yield label, _pointer(self.places[bisect_right(starts, position) - 1])


def sensitivity(
    operation: Operation, typed: Input, values: tuple[tuple[str, Json], ...], *, scan_bytes: int
) -> Sensitivity:
    """The labels of a call. `values` are the trees to look through, each with the first part of its pointers."""
    found = _Findings()
    for one in operation.fields:
        if one.labels and (one.name in typed.values or one.name in typed.unreadable):
            for label in one.labels:
                found.place(label, (one.place.value, *one.path))
    page = _Page(room=scan_bytes)
    for name, tree in values:
        if tree:
            _collect(tree, name, page, found)
    budget = Budget()
    for label, pointer in page.scan(budget):
        found.add(label, pointer)
    if not page.whole or budget.checks < 0:
        found.labels.add(UNSCANNED)
    if not found.labels and not operation.labels:
        return _NOTHING
    paths = {label: tuple(pointers) for label, pointers in found.paths.items()}
    return Sensitivity(labels=operation.labels.union(found.labels), counts=found.counts, paths=paths)


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


def _collect(root: Json, name: str, page: _Page, found: _Findings) -> None:
    """Puts on the page all scalars in order, and every key that is not a plain word, as if it were a value."""
    stack: list[_Place] = [(None, name, None, root)]
    while stack and page.whole:
        place = stack.pop()
        node = place[3]
        if isinstance(node, dict):
            below = []
            for key, value in node.items():
                plain, promised = _met(key)
                if key and not plain and page.whole:
                    _note(key, place, page, found)
                below.append((place, key, promised, value))
            stack += reversed(below)
        elif isinstance(node, list):
            stack += [(place, str(index), None, node[index]) for index in range(len(node) - 1, -1, -1)]
        elif text := node if isinstance(node, str) else _text(node):
            _note(text, place, page, found)


def _note(text: str, place: _Place, page: _Page, found: _Findings) -> None:
    page.add(place, text)
    if place[2] is not None:
        for label in labels_of_kind(place[2], text):
            found.add(label, _pointer(place))


def _pointer(place: _Place) -> Pointer:
    parts: list[str] = []
    within: _Place | None = place
    while within is not None:
        parts.append(within[1])
        within = within[0]
    return tuple(reversed(parts))


def _met(key: str) -> tuple[bool, KeyKind | None]:
    """Whether the key is a plain word, and what it promises of its value."""
    return _met_again(key) if len(key) <= REMEMBERED_KEY else _looked_at(key)


def _looked_at(key: str) -> tuple[bool, KeyKind | None]:
    return _PLAIN_KEY.fullmatch(key) is not None, kind_of_key(key)


_met_again = lru_cache(maxsize=2048)(_looked_at)


def _text(node: Json) -> str:
    """What of a scalar that is no text can be read as one."""
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
    return _SHOWN_KEY.fullmatch(part) is not None and not hits(part, Budget())
