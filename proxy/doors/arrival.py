"""What the agents' door hands to the gate, and what the gate hands back.

Values only: how an arrival is read from the wire is `proxy.doors.agents`' work, how an answer is written is
`proxy.doors.replies`'.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NewType, Protocol

from policy.call import AgentWords, CallId, Target
from policy.fingerprint import Fingerprint
from policy.reasons import Reason
from proxy.upstream.connection import Upload

BearerText = NewType("BearerText", str)
"""A credential as the agent sent it, unverified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the client said it would wait, and how it wants to be answered."""

    wait_s: float | None = None
    """Seconds the client announced or is known to bear, if it hears nothing; None: unknown."""
    total_s: float | None = None
    """Seconds it bears whatever it hears; never less than `wait_s`. None: it counts silence only, or nobody knows."""
    interim: int | None = None
    """The interim response (RFC 9110 section 15.2) that breaks its silence; None: none may be sent."""
    interims: int | None = None
    """How many of them it takes; None: any number."""
    respond_async: bool = False
    """`Prefer: respond-async` (RFC 7240 section 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCall:
    """A call that came with a signature over all of it (AWS Signature Version 4), unverified, and whose it must be."""

    method: str
    path: str
    """Raw, as it came: the route's prefix is signed as well."""
    query: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """All of them, names in lower case, in order."""
    region: str
    service: str
    """What stands in the credential scope."""
    signs_raw_paths: bool = False
    """S3 signs the path as it is sent, all others encode it once more."""
    unsigned_payloads: bool = False
    """Whether the body may be left out of the signature."""
    window_s: int
    chunks: tuple[tuple[int, str], ...] | None = None
    """Of a body that came in `aws-chunked` coding: length and signature of each chunk. None: it came plainly."""
    trailers: tuple[tuple[str, str], ...] = ()
    trailer_signature: str = ""

    def header(self, name: str) -> str | None:
        """The first value of a header; None where there is none."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One well-formed call, not yet anybody's and not yet named."""

    id: CallId
    upstream: str
    """Name of the upstream that the route leads to."""
    target: Target
    """Below the route's prefix."""
    headers: tuple[tuple[str, str], ...]
    """What may travel on: the allow-listed request headers, lower case, in order. No credential among them."""
    body: bytes = b""
    upload: Upload | None = None
    """The body, where nobody reads it and it goes on as it comes; `body` is empty then."""
    bearer: BearerText | None = None
    """What stood where this client's SDK puts its key; None: nothing."""
    signed: SignedCall | None = None
    """What came instead of a key: a signature made with one."""
    words: AgentWords = AgentWords()
    idempotency_key: str | None = None
    sent_again: bool = False
    """Whether the client says that it sent this very call before."""
    patience: Patience = Patience()
    peer: str
    received_at: float


class Client(Protocol):
    """Whoever waits for the answer."""

    def present(self) -> bool:
        """Whether it is still there."""
        ...

    def leaving(self, tell: Callable[[], None]) -> AbstractContextManager[None]:
        """While the block lasts, `tell` is called once when the client leaves; soon, if it has left already."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The call waits for people; everything that came with it is in the store. This is all that is kept here."""

    id: CallId
    """Of this exchange."""
    hold: CallId
    """Of the hold: the same, or the call that this one repeats."""
    upstream: str
    peer: str
    deadline: float
    """Until when the client is kept waiting, monotonic seconds."""
    patience: Patience = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The upstream's own response, to be streamed. Closing `body` early says that the client left."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """End-to-end response headers, as they may be shown to the agent."""
    body: AsyncGenerator[bytes, None]
    call: CallId
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A No for the agent, or a not-yet: becomes a problem document (RFC 9457) in its SDK's shape."""

    reason: Reason
    detail: str
    call: CallId
    upstream: str | None = None
    operation: str | None = None
    policies: tuple[str, ...] = ()
    decided_by: str | None = None
    decision_reason: str | None = None
    """The reviewer's own words."""
    fingerprint: Fingerprint | None = None
    status_url: str | None = None
    retry_after_s: int | None = None
    close: bool = False
    """True when the connection must not carry another call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """202: the call is held, and the client asked not to wait."""

    call: CallId
    status_url: str
    fingerprint: Fingerprint
    operation: str
    retry_after_s: int = 5


Answer = Relay | Refusal | Pending
