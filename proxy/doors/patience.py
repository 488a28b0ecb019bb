"""How long a client waits, by what it announces, else by what its kind is known to bear (`proxy.doors.clients`).

Two times are told apart. Silence can be broken by interim responses, to clients that take them; what a client waits for
an answer, whatever it hears, cannot. How long it is kept waiting in the end is `proxy.holds.waiting`'s to say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from proxy.doors.arrival import Patience
from proxy.doors.clients import Kind, kind_of

_UNKNOWN = Patience()
_ANNOUNCING = frozenset({"prefer", "x-stainless-read-timeout", "x-stainless-timeout", "amz-sdk-request"})
_SHARE = 3
"""So often does a client hear of us in the time in which it bears silence: one interim response may come late."""
_SHORTEST_S = 0.2
"""Nobody is written to more often, whatever is announced."""
_LONGEST_S = 1e9
"""Whatever is announced beyond it means for ever."""
_WAIT = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?', re.IGNORECASE)
_TTL = re.compile(r"(?:^|;)\s*ttl=([0-9]{8}T[0-9]{6}Z)")
_ATTEMPT = re.compile(r"(?:^|;)\s*attempt=([0-9]{1,4})\s*(?:;|$)")
_COUNT = re.compile(r"[0-9]{1,4}")


def read_patience(fields: Mapping[str, str], *, now: float) -> Patience:
    """What the request headers (names in lower case) say about waiting. `now` in Unix seconds."""
    known = _known(kind_of(fields.get("user-agent", "")))
    if fields.keys().isdisjoint(_ANNOUNCING):
        return known
    preferences = [part.strip() for part in fields["prefer"].split(",")] if "prefer" in fields else []
    silence = [*_times(_announced_silence(fields, now=now))]
    whole = [*_times(_announced_whole(fields, preferences))]
    respond_async = any(part.lower() == "respond-async" for part in preferences)
    if not silence and not whole:
        return replace(known, respond_async=respond_async)
    totals = whole if known.total_s is None else [*whole, known.total_s]
    return Patience(
        wait_s=min(silence + totals),
        total_s=min(totals, default=None),
        interim=known.interim,
        interims=known.interims,
        respond_async=respond_async,
    )


def less(patience: Patience, *, spent_s: float) -> Patience:
    """What is left of it once the client has spent so long on sending. Silence begins only then."""
    spent = int(spent_s)  # The margin has room for less than a second, and most bodies take less than one.
    if patience.total_s is None or patience.wait_s is None or not spent:
        return patience
    total_s = max(0.0, patience.total_s - spent)
    return replace(patience, total_s=total_s, wait_s=min(patience.wait_s, total_s))


def sounding_s(patience: Patience, *, longest_s: float) -> float:
    """Seconds between two interim responses to this client: `longest_s`, or less where it bears little silence."""
    if patience.wait_s is None:
        return longest_s
    return max(_SHORTEST_S, min(longest_s, patience.wait_s / _SHARE))


def is_sent_again(fields: Mapping[str, str]) -> bool:
    """Whether the client says that it sent this very call before.

    A count of zero says nothing: the loop of an agent that tries again begins at zero each time.
    """
    count = fields.get("x-stainless-retry-count", "")
    attempt = _ATTEMPT.search(fields.get("amz-sdk-request", ""))
    return (_COUNT.fullmatch(count) is not None and int(count) > 0) or (attempt is not None and int(attempt[1]) > 1)


def _announced_silence(fields: Mapping[str, str], *, now: float) -> Iterator[float]:
    yield _seconds(fields.get("x-stainless-read-timeout", ""))
    if _is_python(fields):
        yield _seconds(fields.get("x-stainless-timeout", ""))
    # botocore says when it gives up, not how long it waits: its read timeout from now.
    if ttl := _TTL.search(fields.get("amz-sdk-request", "")):
        yield _moment(ttl[1]) - now


def _announced_whole(fields: Mapping[str, str], preferences: list[str]) -> Iterator[float]:
    for preference in preferences:
        wait = _WAIT.fullmatch(preference)
        if wait:
            yield float(wait[1])
    if not _is_python(fields):
        yield _seconds(fields.get("x-stainless-timeout", ""))


def _is_python(fields: Mapping[str, str]) -> bool:
    # anthropic for Python says its read timeout under this name too; for other languages it is the whole exchange's.
    return fields.get("x-stainless-lang") == "python"


def _times(several: Iterator[float]) -> Iterator[float]:
    return (min(one, _LONGEST_S) for one in several if math.isfinite(one) and one >= 0)


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


@lru_cache(maxsize=256)
def _known(kind: Kind | None) -> Patience:
    if kind is None:
        return _UNKNOWN
    bounds = [bound for bound in (kind.read_timeout_s, kind.total_timeout_s) if bound is not None]
    return Patience(
        wait_s=min(bounds, default=None), total_s=kind.total_timeout_s, interim=kind.interim, interims=kind.interims
    )
