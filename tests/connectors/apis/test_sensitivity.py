"""What kinds of data a call carries."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.apis import detectors, reading, sensitivity
from connectors.apis.detectors import LABELS, UNSCANNED, Budget, hits, labels_of_pair
from policy.call import Sensitivity, Target
from tests.connectors.apis.examples import FORM, JSON, body_field, named, namer, operation, post


def labels(text: str) -> set[str]:
    return {label for label, _ in hits(text, Budget())}


def of(body: bytes, content_type: str | None = JSON, query: str = "", **limits: int) -> Sensitivity:
    return named(namer(operation("POST /x"), **limits).name(post("/x", query), content_type, body)).sensitivity


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("email", "write to ann@example.com, please"),
        ("email", "<ann.o'neil+tag@mail.example.co.uk>"),
        ("email", "jürgen@müller.example"),
        ("phone", "call +49 30 901820 now"),
        ("phone", "+1 (415) 555-2671"),
        ("phone", "+442079460958"),
        ("phone", "(212) 736-5000"),
        ("phone", "212-736-5000"),
        ("card", "4242424242424242"),
        ("card", "4242 4242 4242 4242"),
        ("card", "card 5555-5555-5555-4444 exp"),
        ("card", "378282246310005"),
        ("card", "1 4242 4242 4242 4242 12"),
        ("card", "\uff14\uff12\uff14\uff12" * 4),
        ("iban", "DE89370400440532013000"),
        ("iban", "pay to DE89 3704 0044 0532 0130 00 AND more"),
        ("iban", "gb82 west 1234 5698 7654 32"),
        ("ip", "from 203.0.113.7."),
        ("ip", "2001:db8::8a2e:370:7334"),
        ("ip", "fe80::1ff:fe23:4567:890a"),
        ("national-id", "SSN 536-90-4399"),
        ("national-id", "DNI 54362315K"),
        ("national-id", "X-2482300W"),
        ("national-id", "RCCMNL83S18D969H"),
        ("national-id", "253072B07300470"),
        ("national-id", "2 95 10 99 126 111 93"),
        ("national-id", "36574261809"),
        ("national-id", "44051401359"),
        ("national-id", "390.533.447-05"),
        ("national-id", "756.9217.0769.85"),
        ("national-id", "880320-0016"),
        ("national-id", "131052-308T"),
        ("national-id", "2345 6789 0124"),
        ("national-id", "AB 12 34 56 C"),
        ("secret", "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"),
        ("secret", "ghp_" + "a1B2" * 9),
        ("secret", "github_pat_" + "11AAAAAAA0abcdefghijkl_x"),
        ("secret", "AKIA" + "IOSFODNN7EXAMPLE"),
        ("secret", "xoxb-" + "123456789012-abcdefghij"),
        ("secret", "sk-proj-" + "abcdefghijklmnopqrst"),
        ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
        ("secret", "eyJhbGciOiJub25l.eyJzdWIiOiJhbm4i.c2ln"),
        ("secret", "postgres://app:hunter22@db/x"),
        ("secret", "api_key = '9f8e7d6c5b4a39281706fedc'"),
    ],
)
def test_what_is_sensitive_is_found_in_running_text(label, text):
    assert label in of(json.dumps({"note": text}).encode()).labels


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog: 12 times at 12:30:45 on 2024-11-21.",
        "ch_3MmlLrLkdIwHu7ix0snN0B15 pi_3MtwBwLkdIwHu7ix28a3tqPa",
        "4242424242424241",
        "1234567890123456",
        "1732178112 1732178112345 1732178112345678",
        "DE89370400440532013001",
        "version 1.2.3 and 300.1.1.1 and 1.2.3.4.5",
        "std::vector a::b::c 10:20:30",
        "000-12-3456 666-12-3456",
        "order 12345678A",
        "@ann follows @bob at 5@6",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "+1 and +12345",
        "password: yes, token: none",
        "secret=aaaaaaaaaaaaaaaaaaaaaaaa",
        "risk-assessment-of-the-quarterly-report",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_only_looks_alike_is_not(text):
    assert labels(text) == set()


@pytest.mark.parametrize(
    ("key", "value", "label"),
    [
        ("password", "hunter2", "secret"),
        ("client_secret", "x", "secret"),
        ("Api-Key", "9f8e7d6c5b4a39281706fedc", "secret"),
        ("ssn", "536904399", "national-id"),
    ],
)
def test_a_key_may_say_what_its_value_is(key, value, label):
    assert of(json.dumps({key: value}).encode()).paths == {label: (f"/body/{key}",)}
    assert labels_of_pair("note", value) == frozenset()


def test_a_short_word_under_token_is_no_secret():
    assert of(b'{"token":"tok_visa"}').labels == frozenset()


def test_findings_are_counted_and_placed_in_path_query_and_body():
    target = Target(method="POST", path="/x/ann%40example.com", query="to=bob%40example.com")
    body = b'{"cc":[{"a":"eve@example.com dan@example.com"},"kim@example.com"]}'
    found = named(namer(operation("POST /x/{who}")).name(target, JSON, body)).sensitivity
    assert found.counts == {"email": 5}
    assert set(found.paths["email"]) == {"/path/who", "/query/to", "/body/cc/0/a", "/body/cc/1"}


def test_at_most_five_places_are_told_and_all_are_counted():
    found = of(json.dumps([f"ann{n}@example.com" for n in range(40)]).encode())
    assert found.counts == {"email": 40}
    assert len(found.paths["email"]) == 5


def test_values_never_appear_not_even_as_keys():
    keys = ["ann@example.com", "4242424242424242", "sk_live_" + "abcdefghijklmnop", "ghp_" + "a" * 36, "a b", "~/"]
    found = of(json.dumps({key: {"mail": "bob@example.com", key: "DE89370400440532013000"} for key in keys}).encode())
    assert {"email", "card", "secret", "iban"} <= found.labels
    shown = repr(found)
    for hidden in [*keys, "bob@", "DE89"]:
        assert hidden not in shown
    assert "/body/*/mail" in found.paths["email"]


def test_long_numbers_are_looked_at_as_texts():
    assert of(b'{"n":4242424242424242}').paths == {"card": ("/body/n",)}


def test_labels_of_fields_count_when_the_field_is_there_or_unreadable():
    field = body_field("mail", labels=frozenset({"pii"}))
    one = namer(operation("POST /x", field))
    present = named(one.name(post("/x"), JSON, b'{"mail":"none"}')).sensitivity
    assert (present.labels, present.paths) == ({"pii"}, {"pii": ("/body/mail",)})
    assert "pii" in named(one.name(post("/x"), JSON, b'{"MAIL":"none"}')).sensitivity.labels
    assert "pii" in named(one.name(post("/x"), "application/x-unheard-of", b"x")).sensitivity.labels
    assert named(one.name(post("/x"), JSON, b"{}")).sensitivity == Sensitivity()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b"x"),
        ("application/octet-stream", b"x"),
        ("text/plain", b"\xff"),
        ("application/json; charset=utf-16", b"{}"),
    ],
)
def test_a_body_nobody_can_read_is_unscanned(content_type, body):
    assert of(body, content_type).labels == {UNSCANNED}


def test_a_file_in_a_multipart_body_is_unscanned():
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nann@example.com\r\n--b--\r\n'
    assert of(body, "multipart/form-data; boundary=b").labels == {UNSCANNED}


def test_text_of_another_kind_is_scanned_as_it_stands():
    assert of(b"<a>ann@example.com</a>", "application/xml").paths == {"email": ("/body",)}


def test_what_lies_beyond_the_limit_is_not_scanned_and_says_so():
    body = json.dumps(["x" * 100, "ann@example.com"]).encode()
    assert of(body, scan_bytes=50).labels == {UNSCANNED}
    assert of(body, scan_bytes=1000).labels == {"email"}
    assert of(b"{}", scan_bytes=0).labels == frozenset()
    assert of(json.dumps(["ü" * 40]).encode(), scan_bytes=79).labels == {UNSCANNED}
    assert of(json.dumps(["ü" * 40]).encode(), scan_bytes=80).labels == frozenset()


def test_too_many_values_are_not_scanned_and_say_so():
    assert of(json.dumps(["1"] * 30_000).encode()).labels == {UNSCANNED}


def test_candidates_beyond_the_budget_of_checks_are_unscanned():
    assert of(json.dumps("+1234567 " * 1_000).encode()).labels == frozenset()
    assert of(json.dumps("+1234567 " * 3_000).encode()).labels == {UNSCANNED}


def test_a_form_is_decoded_before_it_is_scanned():
    assert of(b"mail=ann%40example.com", FORM).labels == {"email"}


_TRAPS = [
    "1" * 1_000,
    "1 " * 500,
    "1-" * 500,
    "123-45-" * 150,
    "a@" * 500,
    "@a." * 300,
    "a.a@a" * 200,
    "AB12 " * 200,
    "ab12" * 250,
    "eyJ" * 300,
    "eyJaaaaaaaaaa." * 70,
    "ab12:" * 200,
    "::" * 500,
    "1.1." * 250,
    "+1234567 " * 110,
    "+1" * 500,
    "(415) " * 160,
    "4242 4242 4242 4242 " * 50,
    "secret=" * 140,
    "token:" + "a" * 1_000,
    "://a" * 250,
    "://a:" * 200,
    "sk-" * 330,
    "-----BEGIN " * 90,
    "A" * 1_000,
    "AAAAAA11A11A111" * 60,
    " " * 1_000,
    "\t:= " * 250,
]


@pytest.mark.parametrize("trap", _TRAPS)
def test_no_text_makes_the_detectors_slower_than_its_length(trap):
    """Sixteen times the text may take sixteen times as long, three times over; a square would take 256 times."""

    def seconds(text: str) -> float:
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            list(hits(text, Budget(checks=50)))
            best = min(best, time.process_time() - begin)
        return best

    assert seconds(trap * 64) < 48 * max(seconds(trap * 4), 0.0005)


@given(st.text(max_size=300))
def test_detectors_never_fail_and_speak_only_known_labels(text):
    assert {label for label, _ in hits(text, Budget())} <= LABELS
    assert all(0 <= position < len(text) for _, position in hits(text, Budget()))


@given(st.recursive(st.text(max_size=20) | st.integers(), lambda x: st.lists(x, max_size=4), max_leaves=20))
def test_an_address_is_found_wherever_it_stands(value):
    try:
        body = json.dumps([value, {"deep": [value, "ann@example.com"]}]).encode("utf-8")
        json.loads(body)
        found = of(body)
    except AssertionError:
        return  # half a surrogate pair: the body is refused, not scanned
    assert "/body/1/deep/1" in found.paths["email"]


FRAGMENTS = (
    "AB",
    "123456C",
    "DE89",
    "3704 0044",
    "RSSMRA85T10A562S",
    "X",
    "-",
    " ",
    "12",
    "34",
    "C",
    "x",
    ".",
    "é",
    "٣٤",
)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join) | st.text())
@settings(max_examples=500)
def test_no_number_behind_letters_is_passed_over_for_want_of_its_first_digits(text):
    if detectors._IBAN.search(text) or detectors._ID_LETTERS.search(text):
        assert detectors._LETTERED.search(text)


def test_the_places_of_findings_are_those_of_their_values_whatever_stands_around_them():
    mail = "ann@example.com"
    tree = {"a": [{"b": mail}, "x", {mail: {"": mail}}], "c": "", "d": {"e e": mail, "f": 1}}
    found = of(json.dumps(tree).encode())
    assert found.counts == {"email": 4}
    assert found.paths == {"email": ("/body/a/0/b", "/body/a/2", "/body/a/2/*/*", "/body/d/*")}


def test_long_keys_are_read_like_short_ones_and_not_kept():
    kept = (sensitivity._met_again.cache_info().currsize, reading._loose_again.cache_info().currsize)
    assert of(json.dumps({"_".join("password") + "_" * 100: "abc"}).encode()).labels == {"secret"}
    assert kept == (sensitivity._met_again.cache_info().currsize, reading._loose_again.cache_info().currsize)
