"""What must not be handed on: paths of somebody's machine, addresses of an index, keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.source import ROOT

TEXT = frozenset(
    {
        ".py",
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".cedar",
        ".cedarschema",
        ".lua",
        ".html",
        ".css",
        ".js",
        ".lock",
        ".in",
        ".txt",
    }
)
NAMES = frozenset({"Makefile", "Dockerfile", "run", ".gitignore", ".dockerignore", "LICENSE"})
SKIPPED = frozenset({".git", ".venv", "build", "dist", "node_modules", "__pycache__", ".demo", "vendor"})

MACHINE = re.compile(r"(?<![\w.~-])/(?:home|Users|root|mnt)/[A-Za-z]")
INDEX = re.compile(r"pypi\.org/simple|files\.pythonhosted\.org|(?:PIP|UV)_[A-Z_]*INDEX|registry\.npmjs\.org")
KEYS = re.compile(r"-----BEGIN (?:RSA |EC |OPENSSH )?PRIVATE KEY-----\s+[A-Za-z0-9+/]{60}|AKIA[0-9A-Z]{16}|ghp_\w{36}")


def test_no_file_names_a_path_of_somebodys_machine():
    assert list(_found(MACHINE)) == []


def test_no_file_names_an_index():
    assert list(_found(INDEX)) == []


def test_nothing_outside_the_tests_looks_like_a_key():
    assert [found for found in _found(KEYS) if not found.startswith("tests/")] == []


def test_the_patterns_find_what_they_are_for():
    assert MACHINE.search("see /home/ann/x")
    assert MACHINE.search("`/Users/x`")
    assert not MACHINE.search("https://api.example/v1/home/x")
    assert not MACHINE.search("/var/lib/assentry and ./home/x")
    assert INDEX.search("--index-url https://pypi.org/simple")


def _found(pattern: re.Pattern[str]) -> Iterator[str]:
    for path in _files(ROOT):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
            if pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in SKIPPED and not path.name.endswith(("_cache", ".egg-info")):
            yield from _files(path)
        elif path.is_file() and (path.suffix in TEXT or path.name in NAMES):
            yield path
