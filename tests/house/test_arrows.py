"""The arrows between the rooms: nothing imports the clerk, and the law imports nobody."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.house.source import ROOT, rooms


def test_every_arrow_points_the_right_way(tmp_path):
    # In a process of its own: it configures logging anew, and would silence the loggers of the tests that follow.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--cache-dir", str(tmp_path), "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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
