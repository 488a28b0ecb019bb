"""The body of a call, whole or as it comes, or why it is not taken: too slow, too large, wrongly framed.

Size and framing are checked by the intake as the bytes come; how long they may take is decided here.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncGenerator, Callable

from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from config.settings import Limits
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.hygiene import body_too_large
from proxy.doors.room import Place
from proxy.errors import BrokeOff, CallerFault
from proxy.upstream.connection import Passed, Upload


class BodyRefused(CallerFault):
    """The body cannot be taken."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason, refused.detail)


class ClientLeft(Exception):
    """The client closed the connection before its call was complete: there is nobody to answer."""


async def read_body(payload: StreamReader, *, limits: Limits, place: Place) -> bytes:
    """All bytes of the body.

    It has `body_timeout_s`, and a second more for each `body_bytes_per_s` that arrived: steady is long enough, a
    trickle is not. Raises BodyRefused, ClientLeft, and Outage where there is no more room for it.
    """
    if payload.is_eof():
        whole = payload.read_nowait()
        place.grow_to(len(whole))
        return whole
    body = io.BytesIO()  # gives its bytes away without another copy, and takes a trickle without growing beyond it
    begun = asyncio.get_running_loop().time()
    while not payload.at_eof():
        body.write(await _more(payload, limits=limits, begun=begun, taken_bytes=body.tell()))
        if body.tell() > limits.body_bytes:
            raise BodyRefused(body_too_large(limits))
        place.grow_to(body.tell())
    return body.getvalue()


def as_it_comes(payload: StreamReader, *, length: int, limits: Limits, begin: Callable[[], None]) -> Upload:
    """The body, to be taken no faster than it is passed on. `begin` is called when the first of it is asked for.

    It has as much time as a whole one. What it raises says that the upstream has seen a part of it: BodyRefused, and
    BrokeOff where the client left.
    """
    digest, taken_bytes = hashlib.sha256(), 0

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal taken_bytes
        begin()
        begun = asyncio.get_running_loop().time()
        while not payload.at_eof():
            try:
                piece = await _more(payload, limits=limits, begun=begun, taken_bytes=taken_bytes)
            except ClientLeft as exc:
                left = "The agent left in the middle of its body, and the upstream has seen a part of it."
                raise BrokeOff(Reason.OUTCOME_UNKNOWN, left) from exc
            digest.update(piece)
            taken_bytes += len(piece)
            yield piece

    return Upload(pieces=pieces(), length=length, passed=lambda: Passed(digest=digest.hexdigest(), length=taken_bytes))


async def _more(payload: StreamReader, *, limits: Limits, begun: float, taken_bytes: int) -> bytes:
    late = begun + limits.body_timeout_s + taken_bytes / limits.body_bytes_per_s
    try:
        async with asyncio.timeout_at(late):
            return await payload.readany()
    except TimeoutError as exc:
        slow = "The body came too slowly. Send it at once, or in smaller parts."
        raise BodyRefused(Refused(reason=Reason.TOO_SLOW, detail=slow)) from exc
    except RequestPayloadError as exc:
        broken = "The body is not framed as the head says. Send it with a Content-Length."
        raise BodyRefused(Refused(reason=Reason.BODY_MALFORMED, detail=broken)) from exc
    except ConnectionError as exc:
        raise ClientLeft from exc
