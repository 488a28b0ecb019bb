"""What the door reads from headers: credential, patience, words, host, address."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import settings
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.addresses import host_name, is_own_host, own_hosts, peer_address
from proxy.doors.bearer import read_bearer
from proxy.doors.patience import is_sent_again, less, read_patience
from proxy.doors.words import read_words

NOW = 1_800_000_000.0


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"authorization": "Bearer abc.def_1-2~3+4/5=="},
        {"authorization": "bearer  abc.def_1-2~3+4/5=="},
        {"authorization": "token abc.def_1-2~3+4/5=="},
        {"authorization": basic("abc.def_1-2~3+4/5==:")},
        {"authorization": basic("x-access-token:abc.def_1-2~3+4/5==")},
        {"x-api-key": "abc.def_1-2~3+4/5=="},
        {"api-key": "abc.def_1-2~3+4/5=="},
    ],
)
def test_the_credential_is_found_where_an_sdk_puts_its_key(fields: dict[str, str]) -> None:
    assert read_bearer(fields) == "abc.def_1-2~3+4/5=="


@pytest.mark.parametrize(
    "fields", [{}, {"cookie": "token=abc"}, {"x-auth-token": "abc"}, {"proxy-authorization": "Bearer abc"}]
)
def test_no_other_place_is_looked_at(fields: dict[str, str]) -> None:
    assert read_bearer(fields) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"authorization": "Bearer a", "x-api-key": "a"}, Reason.MALFORMED),
        ({"api-key": "a", "x-api-key": "a"}, Reason.MALFORMED),
        ({"authorization": "Bearer a b"}, Reason.IDENTITY_INVALID),
        ({"authorization": "Bearer"}, Reason.IDENTITY_INVALID),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=a"}, Reason.IDENTITY_INVALID),
        ({"authorization": "Basic ???"}, Reason.IDENTITY_INVALID),
        ({"authorization": basic("ü:")}, Reason.IDENTITY_INVALID),
        ({"x-api-key": "a, b"}, Reason.IDENTITY_INVALID),
    ],
)
def test_what_is_not_one_token_is_refused(fields: dict[str, str], reason: Reason) -> None:
    refused = read_bearer(fields)
    assert isinstance(refused, Refused)
    assert refused.reason is reason


@pytest.mark.parametrize(
    ("fields", "wait_s"),
    [
        ({}, None),
        ({"user-agent": "curl/8"}, None),
        ({"x-stainless-read-timeout": "600.0", "user-agent": "OpenAI/Python 3.52"}, 600),
        ({"x-stainless-timeout": "20", "x-stainless-read-timeout": "30"}, 20),
        ({"x-stainless-timeout": "NOT_GIVEN"}, None),
        ({"x-stainless-timeout": "nan", "user-agent": "Stripe/v1 PythonBindings/16.1"}, 80),
        ({"x-stainless-timeout": "inf"}, None),
        ({"x-stainless-timeout": "-1"}, None),
        ({"amz-sdk-request": "ttl=20270115T080100Z; attempt=1; max=3"}, 60),
        ({"amz-sdk-request": "attempt=1; ttl=nonsense"}, None),
        ({"amz-sdk-request": "ttl=20270115T075900Z"}, None),
        ({"prefer": "respond-async, wait=10", "user-agent": "PyGithub/Python"}, 10),
        ({"prefer": 'Wait = "7"'}, 7),
        ({"prefer": "wait=-1"}, None),
        ({"user-agent": "PyGithub/Python"}, 15),
        ({"user-agent": "OpenAPI-Generator/37.0.0/python"}, 3600),
        ({"user-agent": "kubectl/v1.32"}, 3600),
        ({"user-agent": "Boto3/1.44 md/Botocore#1.44"}, 60),
        ({"user-agent": "Python/3.11 aiohttp/3.14.5"}, 300),
        ({"user-agent": "python-httpx/0.28"}, 5),
    ],
)
def test_a_clients_patience_is_what_it_announces_else_what_its_kind_bears(
    fields: dict[str, str], wait_s: float | None
) -> None:
    assert read_patience(fields, now=NOW).wait_s == wait_s


def test_a_client_may_ask_not_to_wait() -> None:
    assert read_patience({"prefer": "wait=10, Respond-Async"}, now=NOW).respond_async
    assert not read_patience({"prefer": "respond-asynchronously"}, now=NOW).respond_async


@given(st.dictionaries(st.sampled_from(["prefer", "x-stainless-timeout", "amz-sdk-request", "user-agent"]), st.text()))
def test_no_header_makes_the_patience_anything_but_a_time(fields: dict[str, str]) -> None:
    wait_s = read_patience(fields, now=NOW).wait_s
    assert wait_s is None or 0 <= wait_s <= 1e9


@pytest.mark.parametrize(
    ("fields", "silence_s", "whole_s", "interim"),
    [
        ({"user-agent": "OpenAI/Python 3.52", "x-stainless-read-timeout": "600.0"}, 600, None, 100),
        (
            {"user-agent": "Anthropic/Python 2.11", "x-stainless-timeout": "20", "x-stainless-lang": "python"},
            20,
            None,
            100,
        ),
        ({"user-agent": "OpenAI/JS 6", "x-stainless-timeout": "20", "x-stainless-lang": "js"}, 20, 20, None),
        ({"user-agent": "Stripe/v1 PythonBindings/16.1.0", "prefer": "wait=30"}, 30, 30, 100),
        ({"user-agent": "Boto3/1.44", "amz-sdk-request": "ttl=20270115T080100Z; attempt=1"}, 60, None, 100),
        ({"user-agent": "Python/3.11 aiohttp/3.14.5"}, 300, 300, 100),
        ({"user-agent": "Python/3.11 aiohttp/3.14.5", "prefer": "wait=900"}, 300, 300, 100),
        ({"user-agent": "Python/3.11 aiohttp/3.14.5", "x-stainless-read-timeout": "5"}, 5, 300, 100),
        ({"user-agent": "node"}, 300, None, 102),
        ({"user-agent": "curl/8", "prefer": "wait=7"}, 7, 7, None),
    ],
)
def test_silence_is_told_apart_from_the_whole_time(
    fields: dict[str, str], silence_s: float, whole_s: float | None, interim: int | None
) -> None:
    patience = read_patience(fields, now=NOW)
    assert (patience.wait_s, patience.total_s, patience.interim) == (silence_s, whole_s, interim)


def test_the_time_a_body_took_is_taken_off_the_whole_time_only() -> None:
    aiohttp, boto = ({"user-agent": agent} for agent in ("aiohttp/3.14", "Boto3/1.44"))
    assert less(read_patience(aiohttp, now=NOW), spent_s=40.9).total_s == 260
    assert less(read_patience(aiohttp, now=NOW), spent_s=40.9).wait_s == 260
    assert less(read_patience(aiohttp, now=NOW), spent_s=1000).wait_s == 0
    assert less(read_patience(boto, now=NOW), spent_s=40).wait_s == 60


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        ({}, False),
        ({"x-stainless-retry-count": "0"}, False),
        ({"x-stainless-retry-count": "1"}, True),
        ({"x-stainless-retry-count": "01"}, True),
        ({"x-stainless-retry-count": "-1"}, False),
        ({"x-stainless-retry-count": "1, 1"}, False),
        ({"x-stainless-retry-count": "\u0661"}, False),
        ({"x-stainless-retry-count": "9" * 5000}, False),
        ({"amz-sdk-request": "attempt=1; max=5"}, False),
        ({"amz-sdk-request": "ttl=20270115T080100Z; attempt=2; max=5"}, True),
        ({"amz-sdk-request": "attempt=22x"}, False),
    ],
)
def test_a_client_may_say_that_it_sent_a_call_before(fields: dict[str, str], again: bool) -> None:
    assert is_sent_again(fields) is again


def test_words_are_cut_and_cleaned() -> None:
    words = read_words(
        {
            "assentry-reason": "re\u200bfund\t to \u202eevil\x1b[31m " + "x" * 2000,
            "assentry-evidence": "https://a.example/1 , ,https://b.example/2" + ",c" * 50,
            "assentry-confidence": "0.90",
            "assentry-model": "  m  ",
            "assentry-session": "\u200b",
        }
    )
    assert words.reason is not None
    assert words.reason.startswith("refund to <U+202E>evil[31m xxx")
    assert len(words.reason) == 1000
    assert words.reason.endswith("…")
    assert words.evidence[:2] == ("https://a.example/1", "https://b.example/2")
    assert len(words.evidence) == 8
    assert (words.confidence, words.model, words.session, words.task) == ("0.9", "m", None, None)


@pytest.mark.parametrize("text", ["2", "-0.1", "nan", "high", "", "inf"])
def test_a_confidence_is_a_number_from_0_to_1(text: str) -> None:
    assert read_words({"assentry-confidence": text}).confidence is None


def test_configured_hosts_are_ours_and_no_others() -> None:
    agents = settings.AgentsDoor(hosts=("Gate.example", "pinned.example:8400"))
    ours = own_hosts(settings.Settings(agents=agents))
    assert all(is_own_host(host, hosts=ours) for host in ("gate.example", "gate.example:9", "pinned.example:8400"))
    assert not any(
        is_own_host(host, hosts=ours)
        for host in (
            "localhost",
            "pinned.example",
            "pinned.example:1",
            "x.gate.example",
            "gate.example.",
            "gate.example:",
        )
    )


def test_without_configured_hosts_the_listener_the_public_name_and_loopback_are_ours() -> None:
    agents = settings.AgentsDoor(listen="10.0.0.5:8400", public_url="https://Gate.example/agents")
    upstream = settings.Upstream(name="up", url="http://up.example", host="up.gate.example")
    ours = own_hosts(settings.Settings(agents=agents, upstreams=(upstream,)))
    hosts = ("10.0.0.5:8400", "gate.example", "localhost:1", "127.0.0.1:8400", "[::1]:8400", "up.gate.example")
    assert all(is_own_host(host, hosts=ours) for host in hosts)
    assert not is_own_host("up.example", hosts=ours)


def test_a_host_loses_its_port_and_nothing_else() -> None:
    assert [host_name(host) for host in ("a:1", "[::1]:80", "[::1]", "a")] == ["a", "[::1]", "[::1]", "a"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("", "1.1.1.1", ""),
    ],
)
def test_only_a_trusted_proxy_says_who_came_before_it(peer: str, forwarded: str, expected: str) -> None:
    assert peer_address(peer, forwarded=forwarded, trusted=("10.0.0.0/8",)) == expected
