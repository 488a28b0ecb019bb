"""The digest an approval is bound to.

Two digests, because two questions are asked. `likeness` answers "is this the same call again?" and leaves out what
differs between tries. `fingerprint` answers "is this what was approved?" and binds the likeness to one hold, one
bundle and one expiry. Credentials and dates that are attached at release are in neither.
"""

from __future__ import annotations

import hashlib
from typing import NewType

from policy.call import Call

Likeness = NewType("Likeness", str)
Fingerprint = NewType("Fingerprint", str)


def likeness(call: Call) -> Likeness:
    """SHA-256 (hex) over who asks for exactly what: equal for a repeat of the same call, and for nothing else."""
    who = call.principal
    parts = [
        "assentry-likeness-1",
        call.upstream,
        call.target.method,
        call.target.path,
        call.target.query,
        call.meaning or call.body_digest,
        who.agent,
        who.subject or "",
        who.owner or "",
        str(len(who.chain)),
        *who.chain,
        call.idempotency_key or "",
        str(len(call.headers)),
    ]
    for name, value in sorted(call.headers):
        parts += (name, value)
    return Likeness(_digest(parts))


def fingerprint(call: Call, *, bundle: str, expires_at: int) -> Fingerprint:
    """SHA-256 (hex) over the call's likeness, the hold's id as nonce, the bundle it was judged by, and its expiry."""
    # INVARIANT: every byte of the body is bound, also where less of it makes two tries alike.
    bytes_of_it = [call.body_digest] if call.meaning else []
    bound = ["assentry-fingerprint-1", likeness(call), call.id, bundle, str(expires_at), *bytes_of_it]
    return Fingerprint(_digest(bound))


def short(digest: str) -> str:
    """The form that cards show: enough to compare by eye, not enough to stand in for the whole."""
    return f"{digest[:4]}-{digest[4:8]}-{digest[8:12]}"


def _digest(parts: list[str]) -> str:
    # Each part is preceded by its length, so no two different lists of parts give the same bytes.
    state = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()
