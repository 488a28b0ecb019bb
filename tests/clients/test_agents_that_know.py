"""The two files of docs/examples/agents, as an agent would use them, against a real gate."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
import requests

from policy.hold import Hold
from tests.fakes.house import House, bearer, house
from tests.fakes.upstream import reply
from tests.fakes.valkey import PrivateValkey

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "agents"
SENTENCE = "Not before the invoice is checked"
GATE = "http://gate.example.com"
CALL = "call_0123"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HTTPX = example("assentry_httpx")
REQUESTS = example("assentry_requests")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    with PrivateValkey() as server:
        async with house(tmp_path / "house", store=server.url) as opened:
            opened.upstream.default = reply(200, b'{"id": "7"}', ("content-type", "application/json"))
            yield opened


def by_requests(home: House, **options: Any) -> tuple[int, bytes]:
    with requests.Session() as session:
        session.mount(home.gate.agents_url, REQUESTS.AssentryAdapter(**options))
        headers = bearer(home.agent_token())
        answer = session.put(f"{home.gate.agents_url}/crm/archive/7", data=b"x", headers=headers, timeout=20)
        return answer.status_code, answer.content


def by_httpx(home: House, **options: Any) -> tuple[int, bytes]:
    with httpx2.Client(transport=HTTPX.AssentryTransport(**options), headers=bearer(home.agent_token())) as client:
        answer = client.put(f"{home.gate.agents_url}/crm/archive/7", content=b"x")
        return answer.status_code, answer.content


def by_async_httpx(home: House, **options: Any) -> tuple[int, bytes]:
    rest = options.pop("rest")

    async def resting(seconds: float) -> None:
        await asyncio.to_thread(rest, seconds)

    async def asked() -> tuple[int, bytes]:
        transport = HTTPX.AsyncAssentryTransport(rest=resting, **options)
        async with httpx2.AsyncClient(transport=transport, headers=bearer(home.agent_token())) as client:
            answer = await client.put(f"{home.gate.agents_url}/crm/archive/7", content=b"x")
            return answer.status_code, answer.content

    return asyncio.run(asked())


Ask = Callable[..., tuple[int, bytes]]
WAYS = [by_requests, by_httpx, by_async_httpx]


async def asked(
    home: House, ask: Ask, decide: Callable[[Hold], Awaitable[Any]], **options: Any
) -> tuple[int, bytes, list[float]]:
    """What the agent got, and how long it was told to rest before it asked again; people decide at its first rest."""
    loop, rests = asyncio.get_running_loop(), []

    async def decided() -> None:
        await decide(await home.wait_for_hold())

    def rest(seconds: float) -> None:
        rests.append(seconds)
        asyncio.run_coroutine_threadsafe(decided(), loop).result(20)

    status, body = await asyncio.to_thread(ask, home, rest=rest, **options)
    return status, body, rests


@pytest.mark.parametrize("ask", WAYS)
async def test_an_approved_call_brings_the_upstreams_response_and_is_sent_once(home: House, ask: Ask) -> None:
    async def approve(held: Hold) -> None:
        assert held.call.words.reason == "The customer asked"
        assert (await home.person("ann").approve(held)).status == 200
        # Nobody waits for it on a connection, so a replica sends it by itself.
        await home.told(held, ends="concluded executed")

    status, body, rests = await asked(home, ask, approve, words={"Reason": "The customer asked"})
    assert (status, json.loads(body)) == (200, {"id": "7"})
    assert len(home.upstream.received) == 1
    assert rests == [5.0]


@pytest.mark.parametrize("ask", WAYS)
async def test_a_rejected_call_is_raised_with_the_persons_sentence(home: House, ask: Ask) -> None:
    with pytest.raises((HTTPX.AssentryRefused, REQUESTS.AssentryRefused), match=SENTENCE) as raised:
        await asked(home, ask, lambda held: home.person("ann").reject(held, SENTENCE))
    assert (raised.value.reason, raised.value.next_action) == ("rejected", "none")
    assert home.upstream.received == []


@pytest.mark.parametrize("ask", WAYS)
async def test_whoever_has_no_patience_left_is_told_where_to_ask_on(home: House, ask: Ask) -> None:
    with pytest.raises((HTTPX.AssentryPending, REQUESTS.AssentryPending)) as raised:
        await asyncio.to_thread(ask, home, patience_s=1, rest=lambda _: None)
    [held] = await home.open_holds()
    assert raised.value.status_url == f"{home.gate.agents_url}/v1/calls/{held.call.id}"


@pytest.mark.parametrize("ask", WAYS)
async def test_what_a_policy_forbids_is_raised_at_once(home: House, ask: Ask) -> None:
    await home.publish('@id("no") @reason("Nothing today.") forbid (principal is Agent, action, resource);')
    with pytest.raises((HTTPX.AssentryRefused, REQUESTS.AssentryRefused), match=r"Nothing today\.") as raised:
        await asyncio.to_thread(ask, home, rest=pytest.fail)
    assert raised.value.reason == "forbidden"


def gate(*answers: httpx2.Response) -> tuple[httpx2.MockTransport, list[httpx2.Request]]:
    """A gate that gives these answers, one after the other, and what it was asked."""
    came: list[httpx2.Request] = []

    def answered(request: httpx2.Request) -> httpx2.Response:
        came.append(request)
        return answers[len(came) - 1]

    return httpx2.MockTransport(answered), came


def own(status: int, **members: Any) -> httpx2.Response:
    members = {"call": CALL, "detail": "said", "reason": "question", **members}
    headers = {"Content-Type": "application/problem+json", "Assentry-Call": CALL}
    return httpx2.Response(status, headers=headers, content=json.dumps(members).encode())


def pending(location: str = f"/v1/calls/{CALL}") -> httpx2.Response:
    return httpx2.Response(202, headers={"Location": location, "Retry-After": "5", "Assentry-Call": CALL})


def test_a_reviewers_question_is_answered_and_the_call_goes_on() -> None:
    question = own(
        403,
        type="urn:assentry:problem:question",
        question="Which invoice?",
        status_url=f"/v1/calls/{CALL}",
        answer_url=f"/v1/calls/{CALL}/answer",
    )
    inner, came = gate(pending(), question, httpx2.Response(204), httpx2.Response(200, json={"id": "7"}))
    transport = HTTPX.AssentryTransport(inner, answer=lambda asked: f"{asked} No. 7", rest=lambda _: None)
    with httpx2.Client(transport=transport, headers=bearer("key")) as client:
        assert client.put(f"{GATE}/crm/archive/7").json() == {"id": "7"}
    assert [(one.method, one.url.path) for one in came] == [
        ("PUT", "/crm/archive/7"),
        ("GET", f"/v1/calls/{CALL}"),
        ("POST", f"/v1/calls/{CALL}/answer"),
        ("GET", f"/v1/calls/{CALL}"),
    ]
    assert json.loads(came[2].content) == {"answer": "Which invoice? No. 7"}
    assert {one.headers["Authorization"] for one in came} == {"Bearer key"}


def test_a_gate_that_is_away_for_a_moment_is_asked_again() -> None:
    busy = own(503, reason="store-unavailable", next_action="retry")
    inner, came = gate(pending(), busy, pending(), httpx2.Response(201))
    with httpx2.Client(transport=HTTPX.AssentryTransport(inner, rest=lambda _: None)) as client:
        assert client.post(f"{GATE}/crm/notes").status_code == 201
    assert [one.method for one in came] == ["POST", "GET", "GET", "GET"]


def test_the_credential_is_not_shown_at_another_origin() -> None:
    inner, came = gate(pending(f"http://elsewhere.example.com/v1/calls/{CALL}"))
    transport = HTTPX.AssentryTransport(inner, rest=lambda _: None)
    with httpx2.Client(transport=transport, headers=bearer("key")) as client, pytest.raises(HTTPX.AssentryPending):
        client.post(f"{GATE}/crm/notes")
    assert len(came) == 1


def test_an_upstreams_own_202_and_own_problems_are_its_answers() -> None:
    accepted = httpx2.Response(202, headers={"Location": "/jobs/1", "Assentry-Call": CALL})
    problem = httpx2.Response(409, headers={"Content-Type": "application/problem+json"}, json={"title": "Taken"})
    inner, came = gate(accepted, problem)
    with httpx2.Client(transport=HTTPX.AssentryTransport(inner, rest=lambda _: None)) as client:
        assert client.post(f"{GATE}/crm/jobs").status_code == 202
        assert client.post(f"{GATE}/crm/jobs").json() == {"title": "Taken"}
    assert len(came) == 2
