"""The connectors that come with the program: a folder each, beside this file, with the same files in it.

Nothing is registered anywhere: a folder with the files is a connector. What the files say is for others to read.
Policies and cases are written for an upstream that has the connector's name; `builtin:stripe:pay` says that it is
called `pay` here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from connectors.apis.documents import did_you_mean

BUILTIN = "builtin:"
CATALOGUE = "catalogue.yaml"
POLICIES = "policies.cedar"
CASES = "cases.yaml"
ERROR = "error.yaml"
CREDENTIAL = "credential.md"
"""What stands where in this API's calls, and which credential of the settings fits: for people, printed in docs."""
FILES = (CATALOGUE, POLICIES, CASES, ERROR, CREDENTIAL)

_FOLDER = Path(__file__).parent
_UPSTREAM = re.compile(r"[a-z][a-z0-9-]{0,62}")


class NoSuchConnector(ValueError):
    """What is said to be built in is not. Its text is for whoever wrote the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`builtin:stripe`, or `builtin:stripe:pay`: a connector, and what its upstream is called."""

    connector: str
    upstream: str

    def text(self, name: str) -> str:
        """One of the connector's files, about this upstream: operations, policies and queues are called after it."""
        written = file(self.connector, name).read_text("utf-8")
        return re.sub(rf'(?<![\w.-]){re.escape(self.connector)}(?=[:-][a-z]|")', self.upstream, written)


@cache
def names(file: str) -> frozenset[str]:
    """Names of the connectors that have this file."""
    return frozenset(found.parent.name for found in _FOLDER.glob(f"*/{file}"))


def file(connector: str, name: str) -> Path:
    """One of the files of a connector."""
    return _FOLDER / connector / name


def is_reference(path: Path) -> bool:
    """Whether a path of the settings names something that is built in."""
    return str(path).startswith(BUILTIN)


def reference(path: Path, *, having: str) -> Reference:
    """What a path such as `builtin:stripe` refers to. Raises NoSuchConnector; `having` is the file that it needs."""
    connector, colon, upstream = str(path).removeprefix(BUILTIN).partition(":")
    if connector not in names(having):
        raise NoSuchConnector(f'there is no built-in "{connector}"{did_you_mean(connector, names(having))}')
    if colon and not _UPSTREAM.fullmatch(upstream):
        raise NoSuchConnector(f'"{upstream}" is not the name of an upstream; write {BUILTIN}{connector}:NAME')
    return Reference(connector=connector, upstream=upstream or connector)
