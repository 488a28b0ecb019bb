"""Every connector has the same files, and they say what they are there to say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from config.settings import Policy, Upstream
from connectors.apis import shipped
from connectors.apis.errors import CatalogueRefused
from connectors.apis.shapes import Problem, shape
from policy import cases
from policy.annotations import Kind
from policy.casefile import read
from policy.engine import Engine
from proxy import lawbook
from tests.house.source import ROOT

FOLDERS = sorted(file.parent.name for file in (ROOT / "connectors" / "apis").glob(f"*/{shipped.POLICIES}"))
ALIKE = ("anthropic", "generic", "github", "openai", "salesforce", "slack", "stripe")


def engine(connector: str, *, upstream: str | None = None) -> Engine:
    """The law of a connector's own policies, beside a grant of everything."""
    name, catalogue = upstream or connector, Path(f"builtin:{connector}")
    where = Upstream(name=name, url="https://api.example.com", connector=connector, catalogue=catalogue)
    try:
        catalogues = lawbook.read_catalogues([where])
    except CatalogueRefused:
        # Calls that are named by code need no file.
        catalogues = lawbook.read_catalogues([where.model_copy(update={"catalogue": None})])
    bundle = lawbook.compile_in_child(
        Policy(files=(Path(f"builtin:{connector}:{name}"),)),
        operations=lawbook.operations_of(catalogues),
        groups={},
        labels=lawbook.labels_of(catalogues),
        beside=(lawbook.REHEARSAL,),
    )
    return Engine(bundle)


@pytest.mark.parametrize("connector", ALIKE)
def test_each_connector_has_every_file(connector: str):
    assert [name for name in shipped.FILES if not shipped.file(connector, name).is_file()] == []


@pytest.mark.parametrize("connector", FOLDERS)
@pytest.mark.parametrize("upstream", ["same", "called-otherwise"])
def test_the_policies_of_a_connector_do_what_its_cases_say_whatever_its_upstream_is_called(
    connector: str, upstream: str
):
    name = connector if upstream == "same" else "pay"
    law = engine(connector, upstream=name)
    named = shipped.reference(Path(f"builtin:{connector}:{name}"), having=shipped.CASES)
    outcomes = [cases.run(law, case) for case in read(yaml.safe_load(named.text(shipped.CASES)))]
    assert {one.name: one.differences for one in outcomes if not one.passed} == {}


@pytest.mark.parametrize("connector", FOLDERS)
def test_the_policies_of_a_connector_grant_nothing_and_bear_its_name(connector: str):
    rules = [one for one in engine(connector).bundle.rules if one.statement.file.startswith("builtin:")]
    assert [one.id for one in rules if one.kind is Kind.GRANT or not one.id.startswith(f"{connector}-")] == []


# The generic catalogue knows no classes but those of methods; its policies are for catalogues that say more.
@pytest.mark.parametrize("connector", [name for name in FOLDERS if name != "generic"])
def test_each_policy_of_a_connector_decides_some_case(connector: str):
    rules = {one.id for one in engine(connector).bundle.rules if one.statement.file.startswith("builtin:")}
    law = engine(connector)
    texts = read(yaml.safe_load(shipped.file(connector, shipped.CASES).read_text("utf-8")))
    said = " ".join(cases.run(law, case).said for case in texts)
    assert {rule for rule in rules if not re.search(rf"\b{re.escape(rule)}\b", said)} == set()


@pytest.mark.parametrize("connector", [*ALIKE, "kubernetes"])
def test_the_error_of_each_connector_says_the_sentence_and_leaves_no_blank(connector: str):
    problem = Problem(sentence="Not today.", code="rejected", status=403, members={"type": "urn:x", "status": 403})
    told = json.loads(shape(problem, connector=connector).body)
    assert "Not today." in json.dumps(told)
    assert re.search(r"\{[a-z]+\}", json.dumps(told)) is None


@pytest.mark.parametrize("connector", [*ALIKE, "kubernetes"])
def test_the_note_on_credentials_has_settings_that_are_settings(connector: str):
    note = shipped.file(connector, shipped.CREDENTIAL).read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", note, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        Upstream.model_validate({"name": connector, "url": "https://api.example.com", **yaml.safe_load(block)})
