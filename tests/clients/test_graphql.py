"""gql and a plain client, unmodified: a held mutation is a slow one, and a No is the client's own error."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio import StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from graphql import build_schema, graphql_sync

from tests.connectors.graphql.tracker import FOLDER, SDL
from tests.fakes.house import CREDENTIAL, House, bearer, house
from tests.fakes.upstream import FakeUpstream, Received, reply, upstream

WORDS = "Not before the release"
LAW = """
@id("agents-may") permit (principal in Group::"bots", action, resource);
@id("losses-are-looked-at") @hold("platform")
forbid (principal is Agent, action in Action::"destructive", resource)
unless { context.approvals.count >= 1 };
@id("transfers-never") @reason("Issues stay where they are.")
forbid (principal is Agent, action == Action::"t:mutation.transfer", resource);
@id("node-seven") @hold("seven")
forbid (principal is Agent, action == Action::"t:query.node", resource)
when { context.input.id == "7" }
unless { context.approvals.quorum.contains(Quorum::"leads:2") };
@id("creating-by-the-day") @hold("creating")
forbid (principal is Agent, action == Action::"t:mutation.createIssue", resource)
when { context.recent.callsDay > 100 }
unless { context.approvals.count >= 1 };
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource)
unless { resource has operation && resource.operation == "t:mutation.issueRemove" };
@id("owners-review") permit (principal in Group::"owners", action in Action::"review", resource);
"""
DELETE = "mutation($id: ID!) { deleteIssue(id: $id) { id title } }"
JSON = {"content-type": "application/json"}


async def executing(asked: Received, writer: StreamWriter) -> None:
    """Answers as a server does that knows every issue."""
    said = json.loads(asked.body)
    issue = {"id": "1", "title": "Broken"}
    schema = build_schema(SDL)
    for root in (schema.query_type, schema.mutation_type):
        for name, field in root.fields.items():
            field.resolve = (lambda *_, **given: "ann") if name == "viewer" else (lambda *_, **given: issue)
    done = graphql_sync(schema, said["query"], variable_values=said.get("variables"))
    body = json.dumps(done.formatted).encode()
    await reply(200, body, ("content-type", "application/graphql-response+json"))(asked, writer)


@pytest.fixture
async def api() -> AsyncIterator[FakeUpstream]:
    async with upstream() as fake:
        fake.default = executing
        yield fake


@pytest.fixture
async def home(tmp_path: Path, api: FakeUpstream) -> AsyncIterator[House]:
    shutil.copyfile(FOLDER / "tracker.graphql", tmp_path / "tracker.graphql")
    shutil.copyfile(FOLDER / "tracker.yaml", tmp_path / "tracker.yaml")
    tracker = {
        "name": "t",
        "url": f"{api.url}/t",
        "connector": "graphql",
        "catalogue": str(tmp_path / "tracker.yaml"),
        "private_networks": True,
        "credential": {"kind": "bearer", "token": CREDENTIAL},
    }
    groups = {"leads": {"quorum": 3}, "owners": {}}
    async with house(tmp_path / "house", policies=LAW, upstreams=[tracker], groups=groups) as one:
        yield one


async def ask(home: House, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """What gql returns. Raises its own error."""
    transport = AIOHTTPTransport(f"{home.gate.agents_url}/t/graphql", headers=bearer(home.agent_token()), timeout=30)
    async with Client(transport=transport, fetch_schema_from_transport=False, execute_timeout=30) as session:
        request = gql(query)
        request.variable_values = variables
        return await session.execute(request)


async def test_a_query_that_is_allowed_returns_its_data(home: House, api: FakeUpstream) -> None:
    assert await ask(home, "{ viewer }") == {"viewer": "ann"}
    (asked,) = api.received
    assert asked.header("authorization") == f"Bearer {CREDENTIAL}"


async def test_a_mutation_that_a_person_approves_is_sent_once_and_returns_its_data(
    home: House, api: FakeUpstream
) -> None:
    asking = home.begin(ask(home, DELETE, {"id": 1}))
    held = await home.wait_for_hold()
    assert (held.call.operation.name, held.call.input.values["id"]) == ("t:mutation.deleteIssue", "1")
    await home.person("ann").approve(held)
    assert await asking == {"deleteIssue": {"id": "1", "title": "Broken"}}
    assert len(api.received) == 1


async def test_a_mutation_that_a_person_rejects_raises_the_clients_error_with_the_sentence(
    home: House, api: FakeUpstream
) -> None:
    asking = home.begin(ask(home, DELETE, {"id": "1"}))
    await home.person("ann").reject(await home.wait_for_hold(), WORDS)
    with pytest.raises(TransportQueryError) as raised:
        await asking
    (told,) = raised.value.errors
    assert WORDS in told["message"]
    assert told["extensions"] == {"code": "rejected"}
    assert api.received == []


async def test_a_plain_client_sees_status_problem_and_errors(home: House, api: FakeUpstream) -> None:
    async with httpx2.AsyncClient(base_url=home.gate.agents_url, headers=bearer(home.agent_token())) as client:
        answer = await client.post("/t/graphql", json={"query": "mutation { transfer(issue: 1) { id } }"})
        unclear = await client.post("/t/graphql", json=[{"query": "{ viewer }"}])
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/graphql-response+json"
    assert (answer.json()["status"], answer.json()["operation"]) == (403, "t:mutation.transfer")
    assert "Issues stay where they are." in answer.json()["errors"][0]["message"]
    assert (unclear.status_code, unclear.json()["reason"]) == (400, "body-malformed")
    assert "Send one query in each call." in unclear.json()["errors"][0]["message"]
    assert api.received == []


# Several root fields: each is judged, and the strictest verdict wins.


async def test_fields_that_are_allowed_pass_together(home: House, api: FakeUpstream) -> None:
    assert await ask(home, "{ viewer node(id: 1) { id } }") == {"viewer": "ann", "node": {"id": "1"}}
    assert len(api.received) == 1
    (judged, _) = home.ledger_records()
    assert judged["operation"] == "t:query.several"
    assert [part["operation"] for part in judged["parts"]] == ["t:query.viewer", "t:query.node"]
    assert judged["parts"][1]["input"]["id"] == "1"


async def test_one_field_that_is_forbidden_forbids_all(home: House, api: FakeUpstream) -> None:
    with pytest.raises(TransportQueryError) as raised:
        await ask(home, "mutation { addLabels(issue: 1, labels: []) { id } transfer(issue: 1) { id } }")
    assert "Issues stay where they are." in str(raised.value)
    assert "t:mutation.transfer" in str(raised.value)
    assert api.received == []


async def test_fields_that_ask_are_held_together_until_all_gates_are_lifted(home: House, api: FakeUpstream) -> None:
    asking = home.begin(ask(home, '{ viewer a: node(id: 7) { id } b: node(id: "8") { id } }'))
    held = await home.wait_for_hold()
    assert [gate.policy for gate in held.gates] == ["node-seven"]
    await home.person("ann").approve(held)
    still = await home.wait_until(held, held.state)
    shown = (await home.person("ben").see(still)).json
    lines = {line["label"]: line["text"] for line in shown["change"]}
    assert (lines["part 2 id"], lines["part 3 id"]) == ("7", "8")
    assert api.received == []
    await home.person("ben").approve(still)
    assert await asking == {"viewer": "ann", "a": {"id": "1"}, "b": {"id": "1"}}
    assert len(api.received) == 1


async def test_whoever_may_not_approve_one_field_approves_none_of_it(home: House, api: FakeUpstream) -> None:
    two = "mutation { deleteIssue(id: 1) { id } issueRemove(id: 2) { id } }"
    asking = home.begin(ask(home, two))
    held = await home.wait_for_hold()
    assert held.call.operation.tier.value == "high"
    assert (await home.person("ann").approve(held)).status == 404
    assert api.received == []
    await home.person("olaf", groups=("owners",)).approve(held)
    assert await asking == {"deleteIssue": {"id": "1"}, "issueRemove": {"id": "1"}}
    assert len(api.received) == 1


async def test_what_a_policy_counts_is_asked_for_alone(home: House, api: FakeUpstream) -> None:
    create = 'createIssue(input: {repositoryId: 1, title: "x"}) { id }'
    assert await ask(home, f"mutation {{ {create} }}") == {"createIssue": {"id": "1"}}
    with pytest.raises(TransportQueryError, match=r"t:mutation\.createIssue"):
        await ask(home, f"mutation {{ a: {create} b: {create} }}")
    assert len(api.received) == 1


PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients" / "graphql.md"
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize(("program", "prints"), EXAMPLES, ids=["approved", "rejected"])
async def test_the_examples_of_the_page_print_what_it_says(
    home: House, api: FakeUpstream, program: str, prints: str
) -> None:
    source = program.replace("https://gate.example.com/shop", f"{home.gate.agents_url}/t")
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        source,
        env={**os.environ, "GATE_KEY": home.agent_token()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    rejected = re.search(r"# Meanwhile Ann rejects: (.*)", program)
    held, ann = await home.wait_for_hold(), home.person("ann")
    await (ann.reject(held, rejected[1]) if rejected else ann.approve(held))
    printed, failed = await asyncio.wait_for(running.communicate(), 30)
    assert re.sub(r"call_[0-9A-Z]+", "call_…", printed.decode()) == prints, failed.decode()
    assert len(api.received) == (0 if rejected else 1)
