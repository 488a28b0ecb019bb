"""The arrows between the rooms: nothing imports the clerk, and the law imports nobody."""

from __future__ import annotations

import ast

from importlinter import cli

from tests.house.source import ROOT, rooms


def test_every_arrow_points_the_right_way(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=str(tmp_path), no_logo=True)
    assert status == 0, capsys.readouterr().out


def test_the_law_reads_urls_and_fetches_none():
    # import-linter sees outside packages as wholes; `urllib.parse` is pure, `urllib.request` is not.
    taken = {
        name
        for module in rooms()
        if module.name.startswith("policy/")
        for node in module.of(ast.Import, ast.ImportFrom)
        for name in _imported(node)
        if name.split(".")[0] == "urllib"
    }
    assert taken <= {"urllib.parse"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
