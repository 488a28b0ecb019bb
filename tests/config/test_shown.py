"""What is printed: the settings in force, the schema, the example, the reference, the command line around them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from config.check import MASK, differences, effective
from config.jsonschema import schema
from config.load import load
from config.reference import reference
from config.settings import Settings
from config.shape import Scalar, fields, sections
from proxy.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "OIDC_CLIENT_SECRET": "canary-1",
    "STRIPE_API_KEY": "canary-2",
    "GITHUB_TOKEN": "canary-3",
    "VALKEY_URL": "rediss://canary-4:canary-5@valkey.example:6379/0?password=canary-6",
    "ASSENTRY_SEAL_KEY": "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E=",
}
EXAMPLE = ROOT / "config" / "example.yaml"


@pytest.fixture
def run():
    runner = CliRunner()
    return lambda *words, env=None: runner.invoke(app, words, env={"ASSENTRY_CONFIG": None, **(env or {})})


def test_the_example_loads():
    settings = load(EXAMPLE, environ=SECRETS).settings
    assert [upstream.name for upstream in settings.upstreams] == ["stripe", "github"]


def test_the_example_shows_every_part_of_the_settings():
    written = set(yaml.safe_load(EXAMPLE.read_text()))
    assert written == set(Settings.model_fields) - {"demo", "person_max_age_s"}


def test_the_schema_takes_the_example():
    jsonschema_rs.meta.validate(schema())
    jsonschema_rs.validator_for(schema()).validate(yaml.safe_load(EXAMPLE.read_text()))


def test_the_schema_objects_to_a_literal_secret_and_an_unknown_key():
    checker = jsonschema_rs.validator_for(schema())
    assert not checker.is_valid({"store": {"encryption_key": "literal"}})
    assert checker.is_valid({"store": {"encryption_key": "env:KEY"}})
    assert not checker.is_valid({"agents": {"listn": "127.0.0.1:1"}})


def test_every_value_is_shown_with_its_source():
    rows = {row.path: row for row in effective(load(EXAMPLE, environ={**SECRETS, "ASSENTRY_LOG": "debug"}))}
    assert (rows["log"].value, rows["log"].source) == ("debug", "environment variable ASSENTRY_LOG")
    assert rows["agents.listen"].source.endswith("example.yaml:11")
    assert (rows["holds.max_wait_s"].value, rows["holds.max_wait_s"].source) == ("590", "default")
    assert rows["upstreams.0.credential.token"].value == MASK


def test_a_whole_section_from_a_variable_has_that_source():
    rows = {row.path: row for row in effective(load(None, environ={"ASSENTRY_AGENTS": "{hosts: [a.example]}"}))}
    assert rows["agents.hosts.0"].source == "environment variable ASSENTRY_AGENTS"


@pytest.mark.parametrize("output", ["table", "json"])
def test_no_secret_is_printed(run, output):
    shown = run("config", "check", "-c", str(EXAMPLE), "-o", output, env=SECRETS)
    assert shown.exit_code == 0
    assert MASK in shown.output
    assert "canary" not in shown.output.replace("valkey.example", "")
    assert SECRETS["ASSENTRY_SEAL_KEY"] not in shown.output


def test_check_prints_json_that_can_be_read(run):
    shown = json.loads(run("config", "check", "-c", str(EXAMPLE), "-o", "json", env=SECRETS).stdout)
    assert {"path": "log", "value": "info", "source": f"{EXAMPLE}:7"} in shown["settings"]


def test_refused_settings_end_with_status_2_and_every_problem(run, write):
    shown = run("config", "check", "-c", str(write("logg: info\nagents: {listn: x}\n")))
    assert shown.exit_code == 2
    assert "did you mean 'log'?" in shown.stderr
    assert "The settings are refused: 2 problems." in shown.stderr
    assert shown.stdout == ""


def test_the_file_is_taken_from_the_environment_when_none_is_given(run, write):
    shown = run("config", "check", env={"ASSENTRY_CONFIG": str(write("log: error\n"))})
    assert "error" in shown.stdout


def test_example_schema_and_reference_are_printed(run):
    assert run("config", "example").stdout == EXAMPLE.read_text()
    assert json.loads(run("config", "schema").stdout) == schema()
    assert run("config", "reference").stdout == reference()


def test_the_reference_on_paper_is_the_reference_of_the_models():
    assert (ROOT / "docs" / "settings.md").read_text() == reference(), "write it anew: make docs"


def test_every_section_and_setting_has_a_sentence():
    for section in sections():
        assert section.__doc__, section
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"
            assert f"| `{name}` |" in reference()


def test_every_secret_setting_is_masked_by_its_shape():
    secrets = {
        f"{section.__name__}.{name}"
        for section in sections()
        for name, shape in fields(section).items()
        if isinstance(shape, Scalar) and (shape.secret or shape.may_refer)
    }
    assert {"BearerCredential.token", "Store.encryption_key", "Store.url", "SignIn.client_secret"} <= secrets


def test_differences_are_paths_and_see_changed_secrets():
    other = {**SECRETS, "STRIPE_API_KEY": "new", "ASSENTRY_LOG": "debug"}
    changed = differences(load(EXAMPLE, environ=SECRETS), load(EXAMPLE, environ=other))
    assert changed == ("log", "upstreams.0.credential.token")


def test_help_does_not_import_what_only_verbs_need():
    script = "import sys, proxy.cli.main; print([m for m in ('pydantic', 'aiohttp', 'cedarpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
