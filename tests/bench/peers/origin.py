"""The upstream where nginx is not installed: `python -m tests.bench.peers.origin PORT FOLDER`."""

from __future__ import annotations

import asyncio
import mmap
import re
import sys
from pathlib import Path

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Origin(asyncio.Protocol):
    """Answers each call once all of it is there, with one of three whole answers."""

    def __init__(self, *, answer: bytes, keys: bytes, large: memoryview) -> None:
        self._answer, self._keys, self._large = answer, keys, large
        self._got = bytearray()
        self._left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._left > len(data):
            self._left -= len(data)
            return
        if self._left:
            data, self._left = data[self._left :], 0
            self._transport.write(self._answer)
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head, self._got = bytes(self._got[:end]), self._got[end + 4 :]
            self._take(head)

    def _take(self, head: bytes) -> None:
        length = _LENGTH.search(head)
        body = int(length[1]) if length else 0
        if body > len(self._got):
            self._left = body - len(self._got)
            self._got.clear()
            return
        del self._got[:body]
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/content"):
            self._transport.write(_head(len(self._large)))
            self._transport.write(self._large)
            return
        self._transport.write(self._keys if path == b"/jwks" else self._answer)


def _whole(body: bytes) -> bytes:
    return _head(len(body)) + body


def _head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % length


async def serve(port: int, folder: Path) -> None:
    """Until ended."""
    answer, keys = (_whole((folder / name).read_bytes()) for name in ("answer.json", "jwks.json"))
    with (folder / "large.bin").open("rb") as file:
        large = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Origin(answer=answer, keys=keys, large=large), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
