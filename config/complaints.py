"""What the models object to, in sentences for the person who wrote the file.

Values never appear: any of them may be a secret that stands in the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.errors import Problem
from config.references import Origins
from config.shape import WHOLE, Keys, OneOf, Shape, Value, below, fields, kind_of

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be text; put it in quotes",
    "model_type": "must be a section of keys",
    "model_attributes_type": "must be a section of keys",
    "dict_type": "must be a section of keys",
    "tuple_type": "must be a list",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be the path of a file or folder",
}
_PATTERNS = (
    ("^[a-z][a-z0-9-]", "must be a name: a-z first, then a-z, 0-9 and '-', 63 at most"),
    ("^https?", "must be a URL: http:// or https://, without user name, query or fragment"),
    ("^(\\[[0-9a-fA-F:]+\\]", "must be an address to listen on: 'host:port', IPv6 as '[::1]:port'"),
    ("^((redis|rediss)", "must be a redis://, rediss:// or unix:// URL"),
)


def complaints(error: ValidationError, tree: dict[str, Value], origins: Origins) -> Iterator[Problem]:
    """Every objection as a problem at its key."""
    for detail in error.errors(include_url=False, include_input=False):
        keys, shape, value = _walk(detail, tree)
        path = ".".join(keys)
        yield Problem(path=path, message=_sentence(detail, keys, shape, value), where=origins.where(path))


def _walk(detail: ErrorDetails, tree: dict[str, Value]) -> tuple[list[str], Shape | None, Value]:
    """The keys an objection is about, and the shape and value of the section it lies in.

    pydantic puts the kind of a union into the location (`credential.bearer.token`); people did not write it there.
    """
    keys: list[str] = []
    shape: Shape | None = WHOLE
    parent_shape, parent = shape, tree
    value: Value = tree
    for step in detail["loc"]:
        key = str(step)
        if key == "[key]" or (isinstance(shape, OneOf) and key in shape.by_kind and key not in _keys(shape, value)):
            continue
        keys.append(key)
        parent_shape, parent = shape, value  # type: ignore[assignment]
        shape = below(shape, value, key) if shape is not None else None
        value = _under(value, key)
    return keys, parent_shape, parent


def _under(value: Value, key: str) -> Value:
    if isinstance(value, list):
        return value[int(key)] if key.isdecimal() and int(key) < len(value) else None
    return value.get(key) if isinstance(value, dict) else None


def _sentence(detail: ErrorDetails, keys: list[str], shape: Shape | None, value: Value) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        near = get_close_matches(keys[-1], _keys(shape, value), n=1)
        return f"unknown key; did you mean '{near[0]}'?" if near else "unknown key"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        inner = below(shape, value, keys[-1]) if shape else None
        kinds = ", ".join(inner.by_kind) if isinstance(inner, OneOf) else ""
        return f"must say its kind, one of: {kinds}"
    if kind == "string_pattern_mismatch":
        pattern = str(detail.get("ctx", {}).get("pattern", ""))
        return next((said for start, said in _PATTERNS if pattern.startswith(start)), "has not the right form")
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    said = detail["msg"].replace("Input should be", "must be").replace("Value should", "must")
    return said[:1].lower() + said[1:]


def _keys(shape: Shape | None, value: Value) -> list[str]:
    if isinstance(shape, Keys):
        return list(fields(shape.model))
    if isinstance(shape, OneOf):
        model = kind_of(shape, value)
        return list(fields(model)) if model else ["kind"]
    return []
