"""Values read out of values: sure, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.bodies import Json
from connectors.apis.derived import DERIVATIONS
from connectors.apis.errors import CatalogueRefused
from connectors.apis.naming import Namer
from policy.call import Target
from policy.reasons import Reason
from tests.connectors.apis.examples import FORM, JSON, catalogue, named, post

TOOLS, SOQL = DERIVATIONS["tool-names"].read, DERIVATIONS["soql-object"].read


@pytest.mark.parametrize(
    ("tools", "names"),
    [
        ([], ()),
        ([{"name": "b"}, {"name": "a", "input_schema": {}}], ("a", "b")),
        ([{"type": "function", "function": {"name": "f"}}], ("f",)),
        ([{"type": "function", "name": "f"}], ("f",)),
        ([{"type": "custom", "name": "f"}], ("f",)),
        ([{"type": "web_search"}], ("web_search",)),
        ([{"type": "mcp", "server_label": "x"}], ("mcp",)),
        ([{"type": "bash_20250124", "name": "bash"}], ("bash",)),
        ([{"type": "bash_20250124", "name": "harmless"}], ("bash", "harmless")),
        ([{"type": "code_execution_20250825", "name": "lookup"}], ("code_execution", "lookup")),
        ([{"name": ""}], None),
        ([{"name": 7}], None),
        ([{"name": "a", "type": ["bash"]}], None),
        ([{"name": "a"}, {}], None),
        ([{"type": "function"}], None),
        (["bash"], None),
        ({"name": "bash"}, None),
        ("bash", None),
        (None, None),
    ],
)
def test_the_tools_of_a_prompt_are_all_named_or_unreadable(tools: Json, names: object):
    assert TOOLS(tools) == names


@pytest.mark.parametrize(
    ("query", "about"),
    [
        ("SELECT Id FROM Account", "Account"),
        ("select id, Owner.Name from Opportunity where Amount > 5 order by Name limit 10", "Opportunity"),
        ("SELECT COUNT() FROM Contact", "Contact"),
        ("SELECT COUNT(Id), MAX(Amount) FROM My_Thing__c GROUP BY Name", "My_Thing__c"),
        ("  SELECT\n Id\tFROM  Lead  ", "Lead"),
        ("SELECT FIELDS(ALL) FROM Account LIMIT 200", "Account"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", None),
        ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact)", None),
        ("SELECT TYPEOF What WHEN Account THEN Phone END FROM Event", "Event"),
        ("SELECT Id FROM Account, Account.Contacts c", None),
        ("SELECT Id FROM Account a", None),
        ("SELECT Id FROM Account USING SCOPE Team", None),
        ("SELECT 'x' FROM Account", None),
        ("SELECT Id FROM Account; DELETE", None),
        ("FIND {x} IN ALL FIELDS RETURNING Account", None),
        ("SELECT Id", None),
        ("", None),
        (["SELECT Id FROM Account"], None),
    ],
)
def test_a_query_is_about_one_object_for_sure_or_nobody_says_about_which(query: Json, about: str | None):
    assert SOQL(query) == about


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_stands_around_a_second_select_no_object_is_sure(before: str, behind: str):
    assert SOQL(f"SELECT Id{before} FROM Account {behind} (SELECT Id FROM User)") is None


QUERY = """
refuses: [token]
operations:
  query:
    call: GET /query
    fields:
      q: {in: query, required: true}
      object: {in: query, path: q, read_as: soql-object, ignores_case: true}
    resource: {kind: sobject, field: object}
  ask: {call: POST /ask, fields: {tools: {in: body, read_as: tool-names}}}
"""


@pytest.fixture
def namer(tmp_path) -> Namer:
    return Namer(catalogue(tmp_path, QUERY), scan_bytes=1_000, json_depth=8)


def test_a_value_and_what_is_read_out_of_it_are_two_fields(namer: Namer):
    found = named(namer.name(Target(method="GET", path="/query", query="q=SELECT+Id+FROM+ACCOUNT"), None, b""))
    assert found.input.values == {"q": "SELECT Id FROM ACCOUNT", "object": "account"}
    assert found.resource.id == "shop/sobject/account"


def test_what_is_not_sure_is_unreadable_and_the_value_itself_is_not(namer: Namer):
    found = named(namer.name(Target(method="GET", path="/query", query="q=SELECT+Id"), None, b""))
    assert (found.input.values, found.input.unreadable) == ({"q": "SELECT Id"}, {"object"})


def test_a_value_that_stands_twice_gives_nothing(namer: Namer):
    query = "q=SELECT+Id+FROM+Account&q=SELECT+Id+FROM+User"
    found = named(namer.name(Target(method="GET", path="/query", query=query), None, b""))
    assert found.input.unreadable == {"q", "object"}


@pytest.mark.parametrize("path", ["/ask", "/nobody-named-it"])
@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (JSON, b'{"token":1}', Reason.FOREIGN_CREDENTIAL),
        (JSON, b'{"To\\u006ben":1}', Reason.FOREIGN_CREDENTIAL),
        (FORM, b"a=1&token%5B%5D=1", Reason.FOREIGN_CREDENTIAL),
        (FORM, b"+token=1", Reason.FOREIGN_CREDENTIAL),
        (JSON, b'{"a":1', Reason.BODY_MALFORMED),
        (JSON, b"[]", Reason.BODY_MALFORMED),
        ("application/octet-stream", b"a=1", Reason.BODY_MALFORMED),
        (None, b"a=1", Reason.BODY_MALFORMED),
    ],
)
def test_a_field_that_the_upstream_takes_for_a_credential_is_refused_by_any_name(
    namer: Namer, path: str, kind: str | None, body: bytes, reason: Reason
):
    found = namer.name(post(path), kind, body)
    assert getattr(found, "reason", None) is reason


def test_a_refused_field_deeper_down_is_nobodys_credential(namer: Namer):
    assert named(namer.name(post("/ask"), JSON, b'{"metadata":{"token":"x"}}')).operation.name == "shop:ask"


def test_refused_fields_of_what_is_extended_stay_refused(tmp_path):
    (tmp_path / "below.yaml").write_text("refuses: token\n", "utf-8")
    assert catalogue(tmp_path, "extends: below.yaml\nrefuses: [key]\n").refuses == {"token", "key"}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("{in: query, read_as: sql}", "is not one of"),
        ("{in: path, read_as: soql-object}", "for fields of query and body"),
        ("{in: query, type: long, read_as: soql-object}", "must be text"),
    ],
)
def test_a_reading_that_does_not_fit_is_refused(tmp_path, field: str, message: str):
    with pytest.raises(CatalogueRefused, match=message):
        catalogue(tmp_path, f"operations: {{a: {{call: 'GET /{{x}}', fields: {{x: {field}}}}}}}")
