"""A schema becomes a closed list of operations with typed input; a catalogue file says the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from graphql import build_schema, introspection_from_schema

from connectors.apis.catalogue import Catalogue, load
from connectors.apis.detectors import UNSCANNED
from connectors.apis.errors import CatalogueRefused
from connectors.apis.graphql.schemas import is_destructive
from connectors.apis.naming import Named
from policy.operation import FieldType, Operation, OperationClass, Tier
from tests.connectors.graphql.tracker import FOLDER, SDL, is_refused, namer, operations, posted, sent

ROOT = Path(__file__).resolve().parents[3]


def catalogue(folder: Path, text: str) -> Catalogue:
    (folder / "tracker.graphql").write_text(SDL)
    (folder / "introspection.json").write_text(json.dumps({"data": introspection_from_schema(build_schema(SDL))}))
    (folder / "t.yaml").write_text(text)
    return load(folder / "t.yaml", upstream="t", connector="graphql")


def known(listed: Catalogue) -> dict[str, Operation]:
    return {one.name.removeprefix("t:"): one for one in listed.operations}


TRACKER = known(load(FOLDER / "tracker.yaml", upstream="t", connector="graphql"))


def faults(folder: Path, text: str) -> str:
    with pytest.raises(CatalogueRefused) as refused:
        catalogue(folder, text)
    return str(refused.value)


def test_every_root_field_is_an_operation_and_so_are_several_and_introspection():
    queries = ["viewer", "repository", "search", "node", "at"]
    mutations = ["createIssue", "addLabels", "deleteIssue", "issueRemove", "transfer"]
    assert list(TRACKER) == [
        *(f"query.{name}" for name in queries),
        *(f"mutation.{name}" for name in mutations),
        "query.several",
        "mutation.several",
        "introspection",
    ]


def test_queries_read_mutations_write_and_names_say_what_destroys_until_the_file_says_otherwise():
    kinds = {name: (one.tier, *one.classes) for name, one in TRACKER.items()}
    assert kinds["query.node"] == kinds["introspection"] == (Tier.LOW, OperationClass.READ)
    assert kinds["mutation.createIssue"] == (Tier.MEDIUM, OperationClass.WRITE)
    assert kinds["mutation.deleteIssue"] == kinds["mutation.issueRemove"] == (Tier.HIGH, OperationClass.DESTRUCTIVE)
    assert kinds["mutation.transfer"] == (Tier.HIGH, OperationClass.ACCESS)


@pytest.mark.parametrize("name", ["deleteIssue", "delete_users", "productDelete", "bulkDELETE", "DropTable"])
def test_names_that_destroy(name: str):
    assert is_destructive(name)


@pytest.mark.parametrize("name", ["createIssue", "undeleted", "addDroplet", "updateRemover", "cancelled"])
def test_names_that_do_not(name: str):
    assert not is_destructive(name)


def test_arguments_of_scalar_types_and_those_of_input_objects_are_typed_input():
    fields = {one.name: (one.type, one.required) for one in TRACKER["query.search"].fields}
    assert fields == {
        "query": (FieldType.TEXT, True),
        "kinds": (FieldType.TEXTS, False),
        "score": (FieldType.DECIMAL, False),
        "mine": (FieldType.BOOL, False),
        "graphql_operation": (FieldType.TEXT, False),
        "graphql_depth": (FieldType.LONG, False),
        "graphql_fields": (FieldType.TEXTS, False),
        "graphql_width": (FieldType.LONG, False),
    }
    created = {one.name: one.path for one in TRACKER["mutation.createIssue"].fields}
    assert created["input_title"] == ("arguments", "input", "title")
    # A type of the schema's own may be written as anything, so a missing text is not held against it.
    assert [one.required for one in TRACKER["query.at"].fields if one.name == "when"] == [False]


def test_defaults_are_filled_in_and_ids_are_texts():
    named = posted('{ repository(owner: "acme") { name } }')
    assert isinstance(named, Named)
    assert named.input.values["name"] == "main"
    assert named.input.values["first"] == 10
    moved = posted("mutation($i: ID!) { transfer(issue: $i) { id } }", {"i": 7})
    assert isinstance(moved, Named)
    assert moved.input.values["issue"] == "7"
    assert moved.input.values["to_owner"] == "acme"


def test_what_is_known_of_the_document_is_typed_input_too():
    named = posted("query Two { viewer a: node(id: 1) { repository { name } } }", operationName="Two")
    assert isinstance(named, Named)
    assert named.input.values == {"graphql_depth": 3, "graphql_fields": ("node", "viewer"), "graphql_width": 2}
    assert named.parts[0].input.values["graphql_operation"] == "Two"


def test_an_introspection_result_says_the_same_as_the_schema(tmp_path: Path):
    written = known(catalogue(tmp_path, "graphql: {schema: tracker.graphql}"))
    asked = known(catalogue(tmp_path, "graphql: {schema: introspection.json}"))
    assert asked == written
    by = namer(tmp_path / "t.yaml")
    named = posted('{ repository(owner: "acme") { name } }', by=by)
    assert isinstance(named, Named)
    assert named.input.values["first"] == 10
    assert operations(posted("{ ... on Root { viewer } }", by=by)) == ["query.viewer"]


def test_without_a_schema_only_the_names_of_the_file_are_known(tmp_path: Path):
    text = """
graphql: {path: /api, queries: [viewer, node], mutations: [deleteIssue]}
operations:
  mutation.deleteIssue:
    fields: {id: {in: body, path: arguments.id}}
"""
    listed = known(catalogue(tmp_path, text))
    assert list(listed)[:3] == ["query.viewer", "query.node", "mutation.deleteIssue"]
    by = namer(tmp_path / "t.yaml")
    asked = (b'{"query": "mutation { deleteIssue(id: \\"i_1\\") { id } }"}', b'{"query": "{ repository { name } }"}')
    deleted, other = (sent(body, path="/api", by=by) for body in asked)
    assert isinstance(deleted, Named)
    assert deleted.operation.classes == {OperationClass.DESTRUCTIVE}
    assert deleted.input.values["id"] == "i_1"
    assert operations(other) == ["unknown"]
    # The endpoint is another one than usual.
    assert operations(posted("{ viewer }", by=by)) == ["unknown"]


def test_the_file_can_leave_operations_out(tmp_path: Path):
    text = "graphql: {schema: tracker.graphql}\noperations: {query.node: {ignore: true}, introspection: {ignore: true}}"
    catalogue(tmp_path, text)
    by = namer(tmp_path / "t.yaml")
    asked = ("{ node(id: 1) { id } }", "{ viewer node(id: 1) { id } }", "{ __schema { types { name } } }")
    assert [operations(posted(query, by=by)) for query in asked] == [["unknown"]] * 3


def test_limits_and_harmless_members_are_settings(tmp_path: Path):
    catalogue(tmp_path, "graphql: {schema: tracker.graphql, ignored: [clientInfo], limits: {depth: 2, root_fields: 1}}")
    by = namer(tmp_path / "t.yaml")
    assert operations(posted("{ viewer }", by=by, clientInfo={"name": "x"})) == ["query.viewer"]
    assert is_refused(posted("{ viewer }", by=by, clientinfo=1))
    assert is_refused(posted("{ a: viewer b: viewer }", by=by))
    assert is_refused(posted("{ node(id: 1) { repository { name } } }", by=by))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("graphql: {schema: nowhere.graphql}", 'graphql.schema: "nowhere.graphql" cannot be read'),
        ("graphql: {schema: t.yaml}", "is neither GraphQL's schema language nor an introspection result"),
        ("graphql: {schema: tracker.graphql, queries: [viewer]}", "leave out the lists of names"),
        ("graphql: {queries: [no-name]}", '"no-name" is not the name of a field'),
        ("graphql: {queries: [several]}", '"several" is not the name of a field'),
        ("graphql: {path: graphql}", '"graphql" is not the path of an endpoint'),
        ("graphql: {limits: {depth: 0}}", "graphql.limits.depth: must be a whole number above zero"),
        ("graphql: {limits: {dept: 2}}", 'unknown key: did you mean "depth"?'),
        ("graphql: {persisted: {abc: '{ viewer }'}}", "is not the SHA-256 of its document"),
        ("graphql: {schema: tracker.graphql}\noperations: {query.nod: {tier: high}}", "did you mean"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, text: str, said: str):
    assert said in faults(tmp_path, text)


def test_a_schema_whose_field_is_called_several_is_refused(tmp_path: Path):
    (tmp_path / "odd.graphql").write_text("type Query { several: String }")
    assert "root field `several`" in faults(tmp_path, "graphql: {schema: odd.graphql}")


def test_where_something_is_found_in_a_document_no_argument_is_called_harmless():
    # Pointers lead into the body, and arguments are read from elsewhere.
    named = posted("query($q: String!) { search(query: $q) { id } }", {"q": "ann@example.com"})
    assert isinstance(named, Named)
    assert named.sensitivity.counts == {"email": 1}
    assert named.sensitivity.paths["email"] == ("/body/variables/q", "")
    assert UNSCANNED not in named.sensitivity.labels


def test_without_graphql_core_the_catalogue_says_what_to_install():
    program = """
import sys
sys.modules["graphql"] = None
from connectors.apis.catalogue import load
from connectors.apis.errors import CatalogueRefused
try:
    load(None, upstream="t", connector="graphql")
except CatalogueRefused as refused:
    print(refused)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == 'builtin:graphql: graphql: needs graphql-core: install "assentry[graphql]"'
