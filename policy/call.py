"""What is asked, reduced to what the law may look at.

A `Call` is built once, by the agents' door and the namer, and never changed: the same value is judged, fingerprinted,
shown and sent. The body itself stays outside; the law sees its digest and the typed input that was read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NewType

from policy.operation import Operation
from policy.principal import Principal

CallId = NewType("CallId", str)
"""`call_` and 26 characters of Crockford base 32 (time-ordered); also the id of the hold, if there is one."""

InputValue = str | int | bool | tuple[str, ...]
"""Text, Long and Bool as themselves; decimal as its text with a point; a set of strings as a sorted tuple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An origin-form target, exactly as it came and exactly as it will be sent (RFC 9112 section 3.2.1)."""

    method: str
    path: str
    """Raw path below the route's prefix, percent-encoding untouched."""
    query: str = ""
    """Raw query without the question mark."""

    @property
    def raw(self) -> str:
        """Path and query as one string."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The operation's typed input, as far as it could be read."""

    values: Mapping[str, InputValue] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    """Fields that may be present but could not be read as their type. A rule that reads one of them denies."""
    missing: frozenset[str] = frozenset()
    """Required fields that are absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What kinds of data a call carries: labels, counts and paths, never values."""

    labels: frozenset[str] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Occurrences by detector label."""
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """JSON pointers by label, at most a handful each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """The API object a call is about."""

    kind: str
    id: str
    """`<upstream>/<kind>/<id>`, unique among all upstreams."""
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentWords:
    """What the agent says about its call. Untrusted; shown as its words, usable in policy as such."""

    reason: str | None = None
    evidence: tuple[str, ...] = ()
    confidence: str | None = None
    model: str | None = None
    session: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of several things that one call asks for at once."""

    operation: Operation
    input: Input
    resource: Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of an agent."""

    id: CallId
    upstream: str
    environment: str
    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    """Headers that reach the upstream and carry meaning, names in lower case, in the order of arrival."""
    body_digest: str
    """SHA-256 of the body bytes, hex (RFC 9530 calls it the content digest); empty where it passes unread."""
    body_length: int
    operation: Operation
    input: Input
    resource: Resource
    sensitivity: Sensitivity = Sensitivity()
    principal: Principal
    words: AgentWords = AgentWords()
    peer: str
    """IP address of the agent."""
    sample: int
    """0 to 9999 from a keyed hash of the call id: what sampling gates read, so that sampling can be replayed."""
    method_override: bool = False
    """True when query or form carries `_method`: some upstreams would obey it."""
    idempotency_key: str | None = None
    received_at: float
    """Unix seconds."""
    meaning: str = ""
    """Digest of what of the body makes it this call, where tries of one call differ in it (a message's id); empty: the
    whole body does."""
    parts: tuple[Part, ...] = ()
    """What it asks for, where that is more than one thing; `operation` then stands for all of it."""

    @property
    def amount_minor(self) -> int:
        """Money this call moves, in minor units; 0 where the operation moves none or does not say how much."""
        money = self.operation.money
        value = self.input.values.get(money.amount) if money else None
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def each(self) -> tuple[Call, ...]:
        """The call as a whole and as each of its parts alone, every one to be judged by itself."""
        whole = replace(self, parts=())
        alone = (replace(whole, operation=p.operation, input=p.input, resource=p.resource) for p in self.parts)
        return (whole, *alone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """How often this agent asked for this operation lately, this call included; sums in minor units."""

    calls_minute: int = 0
    calls_hour: int = 0
    calls_day: int = 0
    sum_minute: int = 0
    sum_hour: int = 0
    sum_day: int = 0
