"""The settings in force, one row a value, with where each came from and nothing secret in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr

from config.load import Loaded
from config.shape import WHOLE, Keys, Many, Named, OneOf, Scalar, Shape, fields

MASK = "********"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value in force."""

    path: str
    value: str
    """As it is shown: secrets masked, nothing for what is absent."""
    source: str
    """`default`, or where it was written."""


def effective(loaded: Loaded) -> tuple[Row, ...]:
    """Every value of the settings, in the order of the reference."""
    return tuple(_rows(loaded.settings, WHOLE, "", loaded.sources))


def masked(value: object, shape: Scalar) -> str:
    """A value as it may be shown to anyone."""
    if value is None:
        return ""
    if shape.secret or isinstance(value, SecretStr):
        return MASK
    if shape.may_refer:
        return _without_password(str(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return str(value.value) if isinstance(value, Enum) else str(value)


def _rows(value: object, shape: Shape, path: str, sources: Mapping[str, str]) -> Iterator[Row]:
    inside = list(_inside(value, shape))
    if isinstance(shape, Scalar) or (value is None and path):
        shown = masked(value, shape) if isinstance(shape, Scalar) else ""
        yield Row(path=path, value=shown, source=sources.get(path, "default"))
    elif not inside and path:
        yield Row(path=path, value="[]" if isinstance(shape, Many) else "{}", source=sources.get(path, "default"))
    for key, inner, inner_shape in inside:
        yield from _rows(inner, inner_shape, f"{path}.{key}" if path else key, sources)


def _inside(value: object, shape: Shape) -> Iterator[tuple[str, object, Shape]]:
    match shape:
        case Scalar():
            return
        case Keys() | OneOf():
            if isinstance(value, BaseModel):
                yield from ((key, getattr(value, key), inner) for key, inner in fields(type(value)).items())
        case Many():
            if isinstance(value, tuple):
                yield from ((str(index), item, shape.item) for index, item in enumerate(value))
        case Named():
            if isinstance(value, dict):
                yield from ((str(key), item, shape.item) for key, item in value.items())
        case _:
            assert_never(shape)


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        if "@" not in parts.netloc and not parts.query:
            return url
    except ValueError:
        return MASK
    # Queries of Redis URLs may hold `password=`; the user name may be the tenant's. Neither is shown.
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    return urlunsplit(parts._replace(netloc=netloc, query=MASK if parts.query else ""))


def differences(running: Loaded, fresh: Loaded) -> tuple[str, ...]:
    """Dotted paths whose values differ between two settings. Paths only; values may be secret."""
    old, new = _leaves(running), _leaves(fresh)
    return tuple(path for path in {**old, **new} if old.get(path) != new.get(path))


def _leaves(loaded: Loaded) -> dict[str, object]:
    return dict(_plain(loaded.settings, WHOLE, ""))


def _plain(value: object, shape: Shape, path: str) -> Iterator[tuple[str, object]]:
    inside = list(_inside(value, shape))
    if not inside and path:
        yield path, value.get_secret_value() if isinstance(value, SecretStr) else value
    for key, inner, inner_shape in inside:
        yield from _plain(inner, inner_shape, f"{path}.{key}" if path else key)
