"""How long a client waits, by what it announces, else by what its kind is known to bear.

The figures by User-Agent are read timeouts measured with the real clients: openai 3.52, anthropic 2.11, stripe 16.1,
PyGithub 2.10, kubernetes 37, kubectl 1.32, boto3 1.44, mcp 2.3, aiohttp 3.14, httpx.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from proxy.doors.arrival import Patience

# Clients that set no read timeout wait longer than any budget of ours.
_FOR_HOURS_S = 3600.0
_BEARS_S: tuple[tuple[str, float], ...] = (
    ("OpenAI/", 600),
    ("Anthropic/", 600),
    ("Stripe/", 80),
    ("PyGithub/", 15),
    ("OpenAPI-Generator/", _FOR_HOURS_S),
    ("kubectl/", _FOR_HOURS_S),
    ("Boto3/", 60),
    ("Botocore/", 60),
    ("mcp/", 300),
    ("aiohttp/", 300),
    ("python-httpx/", 5),
)
_BEARS = tuple((mark, Patience(wait_s=bears_s)) for mark, bears_s in _BEARS_S)
_UNKNOWN = Patience()
_ANNOUNCING = frozenset({"prefer", "x-stainless-read-timeout", "x-stainless-timeout", "amz-sdk-request"})
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?', re.IGNORECASE)
_TTL = re.compile(r"(?:^|;)\s*ttl=([0-9]{8}T[0-9]{6}Z)")


def read_patience(fields: Mapping[str, str], *, now: float) -> Patience:
    """What the request headers (names in lower case) say about waiting. `now` in Unix seconds."""
    if fields.keys().isdisjoint(_ANNOUNCING):
        return _known(fields.get("user-agent", ""))
    preferences = [part.strip() for part in fields["prefer"].split(",")] if "prefer" in fields else []
    announced = [wait for wait in _announced(fields, preferences, now=now) if math.isfinite(wait) and wait >= 0]
    return Patience(
        wait_s=min(announced) if announced else _known(fields.get("user-agent", "")).wait_s,
        respond_async=any(part.lower() == "respond-async" for part in preferences),
    )


def _announced(fields: Mapping[str, str], preferences: list[str], *, now: float) -> Iterator[float]:
    for preference in preferences:
        wait = _WAIT.fullmatch(preference)
        if wait:
            yield float(wait[1])
    for name in ("x-stainless-read-timeout", "x-stainless-timeout"):
        if name in fields:
            yield _seconds(fields[name])
    # botocore says when it gives up, not how long it waits.
    if ttl := _TTL.search(fields.get("amz-sdk-request", "")):
        yield _moment(ttl[1]) - now


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        # The SDKs send `NOT_GIVEN` or `None` where no timeout is set.
        return math.nan


def _moment(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return math.nan


def _known(agent: str) -> Patience:
    for mark, patience in _BEARS:
        if mark in agent:
            return patience
    return _UNKNOWN
