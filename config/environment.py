"""Environment variables over what the file says: `ASSENTRY_AGENTS__LISTEN=0.0.0.0:8400`.

`__` goes one level down; lists are entered by number (`ASSENTRY_UPSTREAMS__0__URL`) where the file has that item. A
section, list or mapping as a whole is YAML or JSON. A variable that is meant for us and names nothing is refused; what
Kubernetes sets by itself for a Service called `assentry` is not meant for us.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from config.errors import Problem, SettingsRefused
from config.paths import NO_SETTINGS
from config.shape import WHOLE, Many, Named, Scalar, Shape, Value, below, fields
from config.text import parse_value

PREFIX = "ASSENTRY_"

# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_SERVICE_LINK = re.compile(r"^ASSENTRY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaid:
    """The values with the environment over them, and which variable each overridden path came from."""

    tree: dict[str, Value]
    variables: Mapping[str, str]
    problems: tuple[Problem, ...]


def overlay(tree: dict[str, Value], environ: Mapping[str, str]) -> Overlaid:
    """The tree with every variable of ours laid over it. Shorter names first, so the more exact one wins."""
    whole: Value = tree
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    others = frozenset(_referred(tree)) | NO_SETTINGS
    for name in sorted(environ, key=lambda name: (name.count("__"), name)):
        if not name.startswith(PREFIX) or name in others or _SERVICE_LINK.match(name):
            continue
        keys = name.removeprefix(PREFIX).lower().split("__")
        shape = _find(whole, keys)
        if shape is None:
            problems.extend(_unknown(name))
            continue
        try:
            whole = _put(whole, keys, _value(environ[name], shape, name=name))
        except SettingsRefused as refused:
            problems.extend(refused.problems)
            continue
        variables[".".join(keys)] = name
    return Overlaid(tree=whole if isinstance(whole, dict) else {}, variables=variables, problems=tuple(problems))


def _referred(value: Value) -> Iterator[str]:
    """Variables that hold secrets the file refers to; whatever they are called, they are no settings."""
    if isinstance(value, str) and value.startswith("env:"):
        yield value.removeprefix("env:")
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _referred(inner)


def _find(tree: Value, keys: list[str]) -> Shape | None:
    """The shape that the keys lead to; None where they lead nowhere, or to an item that the list does not have."""
    shape: Shape | None = WHOLE
    value = tree
    for key in keys:
        if shape is None or (isinstance(shape, Many) and not _has(value, key)):
            return None
        shape = below(shape, value, key)
        value = _get(value, key)
    return shape


def _has(value: Value, key: str) -> bool:
    return isinstance(value, list) and key.isdecimal() and int(key) < len(value)


def _get(value: Value, key: str) -> Value:
    if isinstance(value, list):
        return value[int(key)] if _has(value, key) else None
    return value.get(key) if isinstance(value, dict) else None


def _put(value: Value, keys: list[str], new: Value) -> Value:
    if not keys:
        return new
    if isinstance(value, list):
        index = int(keys[0])
        return [*value[:index], _put(value[index], keys[1:], new), *value[index + 1 :]]
    inside = value if isinstance(value, dict) else {}
    return {**inside, keys[0]: _put(inside.get(keys[0]), keys[1:], new)}


def _value(text: str, shape: Shape, *, name: str) -> Value:
    """Text for one value as it stands, empty for none; anything larger as YAML, which JSON is a part of."""
    if isinstance(shape, Scalar):
        return text or None
    return parse_value(text, name=f"environment variable {name}")


def _unknown(name: str) -> Iterator[Problem]:
    # A name without `__` that resembles no setting of ours belongs to somebody else: a token for the command line, say.
    near = get_close_matches(name.removeprefix(PREFIX), _names(), n=1, cutoff=0.8)
    if not near and "__" not in name:
        return
    hint = f"; did you mean '{PREFIX}{near[0]}'?" if near else ""
    yield Problem(path="", message=f"names no setting{hint}", where=f"environment variable {name}")


def _names() -> list[str]:
    return [path.upper().replace(".", "__") for path in _paths(WHOLE, "")]


def _paths(shape: Shape, path: str) -> Iterator[str]:
    if path:
        yield path
    if isinstance(shape, Scalar | Many | Named) or not hasattr(shape, "model"):
        return
    for name, inner in fields(shape.model).items():
        yield from _paths(inner, f"{path}.{name}" if path else name)
