"""What crosses the gate, either way."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as varied

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Upstream
from policy.call import Target
from proxy.errors import BrokenPromise
from proxy.upstream.credentials import Attached
from proxy.upstream.forward import NEVER_TRAVELS, TRAVELS, answer_headers, outgoing, travelling
from tests.fakes.values import a_call

PAY = Upstream(name="pay", url="https://pay.example:8443/base/")
SECRET = b"sk_live_canary"
KEY = Attached(headers=((b"authorization", b"Bearer " + SECRET),), hidden=(b"Bearer " + SECRET, SECRET))


@dataclass(frozen=True)
class Head:
    """An answer's head."""

    headers: tuple[tuple[bytes, bytes], ...]


def shown(*headers: tuple[bytes, bytes], attached: Attached = KEY) -> tuple[tuple[str, str], ...]:
    return answer_headers(Head(headers), attached)


def test_a_call_becomes_one_message_with_its_credential():
    call = a_call(
        target=Target(method="POST", path="/v1/a%2Fb//%e2", query="x=%20&y"),
        headers=(("content-type", "application/json"), ("idempotency-key", "k-1")),
    )
    sent = outgoing(PAY, call, b"{}", KEY)
    assert sent.wire() == (
        b"POST /base/v1/a%2Fb//%e2?x=%20&y HTTP/1.1\r\n"
        b"host: pay.example:8443\r\n"
        b"content-type: application/json\r\n"
        b"idempotency-key: k-1\r\n"
        b"content-length: 2\r\n"
        b"via: 1.1 assentry\r\n"
        b"authorization: Bearer sk_live_canary\r\n"
        b"\r\n"
        b"{}"
    )


def test_our_name_and_the_trace_are_told_where_they_are_given():
    fields = dict(outgoing(PAY, a_call(), b"", KEY, via="gate-7", traceparent="00-ab-cd-01").headers)
    assert fields[b"via"] == b"1.1 gate-7"
    assert fields[b"traceparent"] == b"00-ab-cd-01"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("GET", b"", None), ("HEAD", b"", None), ("DELETE", b"", None), ("DELETE", b"x", b"1"), ("POST", b"", b"0"),
     ("PUT", b"", b"0"), ("PATCH", b"", b"0"), ("GET", b"xy", b"2")],
)  # fmt: skip
def test_a_message_says_how_long_its_body_is(method: str, body: bytes, length: bytes | None):
    sent = outgoing(PAY, a_call(target=Target(method=method, path="/x")), body, KEY)
    assert dict(sent.headers).get(b"content-length") == length
    sent.wire()


@pytest.mark.parametrize("url", ["http://h", "http://h/", "http://h/base", "http://h/base/"])
def test_the_base_path_comes_before_the_target(url: str):
    call = a_call(target=Target(method="GET", path="/v1//x/"))
    base = "/base" if "base" in url else ""
    assert outgoing(Upstream(name="h", url=url), call, b"", KEY).target == f"{base}/v1//x/"


@pytest.mark.parametrize(
    "header",
    [("authorization", "Bearer agent"), ("cookie", "a=b"), ("x-other", "1"), ("Accept", "x"), ("accept", "a\r\nb: c"),
     ("accept", "a\nb"), ("accept", "a\0"), ("accept", " a"), ("accept", "ä"), ("content-length", "5"), ("host", "x")],
)  # fmt: skip
def test_a_header_that_may_not_travel_stops_the_call_rather_than_changing_it(header: tuple[str, str]):
    with pytest.raises(BrokenPromise):
        outgoing(PAY, a_call(headers=(header,)), b"", KEY)


def test_only_listed_headers_travel_in_order_and_lower_case():
    came = [
        ("Host", "gate"), ("User-Agent", "bot/1"), ("Authorization", "Bearer agent"), ("ACCEPT", "*/*"), ("X-Own", "1"),
        ("Cookie", "a=b"), ("X-Forwarded-User", "root"), ("X-Api-Key", "agent"), ("Accept", "text/plain"),
        ("Connection", "x-own"), ("Content-Type", "text/plain"), ("Assentry-Reason", "because"),
    ]  # fmt: skip
    assert travelling(came, PAY) == (
        ("user-agent", "bot/1"),
        ("accept", "*/*"),
        ("accept", "text/plain"),
        ("content-type", "text/plain"),
    )


def test_settings_may_let_further_headers_travel():
    open_one = varied_settings(headers=("x-own", "stripe-account"))
    assert travelling([("X-Own", "1"), ("Stripe-Account", "acct_1"), ("X-Else", "2")], open_one) == (
        ("x-own", "1"),
        ("stripe-account", "acct_1"),
    )


@pytest.mark.parametrize(
    "name",
    [*sorted(NEVER_TRAVELS), "x-forwarded-for", "x-forwarded-uri", "proxy-user", "assentry-call", "x_own", "a b"],
)
def test_some_headers_travel_whatever_the_settings_say_never(name: str):
    assert travelling([(name, "1")], varied_settings(headers=(name,))) == ()


def test_where_our_credential_goes_the_agents_word_does_not():
    credential = {"kind": "header", "header": "X-Pay-Key", "value": "ours"}
    assert travelling([("x-pay-key", "theirs")], varied_settings(headers=("x-pay-key",), credential=credential)) == ()


def test_the_two_lists_have_nothing_in_common():
    assert not TRAVELS & NEVER_TRAVELS


@given(st.lists(st.tuples(st.sampled_from(sorted(TRAVELS | NEVER_TRAVELS)), st.text(max_size=30)), max_size=10))
def test_whatever_travels_makes_exactly_one_message_or_none(headers: list[tuple[str, str]]):
    call = a_call(headers=travelling(headers, PAY))
    try:
        wire = outgoing(PAY, call, b"body", KEY).wire()
    except BrokenPromise:
        return
    assert wire.count(b"\r\n\r\n") == 1
    assert wire.count(b"\n") == wire.count(b"\r\n") == 6 + len(call.headers)


def test_end_to_end_headers_come_through_with_their_length():
    assert shown((b"Content-Type", b"text/plain"), (b"Content-Length", b"5"), (b"ETag", b'"\xe9"'), (b"X", b"")) == (
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("etag", '"é"'),
        ("x", ""),
    )


def test_hop_by_hop_headers_and_those_that_connection_names_stay_behind():
    assert shown(
        (b"Connection", b"X-Hop, keep-alive"), (b"Connection", b"X-Other , Content-Length"), (b"X-Hop", b"1"),
        (b"x-other", b"1"), (b"Keep-Alive", b"timeout=5"), (b"Transfer-Encoding", b"chunked"), (b"Upgrade", b"h2c"),
        (b"Trailer", b"X-Sum"), (b"TE", b"trailers"), (b"Proxy-Authenticate", b"Basic"), (b"Content-Length", b"5"),
    ) == (("content-length", "5"),)  # fmt: skip


@pytest.mark.parametrize("name", [b"Set-Cookie", b"Alt-Svc", b"Strict-Transport-Security", b"Assentry-Call"])
def test_what_speaks_for_another_place_or_for_us_stays_behind(name: bytes):
    assert shown((name, b"1")) == ()


def test_a_redirect_is_shown_and_not_followed():
    assert shown((b"Location", b"http://169.254.169.254/")) == (("location", "http://169.254.169.254/"),)


def test_an_echoed_credential_is_blotted_out_wherever_it_stands():
    assert shown(
        (b"X-Echo", b"Bearer " + SECRET),
        (b"Location", b"/login?key=" + SECRET + b"&again=" + SECRET),
        (b"X-" + SECRET, b"1"),
        (b"X-Fine", b"sk_live_other"),
    ) == (
        ("x-echo", "[redacted]"),
        ("location", "/login?key=[redacted]&again=[redacted]"),
        ("x-fine", "sk_live_other"),
    )


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=8))
def test_no_answer_makes_showing_it_fail(headers: list[tuple[bytes, bytes]]):
    shown(*headers, (b"Connection", b"\xff,\0"))


def varied_settings(**changes: object) -> Upstream:
    return Upstream.model_validate({**PAY.model_dump(), **changes})


def test_the_same_call_makes_the_same_message_each_time():
    call = a_call()
    assert outgoing(PAY, call, b"x", KEY).wire() == outgoing(PAY, varied(call), b"x", KEY).wire()
