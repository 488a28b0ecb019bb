"""Call ids: unique among all replicas, sortable by time, safe in a URL and readable aloud."""

from __future__ import annotations

import secrets
import time

from policy.call import CallId

# Crockford's base 32: no I, L, O or U to misread.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_call_id() -> CallId:
    """`call_` and 26 characters: 48 bits of milliseconds, 80 bits of chance (the ULID layout)."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    return CallId("call_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5)))
