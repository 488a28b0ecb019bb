"""What is attached at release: written right, fetched once, never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import AsyncIterator

import pytest

from config.settings import Upstream
from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage
from proxy.upstream.credentials import AFTER_FAILURE_S, Attached, Credentials
from proxy.upstream.forward import answer_headers
from tests.fakes.upstream import Answer, FakeUpstream, drop, held, raw, reply, upstream
from tests.upstream.test_forward import Head

CANARY = "canary-4471-secret"


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def up(credential: dict, **settings: object) -> Upstream:
    return Upstream.model_validate({
        "name": "pay", "url": "https://pay.example", "credential": credential, "private_networks": True, **settings
    })  # fmt: skip


def oauth(fake: FakeUpstream, **settings: object) -> Upstream:
    credential = {"kind": "oauth2", "token_url": f"{fake.url}/oauth/token", "client_id": "gate:1", "scopes": ["a", "b"]}
    return up({**credential, "client_secret": CANARY}, **settings)


def granted(token: str = "at-1-canary", **more: object) -> Answer:
    document = {"access_token": token, "token_type": "Bearer", "expires_in": 3600, **more}
    return reply(200, json.dumps(document).encode(), ("content-type", "application/json"))


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeUpstream]:
    async with upstream() as running:
        running.default = granted()
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def credentials(clock: Clock) -> AsyncIterator[Credentials]:
    kept = Credentials(now=clock)
    yield kept
    await kept.close()


PAIR = base64.b64encode(b"ann:" + CANARY.encode())
STATIC = {
    "none": ({"kind": "none"}, ()),
    "bearer": ({"kind": "bearer", "token": CANARY}, ((b"authorization", b"Bearer " + CANARY.encode()),)),
    "header": (
        {"kind": "header", "header": "X-Pay-Key", "value": f"key {CANARY}"},
        ((b"x-pay-key", b"key " + CANARY.encode()),),
    ),
    "basic": (
        {"kind": "basic", "username": "ann", "password": CANARY},
        ((b"authorization", b"Basic " + PAIR),),
    ),
}


@pytest.mark.parametrize("kind", STATIC)
async def test_each_kind_is_written_its_own_way(credentials: Credentials, kind: str):
    credential, expected = STATIC[kind]
    assert (await credentials.resolve(up(credential))).headers == expected


@pytest.mark.parametrize("kind", [kind for kind in STATIC if kind != "none"])
async def test_each_form_of_the_secret_is_hidden_from_answers(credentials: Credentials, kind: str):
    attached = await credentials.resolve(up(STATIC[kind][0]))
    echoes = (CANARY.encode(), attached.headers[0][1], b"?key=" + CANARY.replace("-", "%2D").encode())
    seen = answer_headers(Head(tuple((b"x", b"<" + echo + b">") for echo in echoes[:2])), attached)
    assert seen == (("x", "<[redacted]>"), ("x", "<[redacted]>"))


async def test_a_percent_encoded_secret_is_hidden_too(credentials: Credentials):
    attached = await credentials.resolve(up({"kind": "bearer", "token": "can/ary+4471="}))
    seen = answer_headers(Head(((b"location", b"/?k=can%2Fary%2B4471%3D&x"),)), attached)
    assert seen == (("location", "/?k=[redacted]&x"),)


async def test_a_very_short_secret_does_not_blot_out_what_holds_it_by_chance(credentials: Credentials):
    attached = await credentials.resolve(up({"kind": "header", "header": "x-key", "value": "t"}))
    assert answer_headers(Head(((b"content-type", b"text/html"),)), attached) == (("content-type", "text/html"),)


@pytest.mark.parametrize("kind", STATIC)
async def test_an_attached_credential_says_nothing_when_printed(credentials: Credentials, kind: str):
    attached = await credentials.resolve(up(STATIC[kind][0]))
    assert repr(attached) == str(attached) == "Attached()"


@pytest.mark.parametrize(
    "credential",
    [
        {"kind": "bearer", "token": f"{CANARY}\n"},
        {"kind": "bearer", "token": f"{CANARY}\r\nx: y"},
        {"kind": "header", "header": "x-key", "value": ""},
        {"kind": "header", "header": "host", "value": CANARY},
        {"kind": "header", "header": "content-length", "value": "12"},
        {"kind": "header", "header": "x key", "value": CANARY},
        {"kind": "basic", "username": "a:b", "password": CANARY},
    ],
)
async def test_a_credential_that_no_header_may_carry_is_the_operators_fault(credentials: Credentials, credential: dict):
    with pytest.raises(OperatorFault) as caught:
        await credentials.resolve(up(credential))
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "canary" not in "".join(traceback.format_exception(caught.value))


async def test_an_access_token_is_asked_for_as_rfc_6749_says(credentials: Credentials, endpoint: FakeUpstream):
    attached = await credentials.resolve(oauth(endpoint))
    assert attached.headers == ((b"authorization", b"Bearer at-1-canary"),)
    (asked,) = endpoint.received
    assert (asked.method, asked.target) == ("POST", "/oauth/token")
    assert asked.header("content-type") == "application/x-www-form-urlencoded"
    assert asked.body == b"grant_type=client_credentials&scope=a+b"
    assert base64.b64decode(asked.header("authorization").removeprefix("Basic ")) == f"gate%3A1:{CANARY}".encode()


async def test_an_access_token_is_kept_until_shortly_before_it_expires(
    credentials: Credentials, endpoint: FakeUpstream, clock: Clock
):
    endpoint.script(granted("first-token"), granted("second-token"))
    settings = oauth(endpoint)
    await credentials.resolve(settings)
    clock.at += 3600 - 31
    assert (await credentials.resolve(settings)).headers[0][1] == b"Bearer first-token"
    clock.at += 2
    assert (await credentials.resolve(settings)).headers[0][1] == b"Bearer second-token"
    assert len(endpoint.received) == 2


async def test_a_short_lived_token_is_kept_for_most_of_its_life(
    credentials: Credentials, endpoint: FakeUpstream, clock: Clock
):
    endpoint.default = granted(expires_in=20)
    await credentials.resolve(oauth(endpoint))
    clock.at += 17
    await credentials.resolve(oauth(endpoint))
    assert len(endpoint.received) == 1
    clock.at += 2
    await credentials.resolve(oauth(endpoint))
    assert len(endpoint.received) == 2


async def test_many_calls_at_once_fetch_one_token(credentials: Credentials, endpoint: FakeUpstream):
    go = asyncio.Event()
    endpoint.script(held(go, granted()))
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(credentials.resolve(oauth(endpoint))) for _ in range(50)]
        await endpoint.until_received(1)
        go.set()
    assert len({task.result().headers for task in asking}) == 1
    assert len(endpoint.received) == 1


async def test_many_calls_at_once_share_one_failure_and_the_next_try_comes_later(
    credentials: Credentials, endpoint: FakeUpstream, clock: Clock
):
    endpoint.script(reply(500))
    outcomes = await asyncio.gather(*(credentials.resolve(oauth(endpoint)) for _ in range(50)), return_exceptions=True)
    assert all(isinstance(outcome, Outage) for outcome in outcomes)
    assert len(endpoint.received) == 1
    clock.at += AFTER_FAILURE_S + 0.1
    assert isinstance(await credentials.resolve(oauth(endpoint)), Attached)


async def test_a_cancelled_first_asker_does_not_take_the_others_with_it(
    credentials: Credentials, endpoint: FakeUpstream
):
    never = asyncio.Event()
    endpoint.script(held(never, granted()))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(credentials.resolve(oauth(endpoint)))
        await endpoint.until_received(1)
        second = tasks.create_task(credentials.resolve(oauth(endpoint)))
        await asyncio.sleep(0)
        first.cancel()
    assert second.result().headers == ((b"authorization", b"Bearer at-1-canary"),)


async def test_a_token_that_the_upstream_refused_may_be_forgotten(credentials: Credentials, endpoint: FakeUpstream):
    await credentials.resolve(oauth(endpoint))
    credentials.forget("pay")
    await credentials.resolve(oauth(endpoint))
    assert len(endpoint.received) == 2


@pytest.mark.parametrize(
    "answer",
    [
        reply(400, b'{"error":"invalid_client"}'),
        reply(302, b"", ("location", "/elsewhere")),
        reply(200, b"<html>"),
        reply(200, b"[" * 100_000),
        reply(200, b"[]"),
        reply(200, b"{}"),
        reply(200, b"x" * 70_000),
        granted(token=""),
        granted(token="canary\r\nx: y"),
        granted(token="two words canary"),
        granted(token_type="mac"),
        granted(token_type=None),
        granted(expires_in=0),
        granted(expires_in=-5),
        granted(expires_in="soon"),
        granted(expires_in=True),
        granted(expires_in=float("nan")),
        drop(),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", close=True),
        raw(b"canary garbage\r\n\r\n"),
    ],
)
async def test_whatever_else_a_token_endpoint_says_nothing_is_sent(
    credentials: Credentials, endpoint: FakeUpstream, answer: Answer, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    endpoint.script(answer)
    with pytest.raises(Outage) as caught:
        await credentials.resolve(oauth(endpoint))
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert len(endpoint.received) == 1


async def test_a_token_endpoint_that_is_not_there_is_an_outage(credentials: Credentials):
    async with upstream() as gone:
        settings = oauth(gone)
    with pytest.raises(Outage) as caught:
        await credentials.resolve(settings)
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE


async def test_a_token_endpoint_at_a_private_address_is_not_asked(credentials: Credentials, endpoint: FakeUpstream):
    with pytest.raises(Outage):
        await credentials.resolve(oauth(endpoint, private_networks=False))
    assert endpoint.connections == 0


async def test_a_token_endpoint_that_never_answers_is_given_up(credentials: Credentials, endpoint: FakeUpstream):
    endpoint.script(held(asyncio.Event(), granted()))
    with pytest.raises(Outage):
        await credentials.resolve(oauth(endpoint, first_byte_timeout_s=0.1))


@pytest.mark.parametrize("told", [None, "3600", 1e308, 10**30])
async def test_a_lifetime_may_be_untold_written_as_text_or_too_long(
    credentials: Credentials, endpoint: FakeUpstream, clock: Clock, told: object
):
    document = {"access_token": "at-2-canary", "token_type": "bearer"} | ({"expires_in": told} if told else {})
    endpoint.default = reply(200, json.dumps(document).encode())
    await credentials.resolve(oauth(endpoint))
    clock.at += 86_400
    await credentials.resolve(oauth(endpoint))
    assert len(endpoint.received) == 2
