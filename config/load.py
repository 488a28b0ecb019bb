"""A settings file and an environment into frozen settings, or a refusal that lists everything that is wrong.

Order of precedence: environment variables, then the file, then defaults. The environment and the files that secrets are
kept in are read here, once; nobody reads them afterwards. What must hold between settings is in `config.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from config.complaints import complaints
from config.environment import overlay
from config.errors import Problem, SettingsRefused
from config.references import Origins, Settling
from config.rules import broken
from config.settings import Settings
from config.shape import Value
from config.text import Document, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings that hold together, and where each value came from."""

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)
    """By dotted path: `assentry.yaml:12` or `environment variable ASSENTRY_LOG`, and `, env NAME` or `, file /path`
    behind it where a reference was followed. A path that is absent has its default."""
    file: Path | None = None


def load(path: Path | None, *, environ: Mapping[str, str]) -> Loaded:
    """The settings of this file under this environment. None: no file, defaults and environment only.

    Raises SettingsRefused with every problem found.
    """
    document = read(path) if path is not None else Document(tree={}, lines={}, name="settings")
    overlaid = overlay(document.tree, environ)
    origins = Origins(lines=document.lines, variables=overlaid.variables, name=document.name)
    settling = Settling(
        origins=origins,
        environ=environ,
        folder=path.resolve().parent if path is not None else Path.cwd(),
        literal_secrets=_is_demo(overlaid.tree),
    )
    tree = settling.tree(overlaid.tree)
    problems = [*document.problems, *overlaid.problems, *settling.problems]
    settings = _validated(tree, origins, problems)
    if settings is not None:
        problems.extend(
            Problem(path=rule.path, message=rule.message, where=origins.where(rule.path)) for rule in broken(settings)
        )
    if settings is None or problems:
        raise SettingsRefused(tuple(sorted(problems, key=_position)))
    return Loaded(settings=settings, sources=settling.sources, file=path)


def _validated(tree: dict[str, Value], origins: Origins, problems: list[Problem]) -> Settings | None:
    known = {problem.path for problem in problems}
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        # A reference that could not be followed has been said; that its value is now missing has not to be said again.
        problems.extend(problem for problem in complaints(error, tree, origins) if problem.path not in known)
        return None


def _is_demo(tree: dict[str, Value]) -> bool:
    return tree.get("demo") is True or str(tree.get("demo")).lower() in ("true", "1", "yes", "on")


def _position(problem: Problem) -> tuple[str, int]:
    name, _, line = problem.where.rpartition(":")
    return (name, int(line)) if line.isdecimal() else (problem.where, 0)
