"""What may stand where: the settings' models, read once into shapes that text can be compared with.

Decides nothing. The loader, the reference page, the schema and the table of settings in force all walk these, so none
of them keeps a list of settings of its own.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, Union, assert_never, get_args, get_origin, get_type_hints

from pydantic import BaseModel, SecretStr

from config.settings import MayRefer, Section, Settings

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
"""What YAML and JSON can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One value."""

    type: object
    secret: bool = False
    """Given by reference in files, never shown."""
    may_refer: bool = False
    """May be given by reference; shown without its password."""

    @property
    def is_path(self) -> bool:
        """True for a file or folder."""
        return self.type is Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A section: exactly the fields of one model."""

    model: type[Section]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    """One of several sections, told apart by `kind`."""

    by_kind: Mapping[str, type[Section]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """A list."""

    item: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A mapping whose keys are names."""

    item: Shape


Shape = Scalar | Keys | OneOf | Many | Named

WHOLE = Keys(model=Settings)
"""The shape of a settings file."""


def fields(model: type[BaseModel]) -> Mapping[str, Shape]:
    """The shape of every field of a section, in the order in which they are declared."""
    return _fields(model)


def below(shape: Shape, value: Value, key: str) -> Shape | None:
    """The shape that stands under a key; None where nothing may. `value` tells the kinds of a `OneOf` apart."""
    match shape:
        case Scalar():
            return None
        case Keys():
            return fields(shape.model).get(key)
        case OneOf():
            model = kind_of(shape, value)
            return fields(model).get(key) if model else None
        case Many():
            return shape.item if key.isdecimal() else None
        case Named():
            return shape.item
        case _:
            assert_never(shape)


def kind_of(shape: OneOf, value: Value) -> type[Section] | None:
    """The section that `kind` names in this value; None where it names none."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return shape.by_kind.get(kind) if isinstance(kind, str) else None


def sections(model: type[Section] = Settings) -> Iterator[type[Section]]:
    """Every section there is, each once, parents before their parts."""
    seen: list[type[Section]] = [model]
    for section in seen:
        yield section
        for shape in fields(section).values():
            seen.extend(part for part in _parts(shape) if part not in seen)


def shape_of(annotation: object) -> Shape:
    """The shape of a field's annotation. Only the few forms that settings use; TypeError for any other."""
    if get_origin(annotation) is Annotated:
        inner = shape_of(get_args(annotation)[0])
        marked = any(isinstance(mark, MayRefer) for mark in get_args(annotation)[1:])
        return Scalar(type=inner.type, may_refer=True) if marked and isinstance(inner, Scalar) else inner
    if get_origin(annotation) in (Union, types.UnionType):
        return _one_of(tuple(arm for arm in get_args(annotation) if arm is not types.NoneType))
    if get_origin(annotation) is tuple:
        return Many(item=shape_of(get_args(annotation)[0]))
    if get_origin(annotation) is dict:
        return Named(item=shape_of(get_args(annotation)[1]))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return Keys(model=annotation)
    if annotation is SecretStr:
        return Scalar(type=SecretStr, secret=True)
    if isinstance(annotation, type) or get_origin(annotation) is Literal:
        return Scalar(type=annotation)
    raise TypeError(f"settings do not use {annotation!r}")


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, Shape]:
    hints = get_type_hints(model, include_extras=True)
    return types.MappingProxyType({name: shape_of(hints[name]) for name in model.model_fields})


def _one_of(arms: tuple[object, ...]) -> Shape:
    if len(arms) == 1:
        return shape_of(arms[0])
    by_kind: dict[str, type[Section]] = {}
    for arm in arms:
        shape = shape_of(arm)
        if not isinstance(shape, Keys):
            raise TypeError(f"settings choose among sections only, not {arm!r}")
        by_kind[str(get_args(get_type_hints(shape.model)["kind"])[0])] = shape.model
    return OneOf(by_kind=types.MappingProxyType(by_kind))


def _parts(shape: Shape) -> tuple[type[Section], ...]:
    match shape:
        case Scalar():
            return ()
        case Keys():
            return (shape.model,)
        case OneOf():
            return tuple(shape.by_kind.values())
        case Many() | Named():
            return _parts(shape.item)
        case _:
            assert_never(shape)
