"""A stream is taken apart however it is cut, and its reader finds the same events in what is written of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.mcp.events import Event, Events, TooLong, comment


def read(*chunks: bytes, limit: int = 10_000) -> list[Event]:
    events = Events(limit_bytes=limit)
    return [event for chunk in chunks for event in events.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_three_line_ends_are_one(end: bytes):
    raw = end.join(
        [b"id: 7", b"retry: 10", b"event: message", b"data: a", b"data:b", b"", b": note", b"data: c", b"", b""]
    )
    assert read(raw, b"x") == [Event(data="a\nb", id="7", retry="10"), Event(data="c")]


def test_a_byte_order_mark_and_comments_are_nobodys():
    assert read(b"\xef\xbb\xbfdata: a\n\n:data: b\n\n") == [Event(data="a")]


def test_events_of_another_kind_are_dropped():
    assert read(b"event: endpoint\ndata: /elsewhere\n\ndata: a\n\n") == [Event(data="a")]


def test_an_event_that_does_not_end_is_none():
    assert read(b"data: a\n") == []


def test_an_id_that_could_break_a_line_is_dropped():
    assert read(b"id: a\x00b\ndata: x\n\n") == [Event(data="x")]


@pytest.mark.parametrize(
    "raw", [b"data: " + b"x" * 200, (b"data: " + b"x" * 40 + b"\n") * 5, b"x" * 60 + b"\n" + b"y" * 60]
)
def test_an_event_that_is_too_long_is_not_read(raw: bytes):
    with pytest.raises(TooLong):
        read(*[raw[i : i + 7] for i in range(0, len(raw), 7)], limit=100)


def test_what_is_no_text_is_not_read():
    with pytest.raises(UnicodeDecodeError):
        read(b"data: \xff\n\n")


@given(st.binary(max_size=200), st.integers(1, 9))
def test_however_a_stream_is_cut_its_events_are_the_same(raw: bytes, size: int):
    def found(chunks: list[bytes]) -> object:
        try:
            return read(*chunks)
        except UnicodeDecodeError:
            return "no text"

    # A line end more settles a CR at the very end.
    raw += b"\n\n"
    assert found([raw]) == found([raw[i : i + size] for i in range(0, len(raw), size)])


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1),
    st.none() | st.from_regex(r"[!-~]{1,9}", fullmatch=True),
)
def test_what_is_written_is_read_as_one_event_with_the_same_data(data: str, ident: str | None):
    assert read(comment("alive") + Event(data=data, id=ident).written()) == [Event(data=data, id=ident)]
