"""`assentry policy`: what it prints, and with which exit status it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli.policy import app
from tests.policy.enacted import REFUNDS

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command, with a settings file, one upstream, and the refund policies."""
    settings = {
        "demo": True,
        "upstreams": [{"name": "stripe", "url": "https://api.stripe.test", "catalogue": "builtin:stripe"}],
        "groups": {"finance-leads": {"quorum": 2}, "cfo": {"quorum": 1}},
        "policy": {"files": ["law"]},
    }
    (tmp_path / "assentry.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "law").mkdir()
    (tmp_path / "law" / "refunds.cedar").write_text(REFUNDS)

    def invoke(verb: str, *arguments: Any) -> Result:
        config = str(tmp_path / "assentry.yaml")
        return CliRunner().invoke(app, [verb, "--config", config, *map(str, arguments)])

    return invoke


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A file with a case that passes."""
    file = tmp_path / "cases.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "cases": [
                    {
                        "name": "a large refund asks",
                        "operation": "stripe:refunds.create",
                        "principal": {"agent": "corp:robot", "groups": ["billing-agents"]},
                        "req": {"ip": "10.0.0.1"},
                        "input": {"amount": 25000},
                        "expect": "ask",
                        "needs": {"finance-leads": 1},
                    }
                ]
            }
        )
    )
    return file


def failing(cases: Path) -> Path:
    cases.write_text(cases.read_text().replace("expect: ask", "expect: allow"))
    return cases


def test_good_policies_are_counted_and_named_by_their_digest(run: Run) -> None:
    said = run("validate")
    assert said.exit_code == 0, said.output
    assert "10 policies are good" in said.output
    assert json.loads(run("validate", "-o", "json").stdout)["kinds"] == {"grant": 3, "prohibition": 3, "gate": 4}


def test_bad_policies_are_refused_with_file_line_and_column(run: Run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.cedar"
    bad.write_text('@id("x")\npermit (principal action, resource);\npermit (principal, action, resource);')
    said = run("validate", "--policies", bad)
    assert said.exit_code == 2
    assert f"{bad}:2:19: unexpected token" in said.stderr
    assert f"{bad}:3:1: @id is required" in said.stderr
    told = json.loads(run("validate", "-p", bad, "-o", "json").stdout)
    assert len(told["problems"]) == 2


def test_settings_that_are_refused_end_with_two(tmp_path: Path) -> None:
    (tmp_path / "assentry.yaml").write_text("nonsense: true")
    said = CliRunner().invoke(app, ["validate", "--config", str(tmp_path / "assentry.yaml")])
    assert said.exit_code == 2


def test_cases_that_pass_end_with_zero(run: Run, cases: Path) -> None:
    said = run("test", cases)
    assert said.exit_code == 0, said.output
    assert "1 passed, 0 failed" in said.output


def test_a_case_that_fails_ends_with_one_and_says_how(run: Run, cases: Path) -> None:
    said = run("test", failing(cases))
    assert said.exit_code == 1
    assert "expected allow, got ask" in said.output
    (told,) = json.loads(run("test", cases, "-o", "json").stdout)
    assert not told["passed"]


def test_results_are_written_as_junit(run: Run, cases: Path, tmp_path: Path) -> None:
    run("test", failing(cases), "--junit", tmp_path / "results.xml")
    suite = ElementTree.parse(tmp_path / "results.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "expected allow" in str(suite.find("testcase/failure").get("message"))  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["cases: [{name: x}]", "cases: [", "[]"])
def test_a_file_that_holds_no_cases_ends_with_two(run: Run, cases: Path, text: str) -> None:
    cases.write_text(text)
    said = run("test", cases)
    assert said.exit_code == 2
    assert str(cases) in said.stderr


def test_an_explanation_names_the_policies_their_places_and_what_they_need(run: Run, cases: Path) -> None:
    said = run("explain", cases, "a large refund asks")
    assert said.exit_code == 0, said.output
    assert "verdict     ask" in said.output
    assert "refund-over-100 (gate)" in said.output
    assert "refunds.cedar:6:1" in said.output
    assert "refund-over-100: 1 of finance-leads" in said.output
    told = json.loads(run("explain", cases, "a large refund asks", "-o", "json").stdout)
    assert told["context"]["input"]["amount"] == 25000


def test_a_case_that_is_not_there_cannot_be_explained(run: Run, cases: Path) -> None:
    assert run("explain", cases, "another").exit_code == 2


def test_the_schema_is_printed_for_editors(run: Run) -> None:
    said = run("schema")
    assert said.exit_code == 0, said.output
    assert 'action "stripe:refunds.create"' in said.stdout
