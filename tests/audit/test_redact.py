from __future__ import annotations

import re
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.audit import redact as module
from proxy.audit.redact import Redactor, Veiled, names_a_secret, text

REDACTOR = Redactor(b"k" * 32)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("card 4111 1111 1111 1111 was used", "card [redacted:card] was used"),
        ("card 4111-1111-1111-1112 was used", "card 4111-1111-1111-1112 was used"),
        ("write to ann@example.com now", "write to [redacted:email] now"),
        ("ann%40example.com", "[redacted:email]"),
        ("password: hunter2, and", "[redacted:secret], and"),
        ('{"api_key":"abc123"}', '{"[redacted:secret]"}'),
        ("Bearer abcdefgh12345678", "[redacted:credential]"),
        ("https://bob:pw@host/x", "https://[redacted:userinfo]@host/x"),
    ],
)
def test_what_looks_like_a_secret_or_a_person_s_data_is_replaced(said: str, kept: str) -> None:
    assert text(said, limit=200) == kept


@pytest.mark.parametrize(
    "said",
    [
        "/v1/charges/ch_3MmlLrLkdIwHu7ix0snN0B15/refunds",
        "/repos/acme/widgets/commits/0123456789abcdef0123456789abcdef01234567",
        "stripe/charge/6f1c9a52-7e0b-4e6f-9d58-0c1b2a3d4e5f",
        "the parcel was lost; risk-management agrees, max_tokens=100 is fine",
        "2026-11-21T09:17:15.696Z",
    ],
)
def test_what_auditors_need_is_left(said: str) -> None:
    assert text(said, limit=200) == said


def test_text_is_cut_after_it_was_cleaned() -> None:
    assert text("x" * 100 + " 4111 1111 1111 1111", limit=110) == "x" * 100 + " [redacted…"


def test_people_who_decide_see_personal_data_and_no_secrets() -> None:
    shown = Redactor(b"k" * 32).redact("mail ann@example.com the key sk_live_abcdefgh1234")
    assert re.fullmatch(r"mail ann@example\.com the key \[key hmac:[0-9a-f]{12}\]", shown)


def test_people_who_decide_see_that_two_secrets_are_the_same_and_nothing_is_cut() -> None:
    shown = REDACTOR.redact("x" * 100_000 + " Bearer abcdefgh1 Bearer abcdefgh1 Bearer abcdefgh2")
    assert shown.startswith("x" * 100_000)
    first, second, third = re.findall(r"\[credential hmac:[0-9a-f]{12}\]", shown)
    assert first == second != third
    assert REDACTOR.fingerprint("Bearer abcdefgh1")[:17] in first


@pytest.mark.parametrize(
    "name", ["password", "clientSecret", "client_secret", "api_key", "apiKey", "access-token", "CVC", "userPin"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name", ["amount", "shipping", "author", "max_tokens", "keyboard", "tokenizer", "passport_country"]
)
def test_names_that_only_resemble_them_are_not(name: str) -> None:
    assert not names_a_secret(name)


def test_a_veiled_value_is_the_same_each_time_and_different_under_another_key() -> None:
    one = REDACTOR.fingerprint("ann")
    assert one == REDACTOR.fingerprint("ann")
    assert one != REDACTOR.fingerprint("bob")
    assert one != Redactor(b"j" * 32).fingerprint("ann")
    assert one.startswith("hmac:")
    assert "ann" not in repr(Veiled(value="ann"))


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.text().map(lambda value: Veiled(value=value))))
def test_whatever_the_facts_are_they_become_one_printable_line(facts: dict[str, object]) -> None:
    encoded = REDACTOR.encode(facts)  # type: ignore[arg-type]
    assert len(encoded.decode().splitlines()) == 1
    assert set(orjson.loads(encoded)) == set(facts)


FRAGMENTS = st.sampled_from(
    [
        "sk_live_",
        "ghp_",
        "eyJ",
        "bearer ",
        "Basic ",
        "NEGOTIATE ",
        "AKIA",
        "ASIA",
        "AIza",
        "xoxb-",
        "github_pat_",
        "SG.",
        "@",
        "%40",
        ".com",
        "://",
        ":",
        "=",
        "password",
        "api_key",
        "-----BEGIN PRIVATE KEY-----",
        "glpat-",
        "hf_",
        "npm_",
        "whsec_",
        "shpat_",
        "dop_v1_",
        "ann",
        "4111 1111 1111 1111",
        "0123456789ABCDEF",
        "abcdefgh12345678",
        "Q1w2e3r4",
        " ",
        "/",
        "-",
        "é",
        "٤١",
    ]
)


@settings(max_examples=500)
@given(st.lists(FRAGMENTS | st.text(max_size=3), max_size=8).map("".join))
def test_the_quick_look_before_the_scan_overlooks_nothing(said: str) -> None:
    assert text(said, limit=10_000) == module._SENSITIVE.sub(module._replacement, said)


@pytest.mark.parametrize(
    "hostile",
    [
        "a" * 16_000,
        "a-" * 8_000,
        "@" * 16_000,
        "a@a." * 4_000,
        "-----BEGIN PRIVATE KEY-----" * 600,
        "1 " * 8_000,
        "eyJ" * 5_000,
        "token=" * 2_600,
    ],
)
def test_no_text_makes_the_scan_slow(hostile: str) -> None:
    began = time.process_time()
    text(hostile, limit=100)
    assert time.process_time() - began < 0.5
