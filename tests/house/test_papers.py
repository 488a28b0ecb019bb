"""The documents are true: every reason, word, setting and file that they name exists, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.settings import Settings
from config.shape import fields, sections
from policy.reasons import Reason
from tests.house.source import ROOMS, ROOT

DOCS = ROOT / "docs"
PAPERS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
PATH = re.compile(r"`((?:policy|proxy|connectors|config|tests|docs|charts|requirements)/[\w./-]*[\w/])`")
SETTING = re.compile(r"`((?:{})\.[a-z_.]+)`".format("|".join(Settings.model_fields)))
WORDS = (
    *(
        "call",
        "principal",
        "operation",
        "verdict",
        "gate",
        "hold",
        "brief",
        "ballot",
        "amendment",
        "question",
        "warrant",
    ),
    *("release", "receipt", "ledger", "channel", "sink", "upstream"),
)
"""The words that the house fixed at its beginning; the page may have more."""


def test_the_page_of_reasons_and_the_list_of_reasons_are_equal():
    assert ROW.findall((DOCS / "reasons.md").read_text()) == [reason.value for reason in Reason]


def test_every_word_of_the_house_is_explained():
    explained = set(re.findall(r"\*\*([a-z]+)\*\*", (DOCS / "vocabulary.md").read_text()))
    assert set(WORDS) - explained == set()


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_file_that_a_paper_names_exists(paper: Path):
    text = re.sub(r"^```.*?^```", "", paper.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]
    missing = [link for link in links if not (paper.parent / link).exists()]
    missing += [path for path in PATH.findall(text) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_every_setting_that_a_paper_names_exists(paper: Path):
    assert [path for path in SETTING.findall(paper.read_text("utf-8")) if not _is_setting(path)] == []


def test_every_setting_is_read_by_somebody():
    text = "\n".join(
        path.read_text("utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name != "settings.py"
    )
    idle = [
        f"{section.__name__}.{name}"
        for section in sections()
        for name in fields(section)
        if name != "kind" and not re.search(rf"\b{name}\b", text)
    ]
    assert idle == []


def _is_setting(path: str) -> bool:
    """True for `holds.wait_s` and for `upstreams.prefix`, as papers write it, without the number between."""
    known = {f"{top}.{name}" for top in Settings.model_fields for section in sections() for name in fields(section)}
    first, *_, last = path.split(".")
    return f"{first}.{last}" in known or path.endswith(("md", "py"))
