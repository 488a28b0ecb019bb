"""Call ids: unique among all replicas, sortable by time, safe in a URL and readable aloud."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache

from policy.call import CallId

# Crockford's base 32: no I, L, O or U to misread.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Five bits of each byte choose a digit, so that every digit is as likely as any other.
_DIGIT_OF_BYTE = (_ALPHABET * 8).encode()


def new_call_id(now: Callable[[], float] = time.time) -> CallId:
    """`call_` and 26 characters: 48 bits of milliseconds, 80 bits of chance (the ULID layout)."""
    return CallId(_beginning(int(now() * 1000)) + os.urandom(16).translate(_DIGIT_OF_BYTE).decode("ascii"))


@lru_cache(maxsize=4)
def _beginning(milliseconds: int) -> str:
    return "call_" + "".join([_ALPHABET[(milliseconds >> shift) & 31] for shift in range(45, -5, -5)])
