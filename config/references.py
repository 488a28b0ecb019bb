"""Text in its final form: secrets fetched, paths made absolute, every value with the place it came from.

A reference is `env:NAME` or `file:/path`, read once, here. In a file a secret is a reference or it is refused, so that
a settings file can be shown to anyone; only demo mode, which listens on loopback alone, takes literal ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from config.errors import Problem
from config.settings import BUILTIN
from config.shape import WHOLE, Keys, Many, Named, OneOf, Scalar, Shape, Value, below

LARGEST_SECRET_BYTES = 64 * 1024
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where values come from, before references are followed."""

    lines: Mapping[str, int]
    variables: Mapping[str, str]
    """Dotted paths that a variable set, and which."""
    name: str
    """The settings file as it is shown."""

    def variable(self, path: str) -> str | None:
        """The variable that set this path, or a part that it lies in."""
        keys = path.split(".")
        for end in range(len(keys), 0, -1):
            name = self.variables.get(".".join(keys[:end]))
            if name is not None:
                return name
        return None

    def where(self, path: str) -> str:
        """`assentry.yaml:12`, or `environment variable ASSENTRY_LOG`; the nearest key that is written anywhere."""
        name = self.variable(path)
        if name is not None:
            return f"environment variable {name}"
        keys = path.split(".")
        for end in range(len(keys), 0, -1):
            line = self.lines.get(".".join(keys[:end]))
            if line is not None:
                return f"{self.name}:{line}"
        return self.name


@dataclass(slots=True, kw_only=True)
class Settling:
    """One walk over the tree: what it found on the way."""

    origins: Origins
    environ: Mapping[str, str]
    folder: Path
    """What relative paths are relative to."""
    literal_secrets: bool
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def tree(self, tree: dict[str, Value]) -> dict[str, Value]:
        """The tree as the models take it."""
        settled = self._value(tree, WHOLE, "")
        return settled if isinstance(settled, dict) else {}

    def _value(self, value: Value, shape: Shape | None, path: str) -> Value:
        match shape:
            case Scalar():
                return self._scalar(value, shape, path)
            case Keys() | OneOf() | Named():
                return self._keys({} if value is None else value, shape, path)
            case Many() if isinstance(value, list):
                self.sources[path] = self.origins.where(path)
                return [self._value(item, shape.item, f"{path}.{index}") for index, item in enumerate(value)]
            case Many() | None:
                return value
            case _:
                assert_never(shape)

    def _keys(self, value: Value, shape: Shape, path: str) -> Value:
        if not isinstance(value, dict):
            return value
        if path:
            self.sources[path] = self.origins.where(path)
        settled: dict[str, Value] = {}
        for key, inner in value.items():
            inner_shape = below(shape, value, key)
            # A key with nothing but comments behind it is as good as absent; a name alone is a whole entry.
            if inner is None and inner_shape is not None and not isinstance(shape, Named):
                continue
            settled[key] = self._value(inner, inner_shape, f"{path}.{key}" if path else key)
        return settled

    def _scalar(self, value: Value, shape: Scalar, path: str) -> Value:
        self.sources[path] = self.origins.where(path)
        if not isinstance(value, str):
            return value
        if shape.secret or shape.may_refer:
            return self._referred(value, shape, path)
        if shape.is_path and value and not value.startswith(BUILTIN):
            return str(self.folder / value)
        return value

    def _referred(self, value: str, shape: Scalar, path: str) -> str | None:
        kind, colon, name = value.partition(":")
        if colon and kind == "env":
            return self._variable(name, path)
        if colon and kind == "file":
            return self._file(name, path)
        if self._may_be_literal(value, shape, path):
            return value
        what = "a secret" if shape.secret else "a URL with a password"
        self._complain(path, f"{what} is given by reference: write 'env:NAME' or 'file:/path'")
        return None

    def _may_be_literal(self, value: str, shape: Scalar, path: str) -> bool:
        if self.literal_secrets or self.origins.variable(path) is not None:
            return True
        # An empty password is what some upstreams take beside a key in the user name.
        return value == "" if shape.secret else not _password(value)

    def _variable(self, name: str, path: str) -> str | None:
        if not _VARIABLE.match(name):
            self._complain(path, "'env:' must be followed by the name of an environment variable")
            return None
        value = self.environ.get(name)
        if value is None:
            self._complain(path, f"refers to the environment variable '{name}', which is not set")
            return None
        self.sources[path] += f", env {name}"
        return value

    def _file(self, name: str, path: str) -> str | None:
        if not name:
            self._complain(path, "'file:' must be followed by the path of a file")
            return None
        file = self.folder / name
        try:
            with file.open("rb") as opened:
                raw = opened.read(LARGEST_SECRET_BYTES + 1)
            text = raw.decode("utf-8")
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
            self._complain(path, f"refers to the file '{file}', which cannot be read: {why}")
            return None
        if len(raw) > LARGEST_SECRET_BYTES:
            self._complain(path, f"refers to the file '{file}', which is larger than 64 KiB")
            return None
        self.sources[path] += f", file {file}"
        # Editors and `echo` end files with a newline that is no part of the secret.
        return text.removesuffix("\n").removesuffix("\r")

    def _complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path=path, message=message, where=self.origins.where(path)))


def _password(url: str) -> bool:
    try:
        return bool(urlsplit(url).password) or "password=" in url
    except ValueError:
        return True
