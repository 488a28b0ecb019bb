"""Session ids that are of use to nobody but the agent they were given to (MCP 2025-03-26 to 2025-11-25).

A server believes whoever names a session, and it sees one caller only: this gate. So the id that an agent gets carries
a mark of whom it was given to, and without the right mark the session does not exist. Nothing is stored: every replica
knows the key.
"""

from __future__ import annotations

import base64
import hmac
import re

from policy.principal import Principal

_ID = re.compile(r"[\x21-\x7e]{1,512}")
"""2025-11-25, Session Management: visible ASCII."""
_MARK_CHARS = 32


class SessionMarks:
    """Marks session ids, and takes the marks off again. `key` is common to all replicas."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"assentry: sessions of mcp servers", "sha256")

    def marked(self, session: str, *, upstream: str, whose: Principal) -> str | None:
        """The id as the agent gets it; None where the server's own is none."""
        return f"{self._mark(session, upstream, whose)}.{session}" if _ID.fullmatch(session) else None

    def own(self, shown: str, *, upstream: str, whose: Principal) -> str | None:
        """The server's own id; None where it was not given to this agent, for this person."""
        mark, dot, session = shown.partition(".")
        wanted = self._mark(session, upstream, whose)
        return session if dot and hmac.compare_digest(mark.encode(), wanted.encode()) else None

    def _mark(self, session: str, upstream: str, whose: Principal) -> str:
        parts = (upstream, whose.agent, whose.subject or "", session)
        told = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (part.encode() for part in parts))
        return base64.urlsafe_b64encode(hmac.digest(self._key, told, "sha256")).decode("ascii")[:_MARK_CHARS]
