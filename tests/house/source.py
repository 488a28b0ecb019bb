"""Every Python file of the four rooms and the tests, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("policy", "proxy", "connectors", "config")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One file and its tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    def of(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def at(self, node: ast.AST, name: str = "") -> str:
        """`proxy/gate.py:12 name`, for the list that a failing test shows."""
        return f"{self.name}:{getattr(node, 'lineno', 1)} {name}".rstrip()


@cache
def rooms() -> tuple[Module, ...]:
    """The modules that are shipped."""
    return tuple(_modules(*ROOMS))


@cache
def checks() -> tuple[Module, ...]:
    """The modules that test them."""
    return tuple(_modules("tests"))


def _modules(*folders: str) -> Iterator[Module]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            text = path.read_text("utf-8")
            yield Module(path=path, text=text, tree=ast.parse(text, filename=str(path)))


def imported(node: ast.AST) -> set[str]:
    """Top-level packages that an import statement takes."""
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").split(".")[0]}
    return {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
