"""Real SDKs through a whole gate with the connectors as they are shipped: catalogue, policies, credential, errors."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anthropic
import github
import pytest
import slack_sdk
from slack_sdk.errors import SlackApiError

from tests.fakes.house import House, house
from tests.fakes.upstream import FakeUpstream, Received, reply, upstream
from tests.fakes.valkey import PrivateValkey
from tests.upstream.test_github_app import PEM

POLICIES = """
@id("bots-may") permit (principal in Group::"bots", action, resource);
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""
ISSUED = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
KEY = "xoxb-2345678901-upstream-4eC39HqLyj"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A gate before one fake API."""

    home: House
    api: FakeUpstream

    def url(self, path: str) -> str:
        return self.home.gate.agents_url + path

    async def run(self, ask: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(ask)


_numbers = itertools.count()


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateValkey]:
    """One store for all gates of this module."""
    with PrivateValkey() as server:
        yield server


@asynccontextmanager
async def site(folder: Path, store: PrivateValkey, connector: str, credential: dict[str, Any]) -> AsyncIterator[Site]:
    async with upstream() as api:
        behind = {
            "name": connector,
            "url": api.url,
            "catalogue": f"builtin:{connector}",
            "connector": connector,
            "private_networks": True,
            "credential": credential,
        }
        law = {"files": ["policies", f"builtin:{connector}"]}
        apart = {"store": store.url, "namespace": f"c{next(_numbers)}"}
        async with house(folder, policies=POLICIES, upstreams=[behind], policy=law, **apart) as home:
            home.secrets.update({ISSUED, KEY})
            yield Site(home=home, api=api)


async def github_says(received: Received, writer: asyncio.StreamWriter) -> None:
    """GitHub, as far as an issue needs it."""
    if received.target.startswith("/app/"):
        asked = json.loads(received.body)
        found = {
            "token": ISSUED,
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": {**asked["permissions"], "metadata": "read"},
            "repositories": [{"name": name} for name in asked.get("repositories", [])],
        }
        await reply(201, json.dumps(found).encode(), ("content-type", "application/json"))(received, writer)
        return
    created = received.method == "POST"
    answer = {"number": 7, "title": "Broken link", "url": "http://127.0.0.1/repos/acme/site/issues/7"}
    body = json.dumps(answer if created else {"full_name": "acme/site", "name": "site"}).encode()
    await reply(201 if created else 200, body, ("content-type", "application/json"))(received, writer)


@pytest.fixture
async def hub(tmp_path: Path, valkey: PrivateValkey) -> AsyncIterator[Site]:
    app = {"kind": "github-app", "app_id": "123", "installation_id": 42, "private_key": PEM}
    async with site(tmp_path / "house", valkey, "github", app) as running:
        running.api.default = github_says
        yield running


@asynccontextmanager
async def pygithub(there: Site, *, lazy: bool = True) -> AsyncIterator[github.Github]:
    token = await there.home.agent_key()
    client = github.Github(base_url=there.url("/github"), auth=github.Auth.Token(token), lazy=lazy)
    try:
        yield client
    finally:
        client.close()


async def test_an_agent_opens_an_issue_with_a_token_that_can_do_nothing_else(hub: Site):
    async with pygithub(hub, lazy=False) as client:
        issue = await hub.run(lambda: client.get_repo("acme/site").create_issue("Broken link"))
    assert (issue.number, issue.title) == (7, "Broken link")
    asked = [json.loads(one.body) for one in hub.api.received if one.target.startswith("/app/")]
    assert asked == [
        {"repositories": ["site"], "permissions": {"metadata": "read"}},
        {"repositories": ["site"], "permissions": {"issues": "write"}},
    ]
    calls = [one for one in hub.api.received if one.target.startswith("/repos/")]
    assert [(one.method, one.header("authorization")) for one in calls] == [
        ("GET", f"Bearer {ISSUED}"),
        ("POST", f"Bearer {ISSUED}"),
    ]


async def test_a_file_in_a_folder_has_a_name_and_is_read_with_a_token_for_reading(hub: Site):
    async with pygithub(hub) as client:
        repo = client.get_repo("acme/site")
        await hub.run(lambda: repo.get_contents("docs/start here.md"))
    asked, read = hub.api.received
    assert json.loads(asked.body) == {"repositories": ["site"], "permissions": {"contents": "read"}}
    assert read.target == "/repos/acme/site/contents/docs/start%20here.md"
    (judged,) = (one for one in hub.home.ledger_records() if one["kind"] == "judged")
    assert (judged["operation"], judged["verdict"]) == ("github:contents.get", "allow")


async def test_a_second_call_of_the_same_kind_asks_for_no_token(hub: Site):
    async with pygithub(hub) as client:
        repo = client.get_repo("acme/site")
        for _ in range(3):
            await hub.run(lambda: repo.create_issue("Broken link"))
    assert sum(one.target.startswith("/app/") for one in hub.api.received) == 1


async def test_a_merge_waits_for_a_person_and_its_token_is_made_when_it_goes_out(hub: Site):
    async with pygithub(hub) as client:
        pull = client.get_repo("acme/site").get_pull
        asked = hub.home.begin(hub.run(lambda: pull(7).merge()))
        held = await hub.home.wait_for_hold()
        assert hub.api.received == []
        await hub.home.person("ann").reject(held, "Not on a Friday")
        with pytest.raises(github.GithubException, match="Not on a Friday"):
            await asked
    assert hub.api.received == []


async def test_a_call_of_which_nobody_knows_what_it_needs_is_not_sent_whoever_agrees(hub: Site):
    asked = hub.home.begin(hub.home.call("POST", "/github/repos/acme/site/something-new", document={}))
    held = await hub.home.wait_for_hold()
    await hub.home.person("ann").approve(held)
    answer = await asked
    assert (answer.status, answer.json["reason"]) == (403, "credential-refused")
    assert hub.api.received == []


async def test_an_installation_without_the_permission_is_told_once_and_not_asked_again(hub: Site):
    hub.api.script(reply(422, b'{"message":"not granted"}'))
    async with pygithub(hub) as client:
        repo = client.get_repo("acme/site")
        with pytest.raises(github.GithubException, match="not installed on this repository") as raised:
            await hub.run(lambda: repo.create_issue("Broken link"))
    assert raised.value.status == 403
    assert len(hub.api.received) == 1


@pytest.fixture
async def chat(tmp_path: Path, valkey: PrivateValkey) -> AsyncIterator[Site]:
    async with site(tmp_path / "house", valkey, "slack", {"kind": "bearer", "token": KEY}) as running:
        said = b'{"ok":true,"channel":"C1","ts":"1.2","message":{"text":"hello"}}'
        running.api.default = reply(200, said, ("content-type", "application/json"))
        yield running


async def slack(there: Site) -> slack_sdk.WebClient:
    return slack_sdk.WebClient(token=await there.home.agent_key(), base_url=there.url("/slack/api/"))


async def test_a_message_is_posted_with_the_bots_token_in_place_of_the_agents(chat: Site):
    client = await slack(chat)
    posted = await chat.run(lambda: client.chat_postMessage(channel="C1", text="hello"))
    read = await chat.run(lambda: client.conversations_history(channel="C1"))
    assert (posted["ts"], read["ok"]) == ("1.2", True)
    assert [one.header("authorization") for one in chat.api.received] == [f"Bearer {KEY}"] * 2
    judged = [one for one in chat.home.ledger_records() if one["kind"] == "judged"]
    assert [one["operation"] for one in judged] == ["slack:chat.postMessage", "slack:conversations.history.post"]


STRAY = "xoxb-999-another-workspace"


@pytest.mark.parametrize("method", ["chat.postMessage", "some.methodNobodyNamed"])
@pytest.mark.parametrize("how", ["form", "json", "query", "spelt", "text", "list"])
async def test_a_token_beside_ours_is_refused_wherever_it_stands_and_whatever_is_called(
    chat: Site, method: str, how: str
):
    path, form = f"/slack/api/{method}", "application/x-www-form-urlencoded"
    sent: dict[str, Any] = {
        "form": {"form": {"channel": "C1", "text": "hello", "token": STRAY}},
        "json": {"document": {"channel": "C1", "text": "hello", "token": STRAY}},
        "query": {"document": {"channel": "C1"}},
        "spelt": {"body": b"channel=C1&%54oken[]=x", "headers": {"content-type": form}},
        "text": {"body": b"channel=C1&token=x", "headers": {"content-type": "text/plain"}},
        "list": {"document": [{"token": STRAY}]},
    }[how]
    answer = await chat.home.call("POST", f"{path}?token={STRAY}" if how == "query" else path, **sent)
    assert answer.status == 400
    assert answer.json["reason"] == ("body-malformed" if how in {"text", "list"} else "foreign-credential")
    assert STRAY not in answer.body.decode()
    assert chat.api.received == []
    assert await chat.home.holds() == []


async def test_a_token_given_to_slack_sdk_call_by_call_stands_for_the_agent_and_is_refused_in_words(chat: Site):
    # The SDK moves it into the header, where the agent's own belongs.
    client = await slack(chat)
    with pytest.raises(SlackApiError, match="The bearer token was refused") as raised:
        await chat.run(lambda: client.api_call("chat.postMessage", json={"channel": "C1", "token": STRAY}))
    assert raised.value.response.status_code == 401
    assert chat.api.received == []


async def test_mentioning_everybody_waits_for_a_person_and_is_posted_once(chat: Site):
    client = await slack(chat)
    asked = chat.home.begin(chat.run(lambda: client.chat_postMessage(channel="C1", text="<!channel> down")))
    held = await chat.home.wait_for_hold()
    await chat.home.person("ann").approve(held)
    assert (await asked)["ok"] is True
    assert len(chat.api.received) == 1


@pytest.fixture
async def models(tmp_path: Path, valkey: PrivateValkey) -> AsyncIterator[Site]:
    credential = {"kind": "header", "header": "x-api-key", "value": KEY}
    async with site(tmp_path / "house", valkey, "anthropic", credential) as running:
        said = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        running.api.default = reply(200, json.dumps(said).encode(), ("content-type", "application/json"))
        yield running


def ask_a_model(client: anthropic.Anthropic, *tools: dict[str, Any]) -> anthropic.types.Message:
    prompt: Any = [{"role": "user", "content": "hi"}]
    return client.messages.create(model="m", max_tokens=5, messages=prompt, tools=list(tools) or anthropic.NOT_GIVEN)  # type: ignore[arg-type]


async def test_a_model_that_runs_code_waits_for_a_person_and_others_do_not(models: Site):
    own = {"name": "look_up_order", "input_schema": {"type": "object"}}
    code = {"type": "code_execution_20250825", "name": "code_execution"}
    key = await models.home.agent_key()
    with anthropic.Anthropic(base_url=models.url("/anthropic"), api_key=key) as client:
        plain = await models.run(lambda: ask_a_model(client, own))
        asked = models.home.begin(models.run(lambda: ask_a_model(client, own, code)))
        held = await models.home.wait_for_hold()
        assert held.call.input.values["tools"] == ("code_execution", "look_up_order")
        await models.home.person("ann").approve(held)
        assert (await asked).content[0].text == plain.content[0].text == "Hello"
    assert [one.header("x-api-key") for one in models.api.received] == [KEY, KEY]


async def test_a_refused_prompt_raises_anthropics_own_error_once(models: Site):
    key = await models.home.agent_key()
    code = {"type": "code_execution_20250825", "name": "code_execution"}
    with anthropic.Anthropic(base_url=models.url("/anthropic"), api_key=key) as client:
        asked = models.home.begin(models.run(lambda: ask_a_model(client, code)))
        held = await models.home.wait_for_hold()
        await models.home.person("ann").reject(held, "No code here")
        with pytest.raises(anthropic.PermissionDeniedError, match="No code here"):
            await asked
    assert models.api.received == []
    assert len(await models.home.holds()) == 1
