"""A stream ends properly whether or not anybody read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from proxy.unread import Ended


class Source:
    """Pieces with an ending, and how it ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"a"
            yield b"b"
        finally:
            self.ends.append("read")

    async def unread(self) -> None:
        self.ends.append("unread")

    def stream(self) -> Ended:
        return Ended(self.pieces(), unread=self.unread)


async def test_a_stream_that_was_read_ends_as_it_would():
    source = Source()
    assert [piece async for piece in source.stream()] == [b"a", b"b"]
    assert source.ends == ["read"]


async def test_a_stream_that_was_left_in_the_middle_ends_as_it_would():
    source = Source()
    stream = source.stream()
    assert await anext(stream) == b"a"
    await stream.aclose()
    await stream.aclose()
    assert source.ends == ["read"]


async def test_a_stream_that_nobody_began_ends_too_and_once():
    source = Source()
    stream = source.stream()
    await stream.aclose()
    await stream.aclose()
    assert source.ends == ["unread"]


async def test_a_fault_that_is_thrown_in_is_the_sources():
    source = Source()
    stream = source.stream()
    await anext(stream)
    with pytest.raises(KeyError):
        await stream.athrow(KeyError("x"))
    assert source.ends == ["read"]
