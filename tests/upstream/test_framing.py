"""One answer from bytes: where it ends, and what is refused, however it is cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.framing import HEAD_LIMIT_BYTES, HEADERS_LIMIT, AnswerReader, Malformed

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

WHOLE = {
    "counted": ("GET", OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "empty": ("GET", OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": ("GET", CHUNKED + b"3\r\nhel\r\n2;why=x\r\nlo\r\n0\r\n\r\n", b"hello"),
    "chunked, with trailers": ("GET", CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More:\r\n\r\n", b"hello"),
    "after interim answers": (
        "POST",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        b"ok",
    ),
    "HEAD": ("HEAD", OK + b"Content-Length: 5000\r\n\r\n", b""),
    "HEAD, chunked": ("HEAD", CHUNKED, b""),
    "204": ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n", b""),
    "no reason phrase": ("GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
}


def read(method: str, *pieces: bytes) -> AnswerReader:
    """A reader that was fed the pieces."""
    reader = AnswerReader(method)
    for piece in pieces:
        reader.feed(piece)
    return reader


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_is_read(name: str):
    method, raw, body = WHOLE[name]
    reader = read(method, raw)
    assert reader.done
    assert reader.reusable
    assert b"".join(reader.pieces) == body


@given(st.sampled_from(sorted(WHOLE)), st.lists(st.integers(1, 400), max_size=12))
def test_it_does_not_matter_how_an_answer_is_cut_into_pieces(name: str, cuts: list[int]):
    method, raw, body = WHOLE[name]
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    cut_up = read(method, *(raw[a:b] for a, b in itertools.pairwise(places)))
    assert cut_up.done
    assert cut_up.reusable
    assert b"".join(cut_up.pieces) == body
    assert cut_up.head == read(method, raw).head


@pytest.mark.parametrize("name", WHOLE)
def test_anything_after_the_end_makes_the_connection_useless_but_not_the_answer(name: str):
    method, raw, body = WHOLE[name]
    for stray in (b"H", OK + b"Content-Length: 6\r\n\r\nstolen", b"\0"):
        for pieces in ([raw + stray], [raw, stray]):
            reader = read(method, *pieces)
            assert reader.done
            assert not reader.reusable
            assert b"".join(reader.pieces) == body


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 400))
def test_a_part_of_an_answer_is_never_whole(name: str, cut: int):
    method, raw, _ = WHOLE[name]
    assert not read(method, raw[: min(cut, len(raw) - 1)]).close()


@given(st.binary(max_size=300))
def test_no_bytes_do_worse_than_being_malformed(noise: bytes):
    for start in (b"", OK, CHUNKED, CHUNKED + b"5\r\n"):
        reader = AnswerReader("GET")
        try:
            reader.feed(start + noise)
        except Malformed:
            continue
        assert reader.head is None or reader.head.status >= 200


REFUSED = {
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "two lengths that differ": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "two lengths that agree": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\n",
    "a signed length": OK + b"Content-Length: +5\r\n\r\n",
    "a hexadecimal length": OK + b"Content-Length: 0x5\r\n\r\n",
    "an endless length": OK + b"Content-Length: " + b"9" * 19 + b"\r\n\r\n",
    "an empty length": OK + b"Content-Length:\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "another last coding": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an empty coding": OK + b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "no length at all": OK + b"X: y\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "bare LF in a header": OK + b"X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "bare LF throughout": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF in the status line": b"HTTP/1.1 200 OK\nX: y\r\nContent-Length: 0\r\n\r\n",
    "bare CR": OK + b"X: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a control character": OK + b"X: a\x0bb\r\nContent-Length: 0\r\n\r\n",
    "a control character in the reason": b"HTTP/1.1 200 O\x07K\r\nContent-Length: 0\r\n\r\n",
    "a folded line": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 0\r\n\r\n",
    "no colon": OK + b"Content-Length 0\r\n\r\n",
    "no name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a line before it": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "status 2000": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a body instead": b"<html>hello</html>\r\n\r\n",
    "chunk size 0x5": CHUNKED + b"0x5\r\nhello\r\n",
    "chunk size +5": CHUNKED + b"+5\r\nhello\r\n",
    "chunk size with space": CHUNKED + b"5 \r\nhello\r\n",
    "chunk size overflow": CHUNKED + b"f" * 17 + b"\r\n",
    "chunk line in LF": CHUNKED + b"5\nhello\r\n",
    "chunk too long": CHUNKED + b"5\r\nhelloXX",
    "LF in a chunk extension": CHUNKED + b"5;a\nb\r\nhello\r\n",
    "NUL in a trailer": CHUNKED + b"0\r\nX: \0\r\n\r\n",
    "Content-Length as a trailer": CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
    "too many headers": OK + b"".join(b"X-%d: y\r\n" % n for n in range(HEADERS_LIMIT + 1)) + b"\r\n",
    "too long a head": OK + b"X: " + b"y" * HEAD_LIMIT_BYTES + b"\r\nContent-Length: 0\r\n\r\n",
    "a head without end": OK + b"X: " + b"y" * HEAD_LIMIT_BYTES,
    "interim answers without end": b"HTTP/1.1 102 Processing\r\n\r\n" * (HEAD_LIMIT_BYTES // 27 + 1),
    "a trailer without end": CHUNKED + b"0\r\nX: " + b"y" * (HEAD_LIMIT_BYTES + 1),
    "a chunk extension without end": CHUNKED + b"5;" + b"y" * (HEAD_LIMIT_BYTES + 1),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("step", [1 << 30, 700, 1])
def test_what_two_readers_could_take_differently_is_refused(name: str, step: int):
    raw = REFUSED[name]
    if step == 1 and len(raw) > 5000:
        step = 61
    with pytest.raises(Malformed):
        read("GET", *(raw[at : at + step] for at in range(0, len(raw), step)))


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        OK + b"Connection: Keep-Alive, Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_connection_that_may_carry_more_or_less_is_not_used_again(raw: bytes):
    reader = read("GET", raw)
    assert reader.done
    assert not reader.reusable


@pytest.mark.parametrize("start", [OK + b"Connection: close\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_body_without_length_ends_with_its_connection(start: bytes):
    reader = read("GET", start, b"to the ", b"end")
    assert not reader.done
    assert reader.close()
    assert reader.pieces == [b"to the ", b"end"]


def test_a_malformed_answer_is_described_without_its_bytes():
    with pytest.raises(Malformed) as caught:
        read("GET", OK + b"Authorization: Bearer canary\0\r\n\r\n")
    assert "canary" not in str(caught.value)
