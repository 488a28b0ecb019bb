"""Settings files in a folder of their own, and what loading them says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from config.errors import SettingsRefused
from config.load import Loaded, load

Write = Callable[[str], Path]
Refuse = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a settings file and gives its path."""

    def written(text: str) -> Path:
        file = tmp_path / "assentry.yaml"
        file.write_text(text, "utf-8")
        return file

    return written


@pytest.fixture
def loaded(write: Write) -> Callable[..., Loaded]:
    """Loads settings from text."""
    return lambda text="", environ=None: load(write(text), environ=environ or {})


@pytest.fixture
def refused(write: Write) -> Refuse:
    """Loads settings that are refused, and gives the problems as `line: path: message`."""

    def problems(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        file = write(text)
        with pytest.raises(SettingsRefused) as caught:
            load(file, environ=environ or {})
        return [
            str(problem).replace(f"{file}:", "").replace(str(file), "").strip() for problem in caught.value.problems
        ]

    return problems
