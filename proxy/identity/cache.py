"""Proofs already made, so that a token that comes with every call is verified once a minute.

Decides how long a proof is believed without looking again; never stores the token itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Generic, TypeVar

from proxy.doors.arrival import BearerText
from proxy.identity.compact import LIMIT_CHARACTERS

P = TypeVar("P")

BELIEVED_S = 60
"""Longest time between two verifications of one token: the bound on how late a withdrawn key takes effect."""


@dataclass(frozen=True, slots=True)
class Believed(Generic[P]):
    """A proof, and between which times (Unix seconds) it is believed without looking again."""

    proof: P
    since: float
    until: float

    def good(self, now: float) -> bool:
        """Whether it is believed now."""
        # INVARIANT: a clock set back finds nothing, so that no proof outlives its minute or its token by a jump.
        return self.since <= now < self.until


class ProofCache(Generic[P]):
    """Proofs by SHA-256 of the token's text. Holds at most `size`; the oldest gives way."""

    def __init__(self, *, size: int) -> None:
        self._size = size
        self._entries: dict[bytes, Believed[P]] = {}

    def get(self, text: BearerText, *, now: float) -> P | None:
        """The proof made of this very text less than a minute ago and not expired, or None."""
        found = self.find(text, now=now)
        return None if found is None else found.proof

    def find(self, text: BearerText, *, now: float) -> Believed[P] | None:
        """The same, with the time until which it is good."""
        # Only ASCII of limited length was ever put in; anything else is not worth hashing.
        if len(text) > LIMIT_CHARACTERS or not text.isascii():
            return None
        key = _key(text)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.good(now):
            return entry
        del self._entries[key]
        return None

    def put(self, text: BearerText, proof: P, *, now: float, expires_at: float) -> None:
        """Keeps a proof until `expires_at` (Unix seconds), a minute at most."""
        until = min(expires_at, now + BELIEVED_S)
        if until <= now or self._size < 1:
            return
        while len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[_key(text)] = Believed(proof, now, until)

    def forget(self) -> None:
        """Drops everything: the next call of every token is verified anew."""
        self._entries.clear()


def _key(text: BearerText) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()
