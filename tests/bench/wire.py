"""One HTTP/1.1 exchange at a time over a plain socket, for what is timed byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Sequence

CHUNK_BYTES = 1 << 18


class Wire:
    """A keep-alive connection to a port of this machine."""

    def __init__(self, port: int, *, timeout_s: float = 60) -> None:
        self._port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, target: str, *, headers: Sequence[str] = (), body: bytes = b"") -> None:
        """A whole call."""
        framed = (*headers, f"Content-Length: {len(body)}") if body or method != "GET" else headers
        head = "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", *framed, "", ""))
        self._socket.sendall(head.encode("latin-1") + body)

    def wait(self) -> None:
        """Until the first byte of an answer is there."""
        if not self._socket.recv(1, socket.MSG_PEEK):
            raise ConnectionError(f"port {self._port} closed the connection instead of answering")

    def status_and_body(self) -> tuple[int, bytes]:
        """The answer. Raises ConnectionError when it ends before its length."""
        got = bytearray()
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._some()
        head = bytes(got[:end]).lower()
        body = got[end + 4 :]
        if b"\r\ntransfer-encoding: chunked" in head:
            while not body.endswith(b"0\r\n\r\n"):
                body += self._some()
            return int(head[9:12]), bytes(body)
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if length > CHUNK_BYTES:
            self._pass_over(length - len(body))
            return int(head[9:12]), b""
        while len(body) < length:
            body += self._some()
        return int(head[9:12]), bytes(body)

    def close(self) -> None:
        """Ends it."""
        self._socket.close()

    def _pass_over(self, left: int) -> None:
        # Into the same memory again and again: fresh pages would cost more than the copy.
        room = bytearray(CHUNK_BYTES)
        while left > 0:
            some = self._socket.recv_into(room)
            if not some:
                raise ConnectionError(f"port {self._port} ended its answer early")
            left -= some

    def _some(self) -> bytes:
        some = self._socket.recv(CHUNK_BYTES)
        if not some:
            raise ConnectionError(f"port {self._port} ended its answer early")
        return some
