"""What an approval is bound to, and what makes two calls alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.call import AgentWords, Call, CallId, Target
from policy.fingerprint import fingerprint, likeness, short
from policy.principal import Identity
from tests.fakes.values import ROBOT, a_call

CALL = a_call()


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, target=Target(method="PUT", path="/v1/refunds")),
        replace(CALL, target=Target(method="POST", path="/v1/refunds/")),
        replace(CALL, target=Target(method="POST", path="/v1/refunds", query="a=1")),
        replace(CALL, upstream="other"),
        replace(CALL, body_digest="0" * 64),
        replace(CALL, headers=(("content-type", "text/plain"),)),
        replace(CALL, headers=()),
        replace(CALL, idempotency_key="k"),
        replace(CALL, principal=replace(ROBOT, agent=Identity("corp:other"))),
        replace(CALL, principal=replace(ROBOT, subject=Identity("corp:ann"))),
        replace(CALL, principal=replace(ROBOT, owner=None)),
        replace(CALL, principal=replace(ROBOT, chain=(Identity("corp:ann"),))),
    ],
)
def test_whatever_reaches_the_upstream_or_says_who_asks_changes_likeness_and_fingerprint(other: Call) -> None:
    assert likeness(other) != likeness(CALL)
    assert fingerprint(other, bundle="b", expires_at=1) != fingerprint(CALL, bundle="b", expires_at=1)


def test_where_less_than_the_body_makes_two_tries_alike_an_approval_binds_every_byte_all_the_same() -> None:
    one, other = (replace(CALL, meaning="m", body_digest=digit * 64) for digit in "12")
    assert likeness(one) == likeness(other) != likeness(replace(one, meaning="n"))
    assert fingerprint(one, bundle="b", expires_at=1) != fingerprint(other, bundle="b", expires_at=1)


@pytest.mark.parametrize(
    "again",
    [
        replace(CALL, id=CallId("call_2")),
        replace(CALL, received_at=2.0),
        replace(CALL, sample=1),
        replace(CALL, peer="10.9.9.9"),
        replace(CALL, words=AgentWords(reason="please")),
        replace(CALL, principal=replace(ROBOT, token_id="t-2", expires_at=9)),
    ],
)
def test_a_repeat_of_the_same_call_is_like_it(again: Call) -> None:
    assert likeness(again) == likeness(CALL)


def test_an_approval_is_bound_to_one_hold_one_bundle_and_one_expiry() -> None:
    bound = fingerprint(CALL, bundle="b", expires_at=1)
    assert bound != fingerprint(replace(CALL, id=CallId("call_2")), bundle="b", expires_at=1)
    assert bound != fingerprint(CALL, bundle="c", expires_at=1)
    assert bound != fingerprint(CALL, bundle="b", expires_at=2)


@given(st.text(), st.text(), st.text(), st.text())
def test_moving_text_between_parts_never_gives_the_same_digest(a: str, b: str, c: str, d: str) -> None:
    one = replace(CALL, target=Target(method="GET", path=a, query=b))
    two = replace(CALL, target=Target(method="GET", path=c, query=d))
    assert (likeness(one) == likeness(two)) == ((a, b) == (c, d))


def test_the_short_form_is_the_beginning_of_the_digest() -> None:
    assert short("0123456789abcdef" * 4) == "0123-4567-89ab"
