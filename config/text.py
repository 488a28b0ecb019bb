"""YAML into plain values, with the line on which each key stands.

Stricter than YAML: a key may stand once, keys are words, and dates stay text. Knows nothing of settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from config.errors import Problem, SettingsRefused
from config.shape import Value

LARGEST_BYTES = 1024 * 1024
MOST_NODES = 50_000
"""Aliases repeat what they name; beyond this many values a file is an attack or an accident."""

_PLAIN_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file says."""

    tree: dict[str, Value]
    lines: Mapping[str, int]
    """Line of every key, by dotted path, from 1."""
    name: str
    """The file's name, as problems and sources give it."""
    problems: tuple[Problem, ...] = ()


class _Loader(yaml.SafeLoader):
    """YAML's safe values, but for dates: `2026-01-01` stays what was written."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by PyYAML
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(file: Path) -> Document:
    """What the file says. SettingsRefused when it cannot be read or is not YAML."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(LARGEST_BYTES + 1)
    except OSError as exc:
        raise _refused(str(file), f"cannot be read: {exc.strerror or 'it is not a file'}") from exc
    if len(raw) > LARGEST_BYTES:
        raise _refused(str(file), f"is larger than {LARGEST_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _refused(str(file), f"is not UTF-8 (byte {exc.start})") from exc
    return parse(text, name=str(file))


def parse(text: str, *, name: str) -> Document:
    """What the text says. SettingsRefused when it is not YAML or not a mapping; lesser problems are on the document."""
    reader = _Reader(name)
    tree = reader.whole(text)
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise _refused(name, "must be a mapping of settings at its top")
    return Document(tree=tree, lines=reader.lines, name=name, problems=tuple(reader.problems))


def parse_value(text: str, *, name: str) -> Value:
    """One value of any kind. SettingsRefused when it is not YAML, or holds a key twice."""
    reader = _Reader(name)
    value = reader.whole(text)
    if reader.problems:
        raise SettingsRefused(tuple(reader.problems))
    return value


class _Reader:
    """Walks the nodes of one file once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MOST_NODES
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []

    def whole(self, text: str) -> Value:
        """The value of a text; None for an empty one."""
        try:
            self._loader = _Loader(text)
            node = self._loader.get_single_node()
            return None if node is None else self._value(node, "")
        except yaml.MarkedYAMLError as exc:
            line = exc.problem_mark.line + 1 if exc.problem_mark else 1
            raise _refused(f"{self._name}:{line}", f"is not YAML: {exc.problem}") from exc
        except (yaml.YAMLError, RecursionError, ValueError) as exc:
            raise _refused(self._name, "is not YAML, or nested too deeply") from exc

    def _value(self, node: yaml.Node, path: str) -> Value:
        self._left -= 1
        if self._left < 0:
            raise _refused(self._name, f"holds more than {MOST_NODES} values")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
            raise _tag_refused(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, _join(path, str(index))) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _item(self, node: yaml.Node, path: str) -> Value:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if not isinstance(key, str) or key_node.tag == "tag:yaml.org,2002:merge":
                self._complain(path, "a key must be a word", line)
                continue
            inner = _join(path, key)
            if key in found:
                self._complain(inner, f"stands twice; first on line {self.lines[inner]}", line)
                continue
            self.lines[inner] = line
            found[key] = self._value(value_node, inner)
        return found

    def _scalar(self, node: yaml.Node) -> Value:
        value: object = self._loader.construct_object(node)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise _tag_refused(node)

    def _complain(self, path: str, message: str, line: int) -> None:
        self.problems.append(Problem(path=path, message=message, where=f"{self._name}:{line}"))


def _tag_refused(node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, "this tag is not allowed", node.start_mark)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _refused(where: str, message: str) -> SettingsRefused:
    return SettingsRefused((Problem(path="", message=message, where=where),))
