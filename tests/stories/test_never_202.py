"""A client that did not ask for 202 is never answered so: its SDK would take it for success, and so would the agent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.hold import State
from tests.fakes.house import House, bearer

AGENTS = ("OpenAI/Python 3.52", "PyGithub/Python", "python-requests/2.34", "node", "kubectl/v1.32", "curl/8", "")
PREFER = (
    "return=representation",
    "wait=0",
    "respond-async",
    "Respond-Async",
    "respond-asynchronously",
    "respond-async=false",
    "no-respond-async",
    "handling=strict; respond-async",
    "",
)
ROUTES = (
    "/stripe/v1/refunds",
    "/stripe/v1/payouts",
    "/stripe/v1/charges",
    "/openai/v1/responses",
    "/crm/notes/1",
    "/crm/archive/1",
    "/crm/no/such/thing",
    "/nowhere",
    "/v1/calls",
    "/v1/calls/call_00000000000000000000000000",
)
BODIES = (b"", b"amount=25000&charge=ch_1", b"amount=5&charge=ch_1", b'{"model": "m", "input": "x"}', b"{", b"\xff")
TYPES = ("application/x-www-form-urlencoded", "application/json", "text/plain")


@pytest.fixture
async def hurried(open_house: Callable[..., AbstractAsyncContextManager[House]]) -> AsyncIterator[House]:
    # Every budget is over at once, so that what is held is answered as soon as it is held.
    waits = {"wait_s": 0.01, "max_wait_s": 0.01, "open_per_agent": 10_000, "decide_within_s": 60}
    async with open_house(holds=waits) as home:
        yield home


def asked_for_it(prefer: str | None) -> bool:
    """RFC 7240 section 2: preferences stand between commas; one with a value or with parameters is another."""
    return prefer is not None and "respond-async" in re.split(r"\s*,\s*", prefer.strip().lower())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    route=st.sampled_from(ROUTES),
    query=st.sampled_from(["", "?async=true", "?prefer=respond-async"]),
    agent=st.sampled_from(AGENTS),
    prefer=st.none() | st.lists(st.sampled_from(PREFER), min_size=1, max_size=3).map(", ".join),
    key=st.none() | st.sampled_from(["a", "b"]),
    body=st.sampled_from(BODIES),
    kind=st.sampled_from(TYPES),
    known=st.sampled_from([True, True, True, False]),
)
async def test_202_is_never_sent_to_a_client_that_did_not_ask(hurried: House, **asked: Any):
    answer = await _sent(hurried, **asked)
    assert answer.status != 202 or asked_for_it(asked["prefer"]), (asked, answer)
    if answer.status == 202:
        assert answer.headers["preference-applied"] == "respond-async"


async def _sent(home: House, **asked: Any) -> Any:
    headers = {"User-Agent": asked["agent"], "Content-Type": asked["kind"]}
    headers |= {"Prefer": asked["prefer"]} if asked["prefer"] is not None else {}
    headers |= {"Idempotency-Key": asked["key"]} if asked["key"] else {}
    headers |= bearer(home.agent_token()) if asked["known"] else {}
    url = f"{home.gate.agents_url}{asked['route']}{asked['query']}"
    return await home.knock(asked["method"], url, headers=headers, body=asked["body"] or None)


@pytest.mark.parametrize("state", [State.PENDING, State.APPROVED, State.EXECUTED, State.REJECTED])
async def test_nor_when_the_call_is_a_repeat_of_one_that_asked(open_house: Callable[..., Any], state: State):
    async with open_house(holds={"wait_s": 0.2, "max_wait_s": 0.2, "detached_after_s": 0}) as home:
        asked = await home.refund(headers={"Prefer": "respond-async"})
        held = await home.wait_for_hold()
        if state is State.REJECTED:
            await home.person("ann").reject(held, "no")
        elif state is not State.PENDING:
            await home.person("ann").approve(held)
        if state is State.EXECUTED:
            await home.wait_until(held, State.EXECUTED)

        plain = await home.refund()

        assert asked.status == 202
        assert plain.status in {200, 403}
        assert plain.call == asked.call
