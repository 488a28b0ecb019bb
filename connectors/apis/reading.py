"""The typed input of one operation, read from path, query and body.

A value that is there but is not of its type is unreadable, never absent: the law denies a rule that reads it (threats
P6, P7). So is a field whose name stands in another spelling, twice, or in another place, because an upstream may be
more lenient than we are. Field names are looked up in trees that are compiled once per operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import assert_never
from urllib.parse import unquote_to_bytes

from connectors.apis.bodies import Body, Document, Form, Json, Malformed, Nothing, Opaque, Prose
from connectors.apis.derived import DERIVATIONS
from policy.call import Input, InputValue
from policy.operation import Field, FieldType, Operation, Place

REMEMBERED_KEY = 64
"""Longer keys are looked at anew each time."""
_LONG = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,30})?")
_I64 = range(-(2**63), 2**63)
_SEPARATORS = str.maketrans({".": "_", "-": "_", " ": "_", "[": None, "]": None, "\0": None})


def loose(key: str) -> str:
    """The key as a lenient upstream may read it: PHP turns `a.b` into `a_b`, Go matches keys in any case."""
    return _loose_again(key) if len(key) <= REMEMBERED_KEY else _loosened(key)


def _loosened(key: str) -> str:
    return key.strip().casefold().translate(_SEPARATORS)


# The calls of an API have the same few keys; the length keeps an agent from filling the memory with long ones.
_loose_again = lru_cache(maxsize=2048)(_loosened)


@dataclass(slots=True, kw_only=True)
class _Branch:
    """A declared key at one level, what stands below it, and every field that needs it."""

    here: tuple[Field, ...] = ()
    """Several, where one is what stands there and others are read out of it."""
    below: _Level | None = None
    names: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class _Level:
    """The declared keys of one object. Built once, only read afterwards."""

    exact: dict[str, _Branch] = field(default_factory=dict)
    similar: dict[str, set[str]] = field(default_factory=dict)
    """Names of the fields that a key of this loose spelling could mean."""

    def add(self, one: Field, path: tuple[str, ...]) -> None:
        """Plants a field at the path below this level."""
        branch = self.exact.setdefault(path[0], _Branch())
        branch.names.add(one.name)
        self.similar.setdefault(loose(path[0]), set()).add(one.name)
        if len(path) == 1:
            branch.here = (*branch.here, one)
            return
        branch.below = branch.below or _Level()
        branch.below.add(one, path[1:])


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    values: dict[str, InputValue] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)


class Reader:
    """Reads the input of calls of one operation."""

    def __init__(self, operation: Operation) -> None:
        self._levels = {place: _Level() for place in Place}
        for one in operation.fields:
            self._levels[one.place].add(one, one.path)
        self._names = {place: {f.name for f in operation.fields if f.place is place} for place in Place}
        self._required = {f.name for f in operation.fields if f.required}

    def read(self, captured: tuple[tuple[str, str], ...], query: Form | Malformed, body: Body) -> Input:
        """The input, field by field. `captured` are raw path segments by parameter."""
        found = _Found()
        self._path(captured, found)
        if self._names[Place.QUERY] or self._names[Place.BODY]:
            self._query(query, found)
            self._body(body, found)
        if found.unreadable:
            for name in found.unreadable:
                found.values.pop(name, None)
        elif self._required <= found.values.keys():
            return Input(values=found.values)
        missing = self._required - found.values.keys() - found.unreadable
        return Input(values=found.values, unreadable=frozenset(found.unreadable), missing=frozenset(missing))

    def _path(self, captured: tuple[tuple[str, str], ...], found: _Found) -> None:
        exact = self._levels[Place.PATH].exact
        for name, raw in captured:
            branch = exact.get(name)
            for one in branch.here if branch is not None else ():
                text = decoded(raw)
                _keep(one, None if text is None else _from_text(text, one.type), found)

    def _query(self, query: Form | Malformed, found: _Found) -> None:
        if isinstance(query, Malformed):
            found.unreadable |= self._names[Place.QUERY] | self._names[Place.BODY]
            return
        if query.root:
            _descend(self._levels[Place.QUERY], query.root, found, from_text=True)
            self._misplaced(query.root, here=Place.QUERY, meant=Place.BODY, found=found)

    def _body(self, body: Body, found: _Found) -> None:
        match body:
            case Nothing():
                return
            case Document(root=dict() as root):
                _descend(self._levels[Place.BODY], root, found, from_text=False)
                self._misplaced(root, here=Place.BODY, meant=Place.QUERY, found=found)
            case Form(root=root):
                _descend(self._levels[Place.BODY], root, found, from_text=True)
                self._misplaced(root, here=Place.BODY, meant=Place.QUERY, found=found)
            case Document() | Prose() | Opaque() | Malformed():
                # An array may be a batch, and text or bytes may be anything: not known is not absent.
                found.unreadable |= self._names[Place.BODY]
            case _:
                assert_never(body)

    def _misplaced(self, root: Mapping[str, Json], *, here: Place, meant: Place, found: _Found) -> None:
        # Rails, PHP and others merge query and body: a field in the wrong one may still be obeyed.
        similar = self._levels[meant].similar
        if not similar:
            return
        declared = self._levels[here].exact
        for key in root:
            if key not in declared:
                found.unreadable |= similar.get(loose(key), set())


def decoded(raw: str) -> str | None:
    """A raw path segment as text; None if its escapes are not UTF-8."""
    if "%" not in raw:
        return raw
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _descend(level: _Level, node: Mapping[str, Json], found: _Found, *, from_text: bool) -> None:
    for key, value in node.items():
        branch = level.exact.get(key)
        if branch is not None:
            _take(branch, value, found, from_text=from_text)
        elif twins := level.similar.get(loose(key)):
            found.unreadable |= twins


def _take(branch: _Branch, value: Json, found: _Found, *, from_text: bool) -> None:
    if branch.below is not None:
        if isinstance(value, dict):
            _descend(branch.below, value, found, from_text=from_text)
            found.unreadable.update(one.name for one in branch.here)
            return
        if not branch.here or isinstance(value, list):
            found.unreadable |= branch.names
            return
    for one in branch.here:
        if one.read_as is not None:
            _keep(one, DERIVATIONS[one.read_as].read(value), found)
        else:
            _keep(one, _from_tree(value, one.type) if from_text else _from_json(value, one.type), found)


def _keep(one: Field, value: InputValue | None, found: _Found) -> None:
    if value is None:
        found.unreadable.add(one.name)
    elif one.ignores_case and isinstance(value, str):
        found.values[one.name] = value.casefold()
    elif one.ignores_case and isinstance(value, tuple):
        found.values[one.name] = tuple(sorted({text.casefold() for text in value}))
    else:
        found.values[one.name] = value


def _from_json(value: Json, kind: FieldType) -> InputValue | None:
    """The value, if JSON gave exactly that type; `null`, `1.0` for a Long and `"12"` for a Long are not it."""
    match kind:
        case FieldType.TEXT:
            return value if isinstance(value, str) else None
        case FieldType.BOOL:
            return value if isinstance(value, bool) else None
        case FieldType.LONG:
            return value if isinstance(value, int) and not isinstance(value, bool) and value in _I64 else None
        case FieldType.DECIMAL:
            return _four_digits(value)
        case FieldType.TEXTS:
            return _set(value) if isinstance(value, list) else None
        case _:
            assert_never(kind)


def _from_tree(value: Json, kind: FieldType) -> InputValue | None:
    """The value of a form's field: one text, or for a set `a[]=x`, `a[0]=x` or a repeated `a=x`."""
    if kind is FieldType.TEXTS:
        return _set(list(_items(value)))
    return _from_text(value, kind) if isinstance(value, str) else None


def _items(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from below if isinstance(below, list) and not key else [below if not key or key.isdecimal() else None]
    else:
        yield from value if isinstance(value, list) else [value]


def _from_text(text: str, kind: FieldType) -> InputValue | None:
    match kind:
        case FieldType.TEXT:
            return text
        case FieldType.BOOL:
            return {"true": True, "false": False}.get(text)
        case FieldType.LONG:
            return int(text) if _LONG.fullmatch(text) and int(text) in _I64 else None
        case FieldType.DECIMAL:
            return _four_digits(Decimal(text)) if _DECIMAL.fullmatch(text) else None
        case FieldType.TEXTS:
            return (text,)
        case _:
            assert_never(kind)


def _set(values: list[Json]) -> tuple[str, ...] | None:
    texts = {value for value in values if isinstance(value, str)}
    return tuple(sorted(texts)) if all(isinstance(value, str) for value in values) else None


def _four_digits(value: Json) -> str | None:
    """Cedar's decimal: i64 ten-thousandths, written with a point. None if that would round or overflow."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    number = Decimal(value) if isinstance(value, Decimal) or value in _I64 else None
    if number is None or len(number.as_tuple().digits) > 50 or not -50 < number.adjusted() < 20:
        # A zero of whatever exponent lands here too: nobody means 0e99.
        return None
    digits = 0
    for digit in number.as_tuple().digits:
        digits = digits * 10 + digit
    shift = int(number.as_tuple().exponent) + 4
    whole, rest = (digits * 10**shift, 0) if shift >= 0 else divmod(digits, 10**-shift)
    scaled = -whole if number.is_signed() else whole
    if rest or scaled not in _I64:
        return None
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole // 10_000}.{whole % 10_000:04d}"
