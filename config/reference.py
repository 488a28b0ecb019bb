"""`docs/settings.md`, written from the models. A test compares; `assentry config reference` writes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Literal, assert_never, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config.settings import Section, Settings
from config.shape import Keys, Many, Named, OneOf, Scalar, Shape, fields, sections

_OPENING = """\
# Settings

Written from the models by `assentry config reference`; do not edit by hand.

Settings come from one YAML file (`--config`, else `$ASSENTRY_CONFIG`, else `/etc/assentry/assentry.yaml`) and from
environment variables, which win: `ASSENTRY_AGENTS__LISTEN=0.0.0.0:8400` sets `agents.listen`; `__` goes one level
down; lists and sections as a whole are YAML or JSON. Relative paths are relative to the settings file's folder. Secrets
stand in the file by reference only: `env:NAME` or `file:/path`, read once at start. Unknown keys are refused.

`assentry config check` shows what is in force and where each value came from, `assentry config example` prints a file
to begin with, and `assentry config schema` prints the JSON schema for editors.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join((_OPENING, *(_section(section) for section in sections())))


def _section(section: type[Section]) -> str:
    title = "The file" if section is Settings else section.__name__
    head = (
        f"## {title}",
        "",
        (section.__doc__ or "").strip(),
        "",
        "| key | value | default | meaning |",
        "|---|---|---|---|",
    )
    return "\n".join((*head, *(_row(section, name, shape) for name, shape in fields(section).items()), ""))


def _row(section: type[Section], name: str, shape: Shape) -> str:
    field = section.model_fields[name]
    return f"| `{name}` | {_kind(shape, field)} | {_default(field)} | {_doc(field)} |"


def _doc(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def _kind(shape: Shape, field: FieldInfo | None) -> str:
    match shape:
        case Scalar():
            return ", ".join((_scalar(shape), *(_limits(field) if field else ())))
        case Keys():
            return _link(shape.model)
        case OneOf():
            return " or ".join(_link(model) for model in shape.by_kind.values())
        case Many():
            return f"list of {_kind(shape.item, None)}"
        case Named():
            return f"{_kind(shape.item, None)} by name"
        case _:
            assert_never(shape)


def _scalar(shape: Scalar) -> str:
    if shape.secret or shape.type is SecretStr:
        return "secret"
    if get_origin(shape.type) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(shape.type))
    if isinstance(shape.type, type) and issubclass(shape.type, Enum):
        return " or ".join(f"`{item.value}`" for item in shape.type)
    words = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return next((word for type_, word in words.items() if shape.type is type_), "path")


def _limits(field: FieldInfo) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    for mark in field.metadata:
        for name, word in words.items():
            limit: object = getattr(mark, name, None)
            if limit is not None:
                yield f"{word} {limit}"


def _default(field: FieldInfo) -> str:
    value: object = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "absent"
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{_plain(item)}`" for item in value) or "empty"
    return f"`{_plain(value)}`" if value != {} else "empty"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.value) if isinstance(value, Enum) else str(value)


def _link(model: type[Section]) -> str:
    return f"[{model.__name__}](#{model.__name__.lower()})"
