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
            raise _fault("another document begins", more)
        return root

    def _next(self) -> yaml.Event:
        event = self._loader.get_event()
        if event is None:
            raise ValueError("the stream has ended")
        return event

    def _value(self, event: yaml.Event) -> Tree:
        match event:
            case yaml.AliasEvent(anchor=str(anchor)):
                # The same tree again, not a copy: a few lines cannot unfold into gigabytes.
                if anchor not in self._anchored:
                    raise _fault(f'there is no anchor "{anchor}" above', event)
                return self._anchored[anchor]
            case yaml.NodeEvent(anchor=None):
                return self._made(event)
            case yaml.NodeEvent(anchor=str(anchor)) if anchor not in self._anchored:
                self._anchored[anchor] = made = self._made(event)
                return made
            case _:
                raise _fault("an anchor stands twice", event)

    def _made(self, event: yaml.Event) -> Tree:
        match event:
            case yaml.MappingStartEvent():
                return self._mapping()
            case yaml.SequenceStartEvent():
                items: list[Tree] = []
                while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                    items.append(self._value(item))
                return items
            case yaml.ScalarEvent(tag=None | "!", value=text, implicit=implicit):
                tag = self._loader.resolve(yaml.ScalarNode, text, implicit)  # type: ignore[no-untyped-call]
                return _plain(text, tag)
            case yaml.ScalarEvent(tag=str(tag), value=text):
                return _plain(text, tag)
            case _:
                raise _fault("this has no place here", event)

    def _mapping(self) -> Tree:
        found: dict[str, Tree] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            # Keys as they are written: YAML 1.1 would make `on` and `404` something else than text.
            word = key.value if isinstance(key, yaml.ScalarEvent) else None
            if word is None or word in found:
                raise _fault(f'key "{word or "?"}" stands twice or is not a text', key)
            found[word] = self._value(self._next())
        return found


def _fault(message: str, event: yaml.Event) -> yaml.YAMLError:
    mark = event.start_mark
    return yaml.YAMLError(f"{message}, line {mark.line + 1}, column {mark.column + 1}" if mark else message)


def _plain(text: str, tag: str) -> Tree:
    match tag.rpartition(":")[2]:
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
