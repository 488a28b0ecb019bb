"""The bytes of a connection are cut into calls in one way, however they arrive."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from config.settings import Limits
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.chunks import ChunkedBody
from proxy.doors.hygiene import Head, read_head
from proxy.doors.intake import Fed, Intake, Opened

LIMITS = Limits(body_bytes=1000)
HEAD = b"POST /api/x?a=b HTTP/1.1\r\nHost: Localhost\r\nAccept: a\r\nAccept: b\r\n"


def chunked(parts: list[bytes], *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    coded = b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
    return coded + b"000" + extension + b"\r\n" + trailers + b"\r\n"


def cut(raw: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(raw) + 1) for place in at}), len(raw)]
    return [raw[start:end] for start, end in pairwise(places)]


@given(parts=st.lists(st.binary(max_size=40), max_size=6), at=st.lists(st.integers(0, 500), max_size=8))
def test_a_chunked_body_comes_out_canonical_however_it_is_cut(parts: list[bytes], at: list[int]) -> None:
    raw = chunked(parts, extension=b";x=y", trailers=b"Authorization: Bearer x\r\n")
    body, held, taken = ChunkedBody(limits=LIMITS), bytearray(), b""
    for piece in cut(raw + b"next", at):
        held += piece
        step = body.take(held)
        assert isinstance(step, bytes)
        taken += step
    assert body.complete
    assert held == b"next"
    assert taken == b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


@given(at=st.lists(st.integers(0, 300), max_size=8), length=st.booleans())
def test_two_calls_are_found_at_the_same_places_however_they_are_cut(at: list[int], length: bool) -> None:
    first = HEAD + (
        b"Content-Length: 5\r\n\r\nhello" if length else b"Transfer-Encoding: chunked\r\n\r\n" + chunked([b"hello"])
    )
    second = b"GET /api/y HTTP/1.1\r\nHost: localhost\r\n\r\n"
    intake, opened, fed = Intake(limits=LIMITS), [], b""
    for piece in cut(first + second, at):
        for step in intake.feed(piece):
            assert not isinstance(step, Refused)
            if isinstance(step, Opened):
                opened.append(step.head.path)
            else:
                fed += step.raw
    assert opened == ["/api/x"]
    assert fed == (b"hello" if length else b"5\r\nhello\r\n0\r\n\r\n")
    assert [step.head.path for step in intake.resume() if isinstance(step, Opened)] == ["/api/y"]


def test_nothing_is_read_behind_a_refusal() -> None:
    intake = Intake(limits=LIMITS)
    steps = list(intake.feed(b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD + b"\r\n"))
    assert [type(step) for step in steps] == [Refused]
    assert list(intake.feed(HEAD + b"\r\n")) == []
    assert list(intake.resume()) == []


def test_a_body_that_breaks_its_framing_is_refused_in_the_middle() -> None:
    steps = list(Intake(limits=LIMITS).feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"))
    assert [type(step) for step in steps] == [Opened, Refused]
    assert isinstance(steps[-1], Refused)
    assert steps[-1].reason is Reason.BODY_MALFORMED


def test_a_body_is_handed_on_as_it_comes() -> None:
    intake = Intake(limits=LIMITS)
    list(intake.feed(HEAD + b"Content-Length: 5\r\n\r\n"))
    assert [step.raw for step in intake.feed(b"he") if isinstance(step, Fed)] == [b"he"]
    assert [step.raw for step in intake.feed(b"llo") if isinstance(step, Fed)] == [b"llo"]


def test_a_head_is_read_into_its_parts() -> None:
    head = read_head(HEAD + b"Connection: close, x-gone\r\nX-Gone: 1\r\nContent-Length: 5\r\n\r\n", limits=LIMITS)
    assert isinstance(head, Head)
    assert (head.method, head.path, head.query, head.host, head.length) == ("POST", "/api/x", "a=b", "localhost", 5)
    assert head.fields["accept"] == "a, b"
    assert "x-gone" not in head.fields
    assert "x-gone" not in dict(head.headers)
    assert not head.keep_alive


def test_an_agents_words_may_be_utf_8_and_no_other_header() -> None:
    assert isinstance(read_head(HEAD + "Assentry-Reason: für Ann\r\n\r\n".encode(), limits=LIMITS), Head)
    assert isinstance(read_head(HEAD + "Accept-Language: für\r\n\r\n".encode(), limits=LIMITS), Refused)
