"""A head is read in one pass where it is a usual one, and line by line otherwise; which way makes no difference."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import Limits
from policy.verdict import Refused
from proxy.doors import hygiene
from proxy.doors.hygiene import METHODS, Head, read_head

LIMITS = Limits(target_bytes=64, header_bytes=1024, headers=8, body_bytes=1000)
USUAL = (
    b"GET /v1/charges/ch_42?expand=a HTTP/1.1\r\nHost: Gate.test\r\nAccept:\t*/*  \r\n"
    b"Authorization: Bearer x.y.z\r\nConnection: keep-alive\r\nX-Empty:\r\n\r\n"
)

METHOD = st.sampled_from([*sorted(METHODS), "get", "TRACE", "CONNECT", "", "GET ", "G@T"])
SEGMENT = st.sampled_from(
    ["v1", "a.b", "", ".", "..", "a.", "%20", "%2e", "a%41", "%zz", "é", ";x", "a b", "~", "@:,", "\\"]
)
QUERY = st.sampled_from(["", "?", "?a=b", "?a=%20&b[]=1", "?a;b", "?a?b/", "#x", "?%", "?a\r", "?" + "q" * 70])
VERSION = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", ""])
NAME = st.sampled_from(
    [
        *("Host", "host", "Accept", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding", "Expect"),
        *("Authorization", "X-Api-Key", "Upgrade", "Content-Encoding", "X-Forwarded-For", "Keep-Alive", "X"),
        *("Assentry-Reason", "X_Under", "Bad Name", "", " Folded", "Näme", "X:"),
    ]
)
VALUE = st.sampled_from(
    [
        *(
            "gate.test",
            "",
            " ",
            "\t",
            "a\tb",
            "  a  ",
            "keep-alive",
            "Keep-Alive",
            "close",
            "Close, x",
            "host",
            "x-api-key",
        ),
        *("transfer-encoding", "content-type", "upgrade", "chunked", "gzip", "5", "05", "99999", "9" * 40, "+1"),
        *("100-continue", "100-Continue", "later", "identity", "br", "ü", "\x00", "\x7f", "a\rb", "a\nb", "w" * 600),
    ]
)
END = st.sampled_from(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads, many of them almost right."""
    path = "/" + "/".join(draw(st.lists(SEGMENT, max_size=4)))
    target = draw(st.sampled_from([path, path, path, path[1:], "*", "http://x/"])) + draw(QUERY)
    text = f"{draw(METHOD)} {target} {draw(VERSION)}{draw(END)}Host: gate.test\r\n"
    for name, value in draw(st.lists(st.tuples(NAME, VALUE), max_size=9)):
        text += f"{name}:{draw(st.sampled_from([' ', '', '  ']))}{value}{draw(END)}"
    return text.encode("latin-1") + b"\r\n"


def both(raw: bytes) -> tuple[Head | Refused, Head | Refused]:
    """What the two ways make of it."""
    return read_head(raw, limits=LIMITS), hygiene._read_unusual(raw, LIMITS)


@given(heads())
@settings(max_examples=1000, deadline=None)
def test_both_ways_read_the_same_parts_or_refuse_with_the_same_words(raw: bytes) -> None:
    quick, thorough = both(raw)
    assert quick == thorough
    if isinstance(quick, Head) and isinstance(thorough, Head):
        assert list(quick.fields.items()) == list(thorough.fields.items())


@given(st.binary(max_size=4), st.integers(0, len(USUAL)), st.integers(0, 3))
@settings(max_examples=1000, deadline=None)
def test_bytes_put_anywhere_into_a_usual_head_make_no_difference_between_the_ways(
    put: bytes, at: int, instead_of: int
) -> None:
    quick, thorough = both(USUAL[:at] + put + USUAL[at + instead_of :])
    assert quick == thorough


def test_a_usual_head_is_read_in_one_pass() -> None:
    assert hygiene._USUAL.fullmatch(USUAL)
    head = read_head(USUAL, limits=LIMITS)
    assert isinstance(head, Head)
    assert (head.method, head.path, head.query, head.host) == ("GET", "/v1/charges/ch_42", "expand=a", "gate.test")
    assert head.headers == (
        ("host", "Gate.test"), ("accept", "*/*"), ("authorization", "Bearer x.y.z"),
        ("connection", "keep-alive"), ("x-empty", ""),
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a.b/c", "/.a", "/a/..b", "/~$&'()*+,=:@-_!"])
def test_plain_paths_are_usual(path: str) -> None:
    raw = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode()
    assert hygiene._USUAL.fullmatch(raw)
    assert isinstance(read_head(raw, limits=LIMITS), Head)


@pytest.mark.parametrize("path", ["//", "/a//b", "/.", "/..", "/a./b", "/a.", "/a/..", "/%41", "/a;b", "", "a", "*"])
def test_paths_that_need_a_closer_look_are_not_usual(path: str) -> None:
    assert hygiene._USUAL.fullmatch(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode()) is None


def test_a_head_that_nominates_its_own_framing_keeps_it() -> None:
    raw = (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: transfer-encoding, x\r\nX: 1\r\n\r\n"
    )
    head = read_head(raw, limits=LIMITS)
    assert isinstance(head, Head)
    assert head.chunked
    assert head.headers == (("host", "h"), ("connection", "transfer-encoding, x"))
    assert "transfer-encoding" not in head.fields


def test_the_pattern_takes_time_in_proportion_to_the_head() -> None:
    # Shapes that make backtracking patterns explode; this test would not end if it did.
    for piece in (b"/.", b"/a", b".", b"a.", b"/a."):
        assert hygiene._USUAL.fullmatch(b"GET /%b" % (piece * 200_000)) is None
    assert hygiene._USUAL.fullmatch(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 200_000) is None
