"""The threat map is true: every row once, every test that it names there, nothing left open without saying so."""

from __future__ import annotations

import re

from tests.house.source import ROOT, checks

PAGE = (ROOT / "docs" / "threats.md").read_text("utf-8")
IDS = tuple(
    f"{kind}{n}" for kind, last in (("F", 12), ("P", 12), ("A", 13), ("J", 12), ("E", 13)) for n in range(1, last + 1)
)
ROW = re.compile(r"^\| ([FPAJE][0-9]+) \|.*\| ([^|]*) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
NOT_YET = re.compile(r"not yet: \S+")


def test_every_threat_has_exactly_one_row_in_its_order():
    assert tuple(row for row, _ in ROW.findall(PAGE)) == IDS


def test_every_test_that_the_page_names_exists():
    there = {(module.name, function.name) for module in checks() for function in module.functions()}
    named = set(TEST.findall(PAGE))
    assert len(named) > len(IDS)
    assert named - there == set()


def test_every_row_names_a_test_or_says_that_it_is_not_there_yet():
    assert [row for row, shown in ROW.findall(PAGE) if not (TEST.search(shown) or NOT_YET.search(shown))] == []


def test_what_is_not_there_yet_is_listed_as_a_whole():
    (listed,) = re.findall(r"^Rows that say \*not yet\*, in their order: (.*)\.$", PAGE, re.MULTILINE)
    assert listed.split(", ") == [row for row, shown in ROW.findall(PAGE) if "not yet" in shown]


def test_every_goal_of_reliability_names_a_test_or_says_that_it_is_not_there_yet():
    goals = [line for line in PAGE.partition("\n| fault | goal |")[2].splitlines() if line.startswith("| ")]
    assert len(goals) > 10
    assert [goal for goal in goals if not (TEST.search(goal) or NOT_YET.search(goal))] == []


def test_every_hostile_test_file_is_on_the_page():
    named = {name for name, _ in TEST.findall(PAGE)}
    hostile = {module.name for module in checks() if re.match(r"tests/hostile/test_\w+\.py$", module.name)}
    assert hostile - named == set()
