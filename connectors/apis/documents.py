"""Catalogue and OpenAPI files as trees: YAML or JSON, gzipped or not, read without guessing.

Decides nothing about what the trees mean. A key that stands twice is refused: YAML would keep the last and say nothing.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import orjson
import yaml

from connectors.apis.errors import CatalogueRefused, Fault

Tree = None | bool | int | float | str | list["Tree"] | dict[str, "Tree"]
"""What a catalogue file holds once parsed."""

_MOST_BYTES = 64 * 1024 * 1024
"""The largest published documents (GitHub, Stripe) have 7 to 10 MB unpacked."""


def tree(path: Path) -> dict[str, Tree]:
    """The file's top-level mapping. Raises CatalogueRefused if it cannot be read or is not one."""
    content = _content(path)
    parsed = _json(content, path) if content.lstrip()[:1] == b"{" else _yaml(content, path)
    if not isinstance(parsed, dict):
        raise refusal(path, "must be a mapping of keys to values")
    return parsed


def refusal(path: Path, message: str) -> CatalogueRefused:
    """The refusal of a whole file, for one reason."""
    return CatalogueRefused((Fault(file=str(path), where="", message=message),))


def did_you_mean(word: str, known: Mapping[str, object] | frozenset[str]) -> str:
    """`: did you mean "tier"?`, or nothing when no known word is close."""
    close = get_close_matches(word, list(known), n=1)
    return f': did you mean "{close[0]}"?' if close else ""


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                raw = packed.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise refusal(path, f"cannot be read ({type(exc).__name__})") from exc
    if len(raw) > _MOST_BYTES:
        raise refusal(path, f"is larger than {_MOST_BYTES} bytes")
    return raw


def _json(content: bytes, path: Path) -> Tree:
    try:
        parsed: Tree = orjson.loads(content)
    except orjson.JSONDecodeError:
        # YAML's flow style begins with a brace as well.
        return _yaml(content, path)
    return parsed


def _yaml(content: bytes, path: Path) -> Tree:
    try:
        return _Yaml(content).document()
    except yaml.YAMLError as exc:
        raise refusal(path, f"is not YAML: {' '.join(str(exc).split())}") from exc
    except (RecursionError, ValueError) as exc:
        raise refusal(path, f"is not a document we read ({type(exc).__name__})") from exc


class _Yaml:
    """One YAML document, built while it is parsed.

    PyYAML's own way is to make a node for every word first; for a large file that takes four times as long, most of it
    in the garbage collector.
    """

    def __init__(self, content: bytes) -> None:
        self._loader = yaml.CSafeLoader(content)
        self._anchored: dict[str, Tree] = {}

    def document(self) -> Tree:
        """The only document; None where there is none. Raises YAMLError, RecursionError or ValueError."""
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        root = self._value(self._next())
        self._next()
        more = self._next()
        if not isinstance(more, yaml.StreamEndEvent):
            raise yaml.MarkedYAMLError(None, None, "found another document", more.start_mark)
        return root

    def _next(self) -> yaml.Event:
        return self._loader.get_event()

    def _value(self, event: yaml.Event) -> Tree:
        if isinstance(event, yaml.AliasEvent):
            # The same tree again, not a copy: a few lines cannot unfold into gigabytes.
            if event.anchor not in self._anchored:
                raise yaml.MarkedYAMLError(None, None, f"found undefined alias {event.anchor!r}", event.start_mark)
            return self._anchored[event.anchor]
        anchor = event.anchor
        if anchor is not None and anchor in self._anchored:
            raise yaml.MarkedYAMLError(None, None, f"found duplicate anchor {anchor!r}", event.start_mark)
        made = self._made(event)
        if anchor is not None:
            self._anchored[anchor] = made
        return made

    def _made(self, event: yaml.Event) -> Tree:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping()
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Tree] = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                items.append(self._value(item))
            return items
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        return _plain(str(event.value), tag.rpartition(":")[2])

    def _mapping(self) -> Tree:
        found: dict[str, Tree] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            # Keys as they are written: YAML 1.1 would make `on` and `404` something else than text.
            if not isinstance(key, yaml.ScalarEvent) or key.value in found:
                word = key.value if isinstance(key, yaml.ScalarEvent) else "?"
                raise yaml.MarkedYAMLError(None, None, f'key "{word}" stands twice or is not a text', key.start_mark)
            found[key.value] = self._value(self._next())
        return found


def _plain(text: str, kind: str) -> Tree:
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() in {"true", "yes", "on"}
        case "int" if text.lstrip("-").isdecimal():
            return int(text)
        case "float" if re.fullmatch(r"-?[0-9]+\.[0-9]+", text):
            return float(text)
        case _:
            return text
