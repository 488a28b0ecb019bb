"""Call ids: unique among all replicas, sortable by time, safe in a URL and readable aloud."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from policy.call import CallId

# Crockford's base 32: no I, L, O or U to misread. Two digits at a time: an id is made for every call.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SHIFTS = tuple(range(120, -10, -10))


def new_call_id(now: Callable[[], float] = time.time) -> CallId:
    """`call_` and 26 characters: 48 bits of milliseconds, 80 bits of chance (the ULID layout)."""
    number = (int(now() * 1000) << 80) | int.from_bytes(os.urandom(10))
    return CallId("call_" + "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS]))
