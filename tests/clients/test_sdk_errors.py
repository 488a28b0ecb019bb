"""Each SDK raises its own exception, with the reviewer's sentence in it, and does not try again behind our back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anthropic
import github
import openai
import pytest
import slack_sdk
import stripe
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from policy.reasons import Reason
from proxy.doors.arrival import Arrival, Refusal
from tests.fakes.agents_door import RecordingGate, opened

E = TypeVar("E", bound=Exception)
WORDS = "Not before the invoice is checked"
TOKEN = "assentry-token"


def refusing(reason: Reason) -> Callable[[Arrival], Refusal]:
    def answer(arrival: Arrival) -> Refusal:
        return Refusal(
            reason=reason,
            detail="Rejected by Ann.",
            call=arrival.id,
            upstream=arrival.upstream,
            decided_by="corp:ann",
            decision_reason=WORDS,
        )

    return answer


def ask_openai(port: int) -> None:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/openai/v1", api_key=TOKEN) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


def ask_anthropic(port: int) -> None:
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}/anthropic", api_key=TOKEN) as client:
        client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": "hi"}])


def ask_stripe(port: int) -> None:
    http = stripe.RequestsClient()
    try:
        client = stripe.StripeClient(
            TOKEN, base_addresses={"api": f"http://127.0.0.1:{port}/stripe"}, http_client=http, max_network_retries=2
        )
        client.v1.refunds.create({"charge": "ch_1"})
    finally:
        http.close()


def ask_github(port: int) -> None:
    client = github.Github(base_url=f"http://127.0.0.1:{port}/github", auth=github.Auth.Token(TOKEN), lazy=True)
    try:
        client.get_repo("o/r").create_issue("title")
    finally:
        client.close()


def ask_slack(port: int) -> None:
    client = slack_sdk.WebClient(token=TOKEN, base_url=f"http://127.0.0.1:{port}/slack/api/")
    client.chat_postMessage(channel="C1", text="hello")


async def ask_slack_async(port: int) -> None:
    client = AsyncWebClient(token=TOKEN, base_url=f"http://127.0.0.1:{port}/slack/api/")
    await client.chat_postMessage(channel="C1", text="hello")


CASES = [
    (ask_openai, Reason.REJECTED, openai.PermissionDeniedError),
    (ask_openai, Reason.APPROVAL_PENDING, openai.PermissionDeniedError),
    (ask_openai, Reason.OUTCOME_UNKNOWN, openai.InternalServerError),
    (ask_openai, Reason.IDENTITY_EXPIRED, openai.AuthenticationError),
    (ask_openai, Reason.TOO_SLOW, openai.APIStatusError),
    (ask_anthropic, Reason.REJECTED, anthropic.PermissionDeniedError),
    (ask_anthropic, Reason.APPROVAL_PENDING, anthropic.PermissionDeniedError),
    (ask_anthropic, Reason.UPSTREAM_BROKE_OFF, anthropic.InternalServerError),
    (ask_anthropic, Reason.IDENTITY_EXPIRED, anthropic.AuthenticationError),
    (ask_anthropic, Reason.BODY_TOO_LARGE, anthropic.APIStatusError),
    (ask_slack, Reason.REJECTED, SlackApiError),
    (ask_slack, Reason.APPROVAL_PENDING, SlackApiError),
    (ask_slack, Reason.OUTCOME_UNKNOWN, SlackApiError),
    (ask_slack, Reason.FOREIGN_CREDENTIAL, SlackApiError),
    (ask_stripe, Reason.REJECTED, stripe.PermissionError),
    (ask_stripe, Reason.APPROVAL_PENDING, stripe.PermissionError),
    (ask_stripe, Reason.OUTCOME_UNKNOWN, stripe.APIError),
    (ask_stripe, Reason.IDENTITY_EXPIRED, stripe.AuthenticationError),
    (ask_github, Reason.REJECTED, github.GithubException),
    (ask_github, Reason.APPROVAL_PENDING, github.GithubException),
    (ask_github, Reason.IDEMPOTENCY_KEY_REUSED, github.GithubException),
]


@pytest.mark.parametrize(
    ("ask", "reason", "error"), CASES, ids=[f"{ask.__name__}-{reason}" for ask, reason, _ in CASES]
)
async def test_the_sdk_raises_its_own_error_with_the_reviewers_sentence_once(
    ask: Callable[[int], None], reason: Reason, error: type[Exception]
) -> None:
    gate = RecordingGate(answer=refusing(reason))
    async with opened(gate) as door:
        with pytest.raises(error) as raised:
            await asyncio.to_thread(ask, door.address[1])
    assert WORDS in str(raised.value)
    assert "Rejected by Ann" in str(raised.value)
    assert [arrival.bearer for arrival in gate.arrivals] == [TOKEN]


async def refused_by(ask: Callable[[int], None], error: type[E]) -> E:
    async with opened(RecordingGate(answer=refusing(Reason.REJECTED))) as door:
        with pytest.raises(error) as raised:
            await asyncio.to_thread(ask, door.address[1])
    return raised.value


async def test_anthropics_error_says_kind_code_and_sentence_in_the_words_of_its_api() -> None:
    raised = await refused_by(ask_anthropic, anthropic.PermissionDeniedError)
    assert (raised.type, raised.error_code) == ("permission_error", "rejected")
    assert WORDS in (raised.api_message or "")


async def test_openais_error_has_the_code_and_the_sentence_as_its_attributes() -> None:
    raised = await refused_by(ask_openai, openai.PermissionDeniedError)
    assert (raised.code, raised.type) == ("rejected", "assentry_refusal")


async def test_what_programs_print_of_slacks_error_is_the_sentence() -> None:
    raised = await refused_by(ask_slack, SlackApiError)
    assert WORDS in raised.response["error"]
    assert (raised.response["ok"], raised.response.status_code) == (False, 403)


async def test_slacks_other_client_raises_the_same() -> None:
    gate = RecordingGate(answer=refusing(Reason.REJECTED))
    async with opened(gate) as door:
        with pytest.raises(SlackApiError, match=WORDS):
            await ask_slack_async(door.address[1])
    assert len(gate.arrivals) == 1


async def test_the_sdks_announce_how_long_they_wait() -> None:
    waits = {}
    for ask in (ask_openai, ask_anthropic, ask_stripe, ask_github):
        gate = RecordingGate(answer=refusing(Reason.REJECTED))
        async with opened(gate) as door:
            with pytest.raises(Exception, match=WORDS):
                await asyncio.to_thread(ask, door.address[1])
        waits[ask.__name__] = gate.arrivals[0].patience.wait_s
    assert waits == {"ask_openai": 600, "ask_anthropic": 600, "ask_stripe": 80, "ask_github": 15}
