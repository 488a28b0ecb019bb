"""`assentry catalog`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from proxy.cli.catalog import app

SPEC = {
    "openapi": "3.0.3",
    "paths": {
        "/things/{id}": {"get": {"operationId": "getThing", "summary": "Get a thing"}},
        "/things/{name}": {"get": {"operationId": "getThingAgain"}},
    },
}


@pytest.fixture
def spec(tmp_path):
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(SPEC))
    return file


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_document_is_imported_to_a_file_that_checks(spec, tmp_path):
    output = tmp_path / "shop.yaml"
    done = run("import", spec, "-o", output)
    assert done.exit_code == 0
    assert "1 operations" in done.output
    assert "getThingAgain takes the same calls as shop:getThing" in done.output
    checked = run("check", output)
    assert checked.exit_code == 0
    assert "1 operations, labels card, email" in checked.output


def test_an_import_without_a_file_is_printed(spec):
    assert run("import", spec).stdout.startswith("operations:\n  getThing:\n    call: GET /things/{id}\n")


def test_a_match_names_the_operation_and_what_it_captured(spec):
    done = run("match", spec, "GET", "/things/7", "--upstream", "store")
    assert done.output == "store:getThing  GET /things/{id}  low  read\n  id = 7\n"


def test_a_call_that_is_unknown_says_so_and_fails(spec):
    done = run("match", spec, "GET", "/Things/7")
    assert (done.exit_code, done.output) == (1, "shop:unknown\n")


def test_the_shipped_catalogues_are_listed(spec):
    listed = run("ls").output
    assert "stripe:refunds.create  POST /v1/refunds  high  money,write" in listed
    assert "github:repos.delete" in listed
    assert run("ls", spec).output == "shop:getThing  GET /things/{id}  low  read\n"


def test_a_refused_file_ends_with_two_and_every_fault(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("operations: {a: {call: GET /a, teir: low}}\nmore: 1")
    for words in (["check", file], ["ls", file], ["match", file, "GET", "/"], ["import", file]):
        done = run(*words)
        assert done.exit_code == 2
        assert 'operations.a.teir: unknown key: did you mean "tier"?' in done.stderr
        assert "more: unknown key" in done.stderr


def test_a_place_that_cannot_be_written_ends_with_two(spec, tmp_path):
    done = run("import", spec, "-o", tmp_path / "nowhere" / "x.yaml")
    assert done.exit_code == 2
    assert "cannot be written (FileNotFoundError)" in done.stderr
