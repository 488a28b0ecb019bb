"""What is shipped: the wheel, the locks, the image. And that nobody else owns our plain package names."""

from __future__ import annotations

import ast
import re
import shlex
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.house.source import ROOMS, ROOT, Module, checks, imported, rooms

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHIPPED = frozenset(
    {".py", ".typed", ".cedar", ".cedarschema", ".lua", ".html", ".css", ".js", ".svg", ".yaml", ".json", ".txt", ".md"}
)
COMES_ALONG = frozenset({"pydantic_core"})
"""Imported, but not asked for: pydantic pins its own core exactly."""
WHOLE_NUMBER = re.compile(r"^\d+(:\d+)?$")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> list[str]:
    """Names of all files in a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    built = next(iter(WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])))
    with zipfile.ZipFile(built) as opened:
        return opened.namelist()


def test_the_wheel_holds_the_four_rooms_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(ROOMS)


def test_the_wheel_holds_every_file_of_the_rooms(wheel):
    files = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert files - set(wheel) == set()


def test_the_wheel_holds_no_kind_of_file_that_nobody_thought_of(wheel):
    odd = [name for name in wheel if ".dist-info/" not in name and Path(name).suffix not in SHIPPED]
    assert [name for name in odd if Path(name).name not in ("LICENSE", "NOTICE")] == []


def test_the_wheel_carries_the_licence(wheel):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_no_other_distribution_owns_our_import_names():
    owners = packages_distributions()
    assert {room: sorted(set(owners.get(room, [])) - {"assentry"}) for room in ROOMS} == {room: [] for room in ROOMS}


def test_everything_that_is_imported_is_asked_for_by_name():
    shipped = _asked("aws", "embedded", "demo", "graphql")
    assert _undeclared(rooms(), shipped) == set()
    assert _undeclared(checks(), shipped | _asked("test", "check")) == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_everything_by_hash_and_names_no_index(lock: Path):
    text = lock.read_text()
    pins = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,]+\])?==[^\s;]+", text, re.MULTILINE)
    logical = text.replace("\\\n", " ").splitlines()
    unhashed = [line for line in logical if line and not line.lstrip().startswith("#") and "--hash=sha256:" not in line]
    assert len(pins) >= 5
    assert unhashed == []
    assert re.findall(r"https?://|file:|--(?:extra-)?index|--find-links", text) == []


def test_the_locks_agree_with_each_other():
    pins = {
        lock.name: dict(re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", lock.read_text(), re.MULTILINE)) for lock in LOCKS
    }
    whole = pins["test.lock"]
    differ = [
        f"{name} {package}"
        for name, pinned in pins.items()
        for package in pinned
        if pinned[package] != whole.get(package)
    ]
    assert differ == []


@pytest.mark.parametrize(
    ("lock", "extras"), [("serve", ("embedded",)), ("demo", ("demo",)), ("test", ("test", "check"))]
)
def test_a_lock_holds_what_the_project_asks_for(lock: str, extras: tuple[str, ...]):
    pinned = set(
        re.findall(r"^([a-z0-9][\w.-]*)==", (ROOT / "requirements" / f"{lock}.lock").read_text(), re.MULTILINE)
    )
    assert _asked(*extras) - pinned == set()


def _asked(*extras: str) -> set[str]:
    """Names of the distributions that the project and these extras ask for."""
    asked = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    return {_plain(re.split(r"[\[<>=;! ]", one)[0]) for one in asked} - {"assentry"}


def _undeclared(modules: Iterable[Module], declared: set[str]) -> set[str]:
    owners = packages_distributions()
    known = {*sys.stdlib_module_names, *ROOMS, "tests", *COMES_ALONG}
    taken = {
        (top, module.name)
        for module in modules
        for node in module.of(ast.Import, ast.ImportFrom)
        for top in imported(node)
        if top not in known
    }
    return {(top, name) for top, name in taken if not declared & {_plain(top), *map(_plain, owners.get(top, []))}}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


class TestImage:
    LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()

    def last(self, instruction: str) -> str:
        return next(line for line in reversed(self.LINES) if line.startswith(f"{instruction} ")).removeprefix(
            instruction
        )

    def test_it_runs_as_a_numeric_user_that_is_not_root(self):
        user = self.last("USER").strip()
        assert WHOLE_NUMBER.match(user)
        assert not user.startswith("0")

    def test_it_never_imports_from_the_working_directory(self):
        assert "PYTHONSAFEPATH=1" in shlex.split(self.last("ENV"))

    def test_it_asks_the_operators_door_whether_it_lives(self):
        assert "/livez" in self.last("HEALTHCHECK")
        assert "curl" not in self.last("HEALTHCHECK")

    def test_it_installs_by_hash_from_the_locks(self):
        installs = [part for line in self.LINES for part in line.split("&&") if "install " in part and "pip" in part]
        loose = [part for part in installs if "--require-hashes" not in part and "--no-index" not in part]
        assert installs
        assert loose == []

    def test_its_base_is_pinned_by_a_tag(self):
        bases = [line.split()[1] for line in self.LINES if line.startswith("FROM ")]
        assert set(bases) == {"python:${PYTHON}"}
        assert re.match(r"ARG PYTHON=3\.\d+", next(line for line in self.LINES if line.startswith("ARG PYTHON")))

    def test_what_it_copies_exists(self):
        copied = [line.split()[1:-1] for line in self.LINES if line.startswith("COPY ") and "--from" not in line]
        assert [path for paths in copied for path in paths if not (ROOT / path).exists()] == []
