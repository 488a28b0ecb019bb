"""JSON trees as text again: in one order for digests, in their own for peers."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

from connectors.apis.bodies import Json


def written(tree: Json) -> str:
    """The tree as JSON on one line, members in their order, numbers as they came."""
    return _text(tree, in_order=False)


def digest(tree: Json) -> str:
    """SHA-256 (hex) over the tree with its members in the order of their names: the same however it was laid out."""
    return hashlib.sha256(_text(tree, in_order=True).encode("utf-8")).hexdigest()


def _text(tree: Json, *, in_order: bool) -> str:
    if isinstance(tree, dict):
        pairs = sorted(tree.items()) if in_order else tree.items()
        return "{" + ",".join(f"{_quoted(key)}:{_text(value, in_order=in_order)}" for key, value in pairs) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(_text(item, in_order=in_order) for item in tree) + "]"
    if isinstance(tree, Decimal):
        return str(tree)
    return _quoted(tree)


def _quoted(scalar: bool | int | str | None) -> str:
    return json.dumps(scalar, ensure_ascii=False)
