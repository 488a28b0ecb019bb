"""The wire documents of the approvers' API. The OpenAPI description is generated from these models and the routes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from policy.brief import Brief, Line

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Words = Annotated[str, StringConstraints(max_length=2000, strip_whitespace=True)]


class Document(BaseModel):
    """A document on the wire, closed to members it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Fact(Document):
    """A label and what stands behind it."""

    label: str
    text: str


class VoteDocument(Document):
    """One ballot."""

    name: str
    vote: Literal["approve", "reject"]
    reason: str


class ProgressDocument(Document):
    """How far one need of a gate is met."""

    gate: str
    group: str
    """`*` is anyone who may approve."""
    have: int
    """Approvals that count now."""
    need: int


class HoldDocument(Document):
    """The brief of a held call: everything a person needs in order to decide."""

    id: str
    """Id of the call."""
    state: str
    """Where the hold stands."""
    fingerprint: str
    """What an approval is bound to; carry it back with the decision."""
    fingerprint_short: str
    shown: str
    """Digest of this brief; carry it back so that the ledger can say what you saw."""
    sentence: str
    """What will happen, in one sentence made from the call itself."""
    tier: str
    severity: str
    operation: str
    upstream: str
    environment: str
    queues: tuple[str, ...]
    labels: tuple[Fact, ...]
    gates: tuple[Fact, ...]
    """Which policies hold the call, and what each asks for."""
    progress: tuple[ProgressDocument, ...]
    """Of what the gates ask for, how much is there; empty once decided."""
    remedies: tuple[str, ...]
    votes: tuple[VoteDocument, ...]
    opened_at: datetime
    decide_by: datetime
    execute_by: datetime | None
    who: tuple[Fact, ...]
    change: tuple[Fact, ...]
    target: str
    headers: tuple[Fact, ...]
    body: str
    body_sha256: str
    hidden_bytes: int
    """Bytes of the body that `body` does not show. Above zero, decide on what `whole=true` shows."""
    agent_words: tuple[Fact, ...]
    """What the agent says about its call. Unverified."""
    settled_by: str
    outcome: str
    upstream_status: int | None
    client_left: bool
    """Whether nobody waits for the answer. Told of one hold, not in lists."""


class HoldList(Document):
    """Holds that the caller may see."""

    holds: tuple[HoldDocument, ...]


class Decision(Document):
    """A decision on what was shown."""

    fingerprint: Digest
    """The fingerprint of the brief that was decided on."""
    shown: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Digest of the brief that was shown."""
    reason: Words = ""
    """Why; required where policy says so."""


class DenialDocument(Document):
    """Someone or something that is shut out."""

    kind: Literal["subject", "client", "token"]
    value: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*:[A-Za-z0-9._:@/|+=-]{1,255}$")]
    """`<issuer name>:<subject, client id or token id>`."""
    reason: Words = ""
    by: str = ""
    """Who shut it out; filled in by the gate."""
    at: datetime | None = None
    """When; filled in by the gate."""


class DenialList(Document):
    """The deny list."""

    denials: tuple[DenialDocument, ...]


class Me(Document):
    """Who the caller is, as the gate sees it."""

    identity: str
    name: str
    groups: tuple[str, ...]


class ProblemDocument(BaseModel):
    """Why it did not work (RFC 9457)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: int
    detail: str
    reason: str
    problems: tuple[str, ...] = Field(default=())


def hold_document(brief: Brief) -> HoldDocument:
    """The brief as it goes over the wire."""
    return HoldDocument(
        id=brief.call,
        state=brief.state.value,
        fingerprint=brief.fingerprint,
        fingerprint_short=brief.fingerprint_short,
        shown=brief.shown,
        sentence=brief.sentence,
        tier=brief.tier,
        severity=brief.severity,
        operation=brief.operation,
        upstream=brief.upstream,
        environment=brief.environment,
        queues=brief.queues,
        labels=_facts(brief.labels),
        gates=_facts(brief.gates),
        progress=tuple(
            ProgressDocument(gate=one.gate, group=one.group, have=one.have, need=one.need) for one in brief.progress
        ),
        remedies=brief.remedies,
        votes=tuple(VoteDocument(name=v.name, vote=_vote(v.vote), reason=v.reason) for v in brief.votes),
        opened_at=_time(brief.opened_at),
        decide_by=_time(brief.decide_by),
        execute_by=_time(brief.execute_by) if brief.execute_by is not None else None,
        who=_facts(brief.who),
        change=_facts(brief.change),
        target=brief.target,
        headers=_facts(brief.headers),
        body=brief.body,
        body_sha256=brief.body_digest,
        hidden_bytes=brief.hidden_bytes,
        agent_words=_facts(brief.agent_words),
        settled_by=brief.settled_by,
        outcome=brief.outcome,
        upstream_status=brief.upstream_status,
        client_left=brief.client_left,
    )


def _facts(lines: tuple[Line, ...]) -> tuple[Fact, ...]:
    return tuple(Fact(label=line.label, text=line.text) for line in lines)


def _vote(word: str) -> Literal["approve", "reject"]:
    return "approve" if word == "approve" else "reject"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
