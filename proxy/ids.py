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
    return CallId(_beginning(int(now() * 1000)) + _digits(16))


def call_ids(now: Callable[[], float] = time.time) -> Callable[[], CallId]:
    """As `new_call_id`, for who makes many: asks for chance by the thousand digits. Not to be used across a fork."""
    digits, at = "", 0

    def next_id() -> CallId:
        nonlocal digits, at
        if at >= len(digits):
            digits, at = _digits(4096), 0
        at += 16
        return CallId(_beginning(int(now() * 1000)) + digits[at - 16 : at])

    return next_id


def _digits(count: int) -> str:
    return os.urandom(count).translate(_DIGIT_OF_BYTE).decode("ascii")


@lru_cache(maxsize=4)
def _beginning(milliseconds: int) -> str:
    return "call_" + "".join([_ALPHABET[(milliseconds >> shift) & 31] for shift in range(45, -5, -5)])
