"""Calls and messages for the tests of this folder."""

from __future__ import annotations

from proxy.upstream.pool import Outgoing, Response


def message(method: str = "GET", target: str = "/v1/things", body: bytes = b"", **headers: str) -> Outgoing:
    """A complete message to the host `pay.example`."""
    fields = [(b"host", b"pay.example")]
    fields += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if body:
        fields.append((b"content-length", b"%d" % len(body)))
    return Outgoing(method=method, target=target, headers=tuple(fields), body=body)


async def whole(response: Response) -> bytes:
    """The whole body."""
    return b"".join([chunk async for chunk in response.chunks()])
