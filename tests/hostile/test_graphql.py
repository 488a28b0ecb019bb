"""GraphQL calls that want to be taken for other calls: rows P1, P6 and P9 of the threat model."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.finders import BadBody
from connectors.apis.graphql.asking import digest_of
from connectors.apis.naming import Named
from tests.connectors.graphql.tracker import JSON, is_refused, namer, operations, posted, sent

DELETE = "mutation { deleteIssue(id: 1) { id } }"


@pytest.mark.parametrize(
    ("query", "variables", "named"),
    [
        # An alias, a fragment, a fragment in a fragment, one without a type: the field that runs counts.
        ("mutation { createIssue: deleteIssue(id: 1) { id } }", None, ["mutation.deleteIssue"]),
        ("mutation { ...F } fragment F on Mutation { deleteIssue(id: 1) { id } }", None, ["mutation.deleteIssue"]),
        (
            "mutation { ...A } fragment A on Mutation { ...B } fragment B on Mutation { x: deleteIssue(id: 1) { id } }",
            None,
            ["mutation.deleteIssue"],
        ),
        ("mutation { ... { ... on Mutation { deleteIssue(id: 1) { id } } } }", None, ["mutation.deleteIssue"]),
        # A condition by variable, by its default, and one that lifts.
        (
            "mutation($no: Boolean!) { deleteIssue(id: 1) @skip(if: $no) { id } }",
            {"no": False},
            ["mutation.deleteIssue"],
        ),
        (
            "mutation($on: Boolean = true) { deleteIssue(id: 1) @include(if: $on) { id } }",
            None,
            ["mutation.deleteIssue"],
        ),
        (
            "query($on: Boolean = true) { viewer @include(if: $on) node(id: 1) @skip(if: $on) { id } }",
            None,
            ["query.viewer"],
        ),
        # Comments, strings and block strings hold no fields.
        ('{ search(query: "} mutation { deleteIssue(id: 1)") { id } }', None, ["query.search"]),
        ('{ search(query: """ """ ) { id } # }\n viewer }', None, ["query.search", "query.viewer"]),
        ("{ viewer\r\n# } deleteIssue\r\n}", None, ["query.viewer"]),
        # One beside another, under one name or two.
        (
            "mutation { addLabels(issue: 1, labels: []) { id } deleteIssue(id: 1) { id } }",
            None,
            ["mutation.addLabels", "mutation.deleteIssue"],
        ),
        (
            "mutation { a: deleteIssue(id: 1) { id } b: deleteIssue(id: 2) { id } }",
            None,
            ["mutation.deleteIssue", "mutation.deleteIssue"],
        ),
        ("mutation { __typename deleteIssue(id: 1) { id } }", None, ["mutation.deleteIssue"]),
    ],
)
def test_p1_no_way_of_writing_a_field_hides_it(query: str, variables: object, named: list[str]):
    assert operations(posted(query, variables)) == named


@pytest.mark.parametrize(
    "query",
    [
        # Several operations, also where a name chooses one of them.
        "query A { viewer } mutation B { deleteIssue(id: 1) { id } }",
        "{ viewer } { viewer }",
        "fragment F on Query { viewer }",
        "",
        # Names that stand twice: the first for some, the last for others.
        "{ ...F } fragment F on Query { viewer } fragment F on Query { node(id: 1) { id } }",
        "query($a: ID = 1, $a: ID = 2) { node(id: $a) { id } }",
        "{ node(id: 1, id: 2) { id } }",
        'mutation { createIssue(input: {title: "a", title: "b", repositoryId: 1}) { id } }',
        "{ viewer @skip(if: false) @skip(if: true) }",
        "{ viewer @skip(if: false, if: true) }",
        # Two fields with one name in the answer.
        "{ a: viewer a: node(id: 1) { id } }",
        "mutation { deleteIssue(id: 1) { id } deleteIssue(id: 2) { id } }",
        # Conditions that are no truth values.
        '{ viewer @skip(if: "false") }',
        "{ viewer @skip(if: 0) }",
        "{ viewer @skip(if: null) }",
        "{ viewer @include }",
        "{ viewer @include(unless: true) }",
        "query($on: Boolean) { viewer @include(if: $on) }",
        "{ viewer @include(if: $undeclared) }",
        "query { node(id: $undeclared) { id } }",
        # What only some servers know.
        "{ viewer @live }",
        "query @live { viewer }",
        "{ ...F @defer } fragment F on Query { viewer }",
        "subscription { changed { id } }",
        "{ ...F } fragment F on Mutation { deleteIssue(id: 1) { id } }",
        "{ ... on Repository { deleteIssue(id: 1) { id } } }",
        "{ ...Nowhere }",
        "{ viewer } type Query { deleteIssue: String }",
        "{ viewer } extend type Query { x: String }",
        "{ viewer @skip(if: true) }",
        "{ }",
        # Fragments in themselves, here and below.
        "{ ...F } fragment F on Query { viewer ...F }",
        "{ node(id: 1) { ...F } } fragment F on Issue { related { ...F } }",
        # Bytes that end a line, a text or a document for some.
        "{ viewer # \u2028 } \n}",
        "{ viewer # \u2029 \n}",
        "{ viewer # \x85 \n}",
        "{ viewer # \r deleteIssue \n}",
        "{ viewer # \x0b \n}",
        "{ viewer } \x00 mutation { deleteIssue(id: 1) }",
        "\ufeff{ viewer }",
        "{ view\ufeffer }",
        '{ search(query: "\\ud800") { id } }',
        # More than anybody needs.
        "{ viewer " + "#\n" * 6_000 + "}",
        "{ viewer " * 3_000,
        "{" + "".join(f"a{n}: viewer " for n in range(51)) + "}",
        "{ " + "node(id: 1) { related " * 3 + "{ related " * 400,
        "{ node(id: 1) { " + "related { " * 20 + "id" + " }" * 22,
        "{ node(id: " + "[" * 2_000 + "]" * 2_000 + ") { id } }",
        "{ ...F0 } "
        + "".join(f"fragment F{n} on Query {{ ...F{n + 1} }} " for n in range(700))
        + "fragment F700 on Query { viewer }",
        "{ node(id: " + "9" * 5_000 + ") { id } }",
        "{ search(query: 1e999999999999999999999) { id } }",
        '{ search(query: "' + "x" * 70_000 + '") { id } }',
    ],
)
def test_p1_what_servers_could_take_for_two_things_is_refused(query: str):
    assert is_refused(posted(query)), query[:80]


def test_p1_more_root_fields_than_allowed_are_refused_also_when_they_come_in_a_list(tmp_path: Path):
    by = batching(tmp_path)
    many = "{" + "".join(f"a{n}: viewer " for n in range(11)) + "}"
    assert len(operations(posted(many))) == 11
    assert is_refused(posted("{" + "".join(f"a{n}: viewer " for n in range(21)) + "}"))
    assert is_refused(sent(json.dumps([{"query": many}, {"query": many}]).encode(), by=by))


@pytest.mark.parametrize(
    "query",
    [
        "{ nothing }",
        "{ viewer nothing }",
        "mutation { viewer }",
        "mutation { __schema { types { name } } }",
        "{ several }",
    ],
)
def test_p1_what_is_not_in_the_schema_is_unknown_also_beside_what_is(query: str):
    named = posted(query)
    assert isinstance(named, Named)
    assert (named.operation.name, named.parts) == ("t:unknown", ())


def test_p1_looking_at_the_schema_is_an_operation_of_its_own():
    assert operations(posted("{ __schema { types { name } } }")) == ["introspection"]
    assert operations(posted('{ viewer x: __type(name: "Issue") { name } }')) == ["query.viewer", "introspection"]


GOOD = {"query": "{ viewer }"}


@pytest.mark.parametrize(
    "body",
    [
        # Keys that stand twice, or stand for others to a reader that does not heed case.
        b'{"query": "{ viewer }", "query": "mutation { deleteIssue(id: 1) { id } }"}',
        b'{"query": "{ viewer }", "qu\\u0065ry": "mutation { deleteIssue(id: 1) { id } }"}',
        json.dumps(GOOD | {"Query": DELETE}).encode(),
        json.dumps(GOOD | {"operationname": "B"}).encode(),
        # Other places to keep a document, or the name of one.
        json.dumps(GOOD | {"id": "abc"}).encode(),
        json.dumps(GOOD | {"documentId": "abc"}).encode(),
        json.dumps(GOOD | {"extensions": {"documentId": "abc"}}).encode(),
        json.dumps(GOOD | {"mutation": DELETE}).encode(),
        # Members of other types.
        json.dumps(GOOD | {"variables": '{"a": 1}'}).encode(),
        json.dumps(GOOD | {"variables": []}).encode(),
        json.dumps(GOOD | {"operationName": ["A"]}).encode(),
        json.dumps(GOOD | {"extensions": "{}"}).encode(),
        json.dumps({"query": ["{ viewer }"]}).encode(),
        json.dumps({"variables": {}}).encode(),
        json.dumps("{ viewer }").encode(),
        b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
        json.dumps(GOOD).encode() + b"{}",
        json.dumps(GOOD).encode("utf-16"),
        b"",
        # A name that is not the operation's.
        json.dumps(GOOD | {"operationName": "A"}).encode(),
        json.dumps({"query": "query A { viewer }", "operationName": "B"}).encode(),
        # Lists, where nobody said that the upstream takes them.
        json.dumps([GOOD]).encode(),
        json.dumps([GOOD, {"query": DELETE}]).encode(),
        b"[]",
    ],
)
def test_p6_a_body_that_two_servers_could_read_differently_is_refused(body: bytes):
    assert is_refused(sent(body))


@pytest.mark.parametrize(
    "query", ["query=mutation%7BdeleteIssue%7D", "variables=%7B%7D", "extensions=%7B%7D", "id=1", "op=x"]
)
def test_p6_a_url_that_could_win_over_the_body_is_refused(query: str):
    assert is_refused(sent(json.dumps(GOOD).encode(), query=query))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_p6_no_mutation_is_sent_by_get(method: str):
    assert is_refused(sent(b"", method=method, query=f"query={quote(DELETE)}", headers=()))
    assert operations(sent(b"", method=method, query=f"query={quote('{ viewer }')}", headers=())) == ["query.viewer"]


@pytest.mark.parametrize(
    "query",
    [
        "query=%7Bviewer%7D&query=mutation%7BdeleteIssue%7D",
        "query[]=%7Bviewer%7D",
        "query=%7Bviewer%7D&Query=x",
        "query=%7Bviewer%7D;variables=1",
        "query=%7Bviewer%7D&variables=%7B%22a%22:1,%22a%22:2%7D",
        "query=%7Bviewer%7D&variables=[]",
        "query=%7Bviewer%7D&documentId=1",
        "query=%7Bviewer%7D%zz",
        "",
    ],
)
def test_p6_a_query_in_the_url_is_read_as_strictly(query: str):
    assert is_refused(sent(b"", method="GET", query=query, headers=()))


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/graphql/", JSON, b'{"query": "{ viewer }"}'),
        ("POST", "/Graphql", JSON, b'{"query": "{ viewer }"}'),
        ("POST", "/", JSON, b'{"query": "{ viewer }"}'),
        ("PUT", "/graphql", JSON, b'{"query": "{ viewer }"}'),
        ("DELETE", "/graphql", JSON, b'{"query": "{ viewer }"}'),
        ("GET", "/graphql", JSON, b'{"query": "{ viewer }"}'),
        ("POST", "/graphql", (("content-type", "application/graphql"),), b"{ viewer }"),
        ("POST", "/graphql", (("content-type", "text/plain"),), b'{"query": "{ viewer }"}'),
        ("POST", "/graphql", (("content-type", "application/x-www-form-urlencoded"),), b"query=%7Bviewer%7D"),
        ("POST", "/graphql", (("content-type", "application/vnd.api+json"),), b'{"query": "{ viewer }"}'),
        ("POST", "/graphql", (), b'{"query": "{ viewer }"}'),
    ],
)
def test_p6_a_call_of_another_form_is_unknown(
    method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes
):
    named = sent(body, method=method, path=path, headers=headers)
    assert isinstance(named, Named)
    assert named.operation.name == "t:unknown"


def persisted(digest: object, **members: object) -> Named | BadBody:
    return posted(None, extensions={"persistedQuery": {"version": 1, "sha256Hash": digest}}, **members)


def test_p6_a_hash_that_nobody_listed_is_refused_and_so_is_one_that_lies():
    known = digest_of(DELETE)
    for digest in (known, known.upper(), known[:-1], 7, None):
        assert is_refused(persisted(digest))
    lying = {"persistedQuery": {"version": 1, "sha256Hash": known}}
    assert is_refused(posted("{ viewer }", extensions=lying))
    assert operations(posted(DELETE, extensions=lying)) == ["mutation.deleteIssue"]


def test_p6_a_listed_hash_is_the_operation_of_its_document(tmp_path: Path):
    listed = f"graphql:\n  mutations: [deleteIssue]\n  persisted:\n    {digest_of(DELETE)}: '{DELETE}'\n"
    (tmp_path / "t.yaml").write_text(listed)
    by = namer(tmp_path / "t.yaml")
    said = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest_of(DELETE)}}}
    assert operations(sent(json.dumps(said).encode(), by=by)) == ["mutation.deleteIssue"]
    in_url = f"extensions={quote(json.dumps(said['extensions']))}"
    assert is_refused(sent(b"", method="GET", query=in_url, headers=(), by=by))


def batching(folder: Path):
    (folder / "t.yaml").write_text("graphql:\n  batches: true\n  queries: [viewer]\n  mutations: [deleteIssue]\n")
    return namer(folder / "t.yaml")


def test_p9_every_query_of_a_list_counts_where_the_upstream_takes_lists(tmp_path: Path):
    by = batching(tmp_path)
    named = sent(json.dumps([GOOD, {"query": DELETE}]).encode(), by=by)
    assert operations(named) == ["query.viewer", "mutation.deleteIssue"]
    assert isinstance(named, Named)
    assert (named.operation.name, named.operation.tier.value) == ("t:mutation.several", "high")
    for body in ([GOOD, []], [GOOD, {"query": "{"}], [GOOD, GOOD | {"id": 1}], []):
        assert is_refused(sent(json.dumps(body).encode(), by=by))


WORDS = [
    *'{}()[]:$!@|&=#"\\ \n,.1é',
    "viewer",
    "node",
    "...",
    "on",
    "Query",
    "query",
    "mutation",
    "fragment",
    "@skip",
    "if",
]


@given(st.text(max_size=200) | st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join))
def test_p1_whatever_is_sent_there_is_an_answer(text: str):
    assert isinstance(posted(text), Named | BadBody)
