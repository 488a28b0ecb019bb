"""Real clients with short read timeouts: those that take interim responses wait for people as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
import requests
import stripe
import urllib3

from policy.hold import State
from tests.fakes.house import House, bearer
from tests.fakes.upstream import reply

TIMEOUT_S = 2.0
"""Of each client, against silence: it cannot be moved, and a busy machine needs some."""
OFTEN = {"interim_every_s": 0.25}
FORM = {"charge": "ch_1", "currency": "eur"}


def refunds(home: House) -> str:
    return f"{home.gate.agents_url}/stripe/v1/refunds"


def ask_openai(home: House, token: str, amount: int) -> Any:
    url = f"{home.gate.agents_url}/openai/v1"
    with openai.OpenAI(base_url=url, api_key=token, timeout=TIMEOUT_S, max_retries=0) as client:
        return client.responses.create(model="m", input=str(amount), store=True).id


def ask_stripe(home: House, token: str, amount: int) -> Any:
    http = stripe.RequestsClient(timeout=TIMEOUT_S)
    try:
        bases = {"api": f"{home.gate.agents_url}/stripe"}
        client = stripe.StripeClient(token, base_addresses=bases, http_client=http, max_network_retries=0)
        return client.v1.refunds.create({"charge": "ch_1", "amount": amount, "currency": "eur"}).id
    finally:
        http.close()


def ask_requests(home: House, token: str, amount: int) -> Any:
    form = {**FORM, "amount": str(amount)}
    with requests.Session() as session:
        return session.post(refunds(home), data=form, headers=bearer(token), timeout=TIMEOUT_S).json()["id"]


def ask_urllib3(home: House, token: str, amount: int) -> Any:
    form = {**FORM, "amount": str(amount)}
    agent = {"User-Agent": f"python-urllib3/{urllib3.__version__}"}
    with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False) as pool:
        asked = pool.request("POST", refunds(home), fields=form, encode_multipart=False, headers=bearer(token) | agent)
        return asked.json()["id"]


def ask_aiohttp(home: House, token: str, amount: int) -> Any:
    async def ask() -> Any:
        limits = aiohttp.ClientTimeout(total=300, sock_read=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=limits) as session:
            form = {**FORM, "amount": str(amount)}
            async with session.post(refunds(home), data=form, headers=bearer(token)) as answered:
                return (await answered.json(content_type=None))["id"]

    return asyncio.run(ask())


PATIENT = (ask_openai, ask_stripe, ask_requests, ask_urllib3, ask_aiohttp)


async def test_clients_of_the_table_wait_for_people_three_times_as_long_as_they_bear_silence(open_house):
    async with open_house(holds=OFTEN) as home:
        home.upstream.script(*[reply(200, b'{"id": "x_1", "object": "thing"}')] * len(PATIENT))
        asked = [
            home.begin(asyncio.to_thread(ask, home, home.agent_token(), 20_000 + number))
            for number, ask in enumerate(PATIENT)
        ]
        held = []
        for _ in PATIENT:
            held.append(await home.wait_for_hold(besides=held))

        await asyncio.sleep(3 * TIMEOUT_S)  # Their clocks are real.
        for hold in held:
            await home.person("ann").approve(hold)

        assert await asyncio.gather(*asked) == ["x_1"] * len(PATIENT)
        assert len(home.upstream.received) == len(PATIENT)
        assert len(await home.holds()) == len(PATIENT)


@pytest.mark.parametrize(
    ("ask", "error"), [(ask_stripe, stripe.APIConnectionError), (ask_requests, requests.ReadTimeout)]
)
async def test_without_interim_responses_the_same_clients_give_up(
    open_house: Callable[..., Any], ask: Callable[..., Any], error: type[Exception]
):
    async with open_house(holds=OFTEN, each_upstream={"interim": False}) as home:
        with pytest.raises(error):
            await asyncio.to_thread(ask, home, home.agent_token(), 25_000)
        assert [hold.state for hold in await home.holds()] == [State.PENDING]


async def test_a_client_that_announces_its_patience_and_is_sent_nothing_is_told_before_it_gives_up(open_house):
    async with open_house(holds=OFTEN, each_upstream={"interim": False}) as home:
        with pytest.raises(openai.PermissionDeniedError, match="Nobody has decided yet"):
            await asyncio.to_thread(ask_openai, home, home.agent_token(), 25_000)


async def test_a_client_outside_the_table_hears_no_interim_response_and_is_told_in_time(open_house):
    async with open_house(holds=OFTEN) as home:
        async with httpx2.AsyncClient() as client:  # its own read timeout: 5 s
            form = {**FORM, "amount": "25000"}
            answer = await client.post(refunds(home), data=form, headers=bearer(home.agent_token()))

        assert (answer.status_code, answer.json()["reason"]) == (403, "approval-pending")
        (held,) = await home.open_holds()
        assert held.call.id == answer.json()["call"]


async def test_an_upstreams_own_limit_ends_a_wait_that_interim_responses_would_prolong(open_house):
    async with open_house(holds=OFTEN, each_upstream={"max_wait_s": 0.5}) as home:
        agent = {"User-Agent": "python-requests/2.34"}
        answer = await home.refund(headers=agent)
        assert (answer.status, answer.json["reason"]) == (403, "approval-pending")
