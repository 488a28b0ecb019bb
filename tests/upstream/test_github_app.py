"""Tokens of a GitHub App: asked for call by call, confined to the call, and never taken where they are more."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.settings import Upstream
from policy.call import Target
from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage
from proxy.upstream.credentials import AFTER_FAILURE_S, MOST_PURSES, Credentials
from tests.fakes.upstream import Answer, FakeUpstream, Received, drop, held, reply, upstream
from tests.upstream.test_credentials import Clock

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
NOW = 1_767_614_400.0
ISSUES = Target(method="POST", path="/repos/acme/site/issues")


def up(fake: FakeUpstream, **credential: object) -> Upstream:
    app = {"kind": "github-app", "app_id": 123, "installation_id": 42, "private_key": PEM, **credential}
    return Upstream.model_validate({"name": "hub", "url": fake.url, "credential": app, "private_networks": True})


def grant(token: str = "ghs_canary1", **more: object) -> Answer:
    """GitHub's answer: what was asked for, and reading metadata."""

    async def write(received: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(received.body)
        until = datetime.fromtimestamp(NOW + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = {
            "token": token,
            "expires_at": until,
            "permissions": {**asked["permissions"], "metadata": "read"},
            "repository_selection": "selected",
        }
        if "repositories" in asked:
            found["repositories"] = [{"id": 1, "name": name.title()} for name in asked["repositories"]]
        await reply(201, json.dumps({**found, **more}).encode())(received, writer)

    return write


@pytest.fixture
async def hub() -> AsyncIterator[FakeUpstream]:
    async with upstream() as running:
        running.default = grant()
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def credentials(clock: Clock) -> AsyncIterator[Credentials]:
    kept = Credentials(now=clock, wall=lambda: NOW)
    yield kept
    await kept.close()


async def test_the_app_signs_and_asks_for_one_repository_and_one_permission(
    credentials: Credentials, hub: FakeUpstream
):
    attached = await credentials.resolve(up(hub), target=ISSUES)
    assert attached.headers == ((b"authorization", b"Bearer ghs_canary1"),)
    (asked,) = hub.received
    assert (asked.method, asked.target) == ("POST", "/app/installations/42/access_tokens")
    assert json.loads(asked.body) == {"repositories": ["site"], "permissions": {"issues": "write"}}
    assertion = (asked.header("authorization") or "").removeprefix("Bearer ")
    claims = jwt.decode(assertion, KEY.public_key(), algorithms=["RS256"], options={"verify_exp": False})
    assert claims == {"iss": "123", "iat": NOW - 60, "exp": NOW + 540}


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "/repos/acme/site", {"repositories": ["site"], "permissions": {"metadata": "read"}}),
        ("DELETE", "/repos/acme/site", {"repositories": ["site"], "permissions": {"administration": "write"}}),
        ("HEAD", "/repos/acme/site/pulls/7", {"repositories": ["site"], "permissions": {"pull_requests": "read"}}),
        ("PUT", "/repos/acme/site/pulls/7/merge", {"repositories": ["site"], "permissions": {"contents": "write"}}),
        (
            "PUT",
            "/repos/acme/site/contents/.github/workflows/ci.yml",
            {"repositories": ["site"], "permissions": {"contents": "write", "workflows": "write"}},
        ),
        ("GET", "/api/v3/repos/Acme/Site/commits", {"repositories": ["site"], "permissions": {"contents": "read"}}),
        ("PUT", "/orgs/acme/memberships/ann", {"permissions": {"members": "write"}}),
        ("GET", "/search/code", {"permissions": {"metadata": "read"}}),
    ],
)
async def test_each_call_gets_what_it_needs_and_no_more(
    credentials: Credentials, hub: FakeUpstream, method: str, path: str, asked: dict
):
    await credentials.resolve(up(hub), target=Target(method=method, path=path))
    assert json.loads(hub.received[0].body) == asked


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/user"),
        ("POST", "/graphql"),
        ("POST", "/repos/acme/site/something-new"),
        ("POST", "/rate_limit"),
        ("GET", "/repos/acme/%73ite/issues"),
        ("GET", "/repos/acme/site%2f..%2fother/issues"),
        ("GET", "/repos/acme/site/%69ssues"),
        ("GET", "/repos//site/issues"),
        ("DELETE", "/repos/acme/site/"),
        ("POST", "/app/installations/42/access_tokens"),
    ],
)
async def test_a_call_of_which_nobody_knows_what_it_needs_gets_no_token(
    credentials: Credentials, hub: FakeUpstream, method: str, path: str
):
    with pytest.raises(OperatorFault) as caught:
        await credentials.resolve(up(hub), target=Target(method=method, path=path))
    assert caught.value.reason is Reason.CREDENTIAL_REFUSED
    assert hub.received == []


async def test_a_token_is_kept_for_the_calls_that_need_the_same_until_shortly_before_it_expires(
    credentials: Credentials, hub: FakeUpstream, clock: Clock
):
    hub.script(grant("ghs_first1"), grant("ghs_other1"), grant("ghs_second"))
    same = Target(method="PATCH", path="/repos/ACME/SITE/issues/7")
    for target, expected in ((ISSUES, b"first1"), (same, b"first1")):
        assert (await credentials.resolve(up(hub), target=target)).headers[0][1].endswith(expected)
    reading = Target(method="GET", path=ISSUES.path)
    assert (await credentials.resolve(up(hub), target=reading)).headers[0][1].endswith(b"other1")
    clock.at += 3600 - 31
    assert (await credentials.resolve(up(hub), target=ISSUES)).headers[0][1].endswith(b"first1")
    clock.at += 2
    assert (await credentials.resolve(up(hub), target=ISSUES)).headers[0][1].endswith(b"second")


async def test_many_calls_at_once_ask_once(credentials: Credentials, hub: FakeUpstream):
    go = asyncio.Event()
    hub.script(held(go, grant()))
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(credentials.resolve(up(hub), target=ISSUES)) for _ in range(20)]
        await hub.until_received(1)
        go.set()
    assert len({task.result().headers for task in asking}) == len(hub.received) == 1


async def test_what_is_kept_is_bounded_and_what_was_used_last_stays(credentials: Credentials, hub: FakeUpstream):
    for number in range(MOST_PURSES + 5):
        await credentials.resolve(up(hub), target=Target(method="GET", path=f"/repos/acme/r{number}/issues"))
        await credentials.resolve(up(hub), target=ISSUES)
    assert len(credentials._purses) == MOST_PURSES
    assert sum(json.loads(one.body)["repositories"] == ["site"] for one in hub.received) == 1


async def test_no_token_is_at_hand_without_knowing_the_call(credentials: Credentials, hub: FakeUpstream):
    await credentials.resolve(up(hub), target=ISSUES)
    assert credentials.at_hand(up(hub)) is None


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_what_github_refuses_the_app_is_no_outage_and_is_not_asked_again_at_once(
    credentials: Credentials, hub: FakeUpstream, clock: Clock, status: int
):
    hub.script(reply(status, b'{"message":"canary"}'))
    for _ in range(2):
        with pytest.raises(OperatorFault) as caught:
            await credentials.resolve(up(hub), target=ISSUES)
        assert caught.value.reason is Reason.CREDENTIAL_REFUSED
    assert len(hub.received) == 1
    clock.at += AFTER_FAILURE_S + 0.1
    await credentials.resolve(up(hub), target=ISSUES)


WIDER = {
    "another permission": grant(permissions={"issues": "write", "contents": "write"}),
    "a higher level": grant(permissions={"issues": "admin"}),
    "metadata to write": grant(permissions={"issues": "write", "metadata": "write"}),
    "another repository": grant(repositories=[{"name": "other"}]),
    "one repository more": grant(repositories=[{"name": "site"}, {"name": "other"}]),
    "no list of repositories": grant(repositories=None),
    "no permissions": grant(permissions=None),
    "permissions that are no texts": grant(permissions={"issues": ["write"]}),
    "no token": grant(token=""),
    "a token that splits headers": grant(token="a\r\nx: y"),
    "no end": grant(expires_at=None),
    "an end without a zone": grant(expires_at="2026-01-05T13:00:00"),
    "an end in the past": grant(expires_at="2020-01-05T13:00:00Z"),
    "a list": reply(201, b"[]"),
    "no JSON": reply(201, b"canary"),
    "another status": reply(200, b"{}"),
    "an error": reply(500, b"canary"),
    "nothing": drop(),
}


@pytest.mark.parametrize("answer", WIDER)
async def test_an_answer_that_is_not_what_was_asked_for_gives_no_token(
    credentials: Credentials, hub: FakeUpstream, answer: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    hub.script(WIDER[answer])
    with pytest.raises(Outage) as caught:
        await credentials.resolve(up(hub), target=ISSUES)
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "canary" not in "".join(traceback.format_exception(caught.value)) + caplog.text


OTHER = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("key", ["canary", "", OTHER.decode(), PEM[:900]])
async def test_a_key_that_is_none_is_the_operators_fault(credentials: Credentials, hub: FakeUpstream, key: str):
    with pytest.raises(OperatorFault) as caught:
        await credentials.resolve(up(hub, private_key=key), target=ISSUES)
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert hub.received == []


async def test_neither_key_nor_token_is_printed_or_logged(
    credentials: Credentials, hub: FakeUpstream, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    attached = await credentials.resolve(up(hub), target=ISSUES)
    assertion = (hub.received[0].header("authorization") or "").removeprefix("Bearer ")
    said = caplog.text + repr(attached) + repr(credentials._apps) + repr(up(hub))
    assert [secret for secret in ("ghs_canary1", assertion, PEM[100:140]) if secret in said] == []
    assert b"ghs_canary1" in attached.hidden
