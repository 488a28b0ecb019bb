"""The whole body of a call, or why it is not taken: too slow, too large, wrongly framed.

Size and framing are checked by the intake as the bytes come; how long they may take is decided here.
"""

from __future__ import annotations

import asyncio
import io

from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from config.settings import Limits
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.hygiene import body_too_large
from proxy.doors.room import Place
from proxy.errors import CallerFault


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
    loop = asyncio.get_running_loop()
    begun = loop.time()
    body = io.BytesIO()  # gives its bytes away without another copy, and takes a trickle without growing beyond it
    try:
        while not payload.at_eof():
            late = begun + limits.body_timeout_s + body.tell() / limits.body_bytes_per_s
            async with asyncio.timeout_at(late):
                body.write(await payload.readany())
            if body.tell() > limits.body_bytes:
                raise BodyRefused(body_too_large(limits))
            place.grow_to(body.tell())
    except TimeoutError as exc:
        slow = "The body came too slowly. Send it at once, or in smaller parts."
        raise BodyRefused(Refused(reason=Reason.TOO_SLOW, detail=slow)) from exc
    except RequestPayloadError as exc:
        broken = "The body is not framed as the head says. Send it with a Content-Length."
        raise BodyRefused(Refused(reason=Reason.BODY_MALFORMED, detail=broken)) from exc
    except ConnectionError as exc:
        raise ClientLeft from exc
    return body.getvalue()
