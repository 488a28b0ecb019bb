"""Which operation a path is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.catalogue import load
from connectors.apis.matcher import Matcher, fault, parameters
from tests.connectors.apis.examples import operation, published


def found(calls: list[str], method: str, path: str) -> str | None:
    match = Matcher([operation(call) for call in calls]).match(method, path)
    return None if match is None else f"{match.operation.method} {match.operation.template}"


def test_a_literal_beats_a_template_whatever_the_order():
    calls = ["GET /users/{id}", "GET /users/me"]
    for ordered in (calls, calls[::-1]):
        assert found(ordered, "GET", "/users/me") == "GET /users/me"
        assert found(ordered, "GET", "/users/7") == "GET /users/{id}"


def test_a_literal_that_leads_nowhere_gives_way_to_the_template():
    calls = ["GET /users/me/keys", "GET /users/{id}/posts"]
    assert found(calls, "GET", "/users/me/posts") == "GET /users/{id}/posts"
    assert found(calls, "GET", "/users/me/keys") == "GET /users/me/keys"
    assert found(calls, "GET", "/users/7/keys") is None


def test_what_was_captured_on_a_way_that_failed_is_forgotten():
    calls = ["GET /a/{x}/b/{y}/c", "GET /{p}/{q}/b/{r}/d"]
    match = Matcher([operation(call) for call in calls]).match("GET", "/a/1/b/2/d")
    assert match is not None
    assert match.captured == (("p", "a"), ("q", "1"), ("r", "2"))


def test_what_a_mixed_segment_captured_on_a_way_that_failed_is_forgotten():
    calls = ["GET /c/{base}...{head}/x", "GET /c/{id}/y", "GET /{any}/{id}/y"]
    match = Matcher([operation(call) for call in calls]).match("GET", "/c/a...b/y")
    assert match is not None
    assert match.captured == (("any", "c"), ("id", "a...b"))


def test_an_escape_that_nobody_needs_makes_a_path_unknown_and_one_that_is_needed_does_not():
    for path in ("/users/%61nn", "/users/a%2Db", "/users/a%7e", "/users/%5F"):
        assert found(["GET /users/{id}"], "GET", path) is None
    assert found(["GET /users/{id}"], "GET", "/users/a%20b%40c") == "GET /users/{id}"


@pytest.mark.parametrize("path", ["/users", "/users/", "/users//", "/users/1/2", "users/1", "", "/", "/Users/1"])
def test_a_template_takes_exactly_one_segment_that_is_not_empty(path):
    assert found(["GET /users/{id}"], "GET", path) is None


FILES = ["GET /files/{path+}", "GET /files/{id}/meta", "GET /files/recent", "GET /files/{id}:lock"]


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/files/a", "GET /files/{path+}"),
        ("/files/a/b/c.txt", "GET /files/{path+}"),
        ("/files/a/meta", "GET /files/{id}/meta"),
        ("/files/a/meta/more", "GET /files/{path+}"),
        ("/files/recent", "GET /files/recent"),
        ("/files/recent/a", "GET /files/{path+}"),
        ("/files/a:lock", "GET /files/{id}:lock"),
        ("/files", None),
        ("/files/", None),
        ("/files/a/", None),
        ("/files/a//b", None),
        ("/files/Recent", None),
        ("/files/Recent/a", None),
        ("/files/%61", None),
    ],
)
def test_a_parameter_for_all_that_is_left_takes_it_where_nothing_else_does(path, call):
    for ordered in (FILES, FILES[::-1]):
        assert found(ordered, "GET", path) == call


def test_all_that_is_left_is_captured_as_one_value():
    match = Matcher([operation("PUT /repos/{repo}/contents/{path+}")]).match("PUT", "/repos/site/contents/a/b%20c/d.md")
    assert match is not None
    assert match.captured == (("repo", "site"), ("path", "a/b%20c/d.md"))


@pytest.mark.parametrize("template", ["/{a+}/b", "/{a+}/{b+}", "/x{a+}", "/{a+}x", "/{+}"])
def test_only_a_whole_last_segment_may_take_the_rest(template):
    assert fault(template) is not None


def test_the_root_is_a_path_as_any_other():
    assert found(["GET /"], "GET", "/") == "GET /"


def test_methods_are_apart_and_head_is_judged_as_get():
    calls = ["GET /users/{id}", "DELETE /users/{id}"]
    assert found(calls, "HEAD", "/users/1") == "GET /users/{id}"
    assert found(calls, "OPTIONS", "/users/1") is None
    assert found(calls, "PATCH", "/users/1") is None
    assert found(calls, "get", "/users/1") is None


def test_a_declared_head_is_its_own_operation():
    assert found(["GET /f/{id}", "HEAD /f/{id}"], "HEAD", "/f/1") == "HEAD /f/{id}"


def test_segments_of_literals_and_parameters_match_by_their_literals():
    calls = ["GET /compare/{base}...{head}", "GET /compare/{id}", "GET /compare/{id}.json"]
    assert found(calls, "GET", "/compare/main...dev") == "GET /compare/{base}...{head}"
    assert found(calls, "GET", "/compare/7.json") == "GET /compare/{id}.json"
    assert found(calls, "GET", "/compare/7") == "GET /compare/{id}"


def test_a_mixed_segment_that_can_be_cut_in_two_ways_is_nobodys():
    assert found(["GET /compare/{base}...{head}", "GET /compare/{id}"], "GET", "/compare/a...b...c") is None


def test_a_google_style_verb_is_not_taken_for_an_id():
    calls = ["POST /jobs/{id}:cancel", "POST /jobs/{id}"]
    assert found(calls, "POST", "/jobs/7:cancel") == "POST /jobs/{id}:cancel"
    assert found(calls, "POST", "/jobs/7") == "POST /jobs/{id}"
    for disguised in ("/jobs/7%3Acancel", "/jobs/7:Cancel", "/jobs/7:c%61ncel"):
        assert found(calls, "POST", disguised) is None


def test_two_templates_of_one_shape_are_a_conflict_and_the_first_stays():
    matcher = Matcher([operation("GET /a/{x}"), operation("GET /a/{y}")])
    assert [str(one) for one in matcher.conflicts] == [
        "shop:GET /a/{y} takes the same calls as shop:GET /a/{x} (GET /a/{y}) and is dropped"
    ]
    assert matcher.match("GET", "/a/1").captured == (("x", "1"),)


@pytest.mark.parametrize("template", ["x", "/{a", "/a}", "/{a}{b}", "/{a}/{a}", "/a b", "/a?b=c", "/a#b", "/a\\b"])
def test_a_template_that_is_none_is_told(template):
    assert fault(template) is not None


_segment = st.from_regex(r"[a-z]{1,3}|\{[a-z]{1,3}\}|[a-z]\.\{[a-z]\}", fullmatch=True)


@given(st.lists(_segment, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts)))
def test_every_sound_template_matches_a_path_made_of_it(template):
    if fault(template):
        return
    path = re.sub(r"\{[^}]+\}", "ZZ", template)
    match = Matcher([operation(f"GET {template}")]).match("GET", path)
    assert match is not None
    assert match.captured == tuple((name, "ZZ") for name in parameters(template))


@given(st.lists(_segment, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)), st.text(max_size=20))
def test_matching_never_fails_whatever_the_path(template, path):
    if not fault(template):
        Matcher([operation(f"GET {template}")]).match("GET", path)


@pytest.mark.parametrize("name", ["github", "openai"])
def test_every_published_template_matches_its_own_example_to_itself(name):
    operations = load(published(name), upstream=name).operations
    matcher = Matcher(operations)
    assert matcher.conflicts == ()
    for one in operations:
        path = re.sub(r"\{([^}]+)\}", r"example-\1", one.template)
        match = matcher.match(one.method, path)
        assert match is not None, one.name
        assert match.operation is one
        assert dict(match.captured) == {p: f"example-{p}" for p in parameters(one.template)}


def test_a_deep_catalogue_and_a_long_path_do_not_recurse_without_end():
    matcher = Matcher([operation("GET " + "/a" * 20)])
    assert matcher.match("GET", "/a" * 100_000) is None
