"""What is known of clients by their User-Agent: how long they wait, and what keeps them waiting.

The figures are data, in `clients.yaml` beside this file. What a client announces goes before them: that is read in
`proxy.doors.patience`, and how long a client is kept waiting in the end is decided in `proxy.holds.waiting`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import yaml

from policy.reasons import Reason
from proxy.errors import OperatorFault

_FILE = Path(__file__).with_name("clients.yaml")
_FIELDS = frozenset(
    {"name", "user_agent", "read_timeout_s", "total_timeout_s", "interim", "interims", "measured", "notes"}
)
_INTERIMS = frozenset({100, 102})
_LOOKED_AT = 200
"""Characters of a User-Agent that are looked at: what it is stands at its beginning, and the rest is not remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of client. The fields are those of `clients.yaml`, which explains them."""

    name: str
    user_agent: str
    read_timeout_s: float | None = None
    total_timeout_s: float | None = None
    interim: int | None = None
    interims: int | None = None
    measured: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        """Raises OperatorFault for an entry that says what cannot be."""
        times = [time for time in (self.read_timeout_s, self.total_timeout_s) if time is not None]
        if not self.name or not self.user_agent or not all(math.isfinite(time) and time > 0 for time in times):
            raise _fault(self.name, "it needs a name, a pattern, and times above zero")
        if self.interim is not None and (self.interim not in _INTERIMS or not self.measured):
            # Most clients break on an interim response they do not expect, some without an error.
            raise _fault(self.name, "an interim response is 100 or 102, and only for a client it was measured with")


def read_kinds(text: str) -> tuple[Kind, ...]:
    """The kinds that a YAML document lists. Raises OperatorFault for one that is not as it should be."""
    try:
        listed = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise _fault("", "it is not YAML") from exc
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _fault("", "it is not a list of entries")
    kinds = tuple(_kind(cast("dict[str, object]", one)) for one in listed)
    if len({kind.name for kind in kinds}) < len(kinds):
        raise _fault("", "a name is there twice")
    return kinds


def _kind(entry: dict[str, object]) -> Kind:
    name = str(entry.get("name", ""))
    if unknown := entry.keys() - _FIELDS:
        raise _fault(name, f"there is no {', '.join(map(str, sorted(unknown, key=str)))}")
    try:
        re.compile(_text(entry, "user_agent"))
    except re.error as exc:
        raise _fault(name, "its pattern is no regular expression") from exc
    return Kind(
        name=name,
        user_agent=_text(entry, "user_agent"),
        read_timeout_s=_number(entry, "read_timeout_s"),
        total_timeout_s=_number(entry, "total_timeout_s"),
        interim=_count(entry, "interim"),
        interims=_count(entry, "interims"),
        measured=_text(entry, "measured"),
        notes=_text(entry, "notes"),
    )


def _text(entry: dict[str, object], field: str) -> str:
    value = entry.get(field, "")
    if not isinstance(value, str):
        raise _fault(str(entry.get("name", "")), f"{field} is not text")
    return value


def _number(entry: dict[str, object], field: str) -> float | None:
    value = entry.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise _fault(str(entry.get("name", "")), f"{field} is not a number")
    return value


def _count(entry: dict[str, object], field: str) -> int | None:
    value = _number(entry, field)
    if value is not None and (not isinstance(value, int) or value < 1):
        raise _fault(str(entry.get("name", "")), f"{field} is not a whole number above zero")
    return value


def _fault(name: str, what: str) -> OperatorFault:
    where = f" at {name!r}" if name else ""
    return OperatorFault(Reason.INTERNAL, f"The table of clients cannot be used: {what}{where}.")


KINDS = read_kinds(_FILE.read_text("utf-8"))
"""The table that is shipped, read once."""
_PATTERNS = tuple((re.compile(kind.user_agent), kind) for kind in KINDS)


def kind_of(user_agent: str) -> Kind | None:
    """What kind of client says this of itself; None for one that nobody has measured."""
    return _kind_of(user_agent[:_LOOKED_AT])


@lru_cache(maxsize=1024)
def _kind_of(beginning: str) -> Kind | None:
    return next((kind for pattern, kind in _PATTERNS if pattern.match(beginning)), None)
