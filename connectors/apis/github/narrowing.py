"""How little a GitHub App's token may be able to do, and the call still succeeds.

Read off the method and the path alone, which are what is sent: the repository is the one that the path names, the
permission is from `permissions.yaml`. What is not certain is None, and then no token is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from connectors.apis.documents import Tree, tree
from policy.call import Target

ENTERPRISE = "/api/v3"
"""What GitHub Enterprise Server has before its paths, where the upstream's URL does not have it already."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What an installation token is confined to."""

    repository: str | None
    """Its name without the owner, in lower case; None: the call names none, and all of the installation's are meant."""
    permissions: tuple[tuple[str, str], ...]
    """Permission and level, `read` or `write`, in order of name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    segments: tuple[str, ...]
    open: bool
    """Whether anything may follow."""
    read: tuple[str, ...]
    write: tuple[str, ...]

    def takes(self, segments: Sequence[str]) -> bool:
        """Whether a path is meant by this rule."""
        count = len(self.segments)
        if len(segments) < count or (len(segments) > count and not self.open):
            return False
        return all(wanted in ("*", got) for wanted, got in zip(self.segments, segments, strict=False))


def narrowing(target: Target) -> Narrowing | None:
    """What a call needs. None where that is not known."""
    segments = target.path.removeprefix(ENTERPRISE).split("/")[1:]
    if not all(segments):
        return None
    rule = next((one for one in _rules() if one.takes(segments)), None)
    level = "read" if target.method in _READS else "write"
    wanted = () if rule is None else rule.read if level == "read" else rule.write
    repository = segments[2] if segments[0] == "repos" else None
    if not wanted or (repository is not None and not _NAME.fullmatch(repository)):
        return None
    return Narrowing(
        repository=repository.lower() if repository else None,
        permissions=tuple((permission, level) for permission in sorted(wanted)),
    )


@cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(_rule(path, said) for path, said in tree(Path(__file__).parent / "permissions.yaml").items())


def _rule(path: str, said: Tree) -> _Rule:
    closed = path.removesuffix("/**")
    levels = said if isinstance(said, dict) else {"read": said, "write": said}
    return _Rule(
        segments=tuple(closed.split("/")[1:]),
        open=closed != path,
        read=_words(levels.get("read")),
        write=_words(levels.get("write")),
    )


def _words(said: Tree) -> tuple[str, ...]:
    listed = said if isinstance(said, list) else [said]
    return tuple(one for one in listed if isinstance(one, str))
