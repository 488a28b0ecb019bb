"""What is written down of each thing that happens, a function for each kind.

Decides what a record says. Which facts of a call may be stated at all is `facts`', what secrets look like `redact`'s,
order, hashes and durability `chain`'s and `ledger`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from policy.call import Call, CallId, Target
from policy.errors import Problem
from policy.fingerprint import Likeness
from policy.hold import Hold, State
from policy.principal import Identity, Person, Principal
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Deny, Verdict
from proxy.audit import facts
from proxy.audit.facts import WORDS_CHARS
from proxy.audit.redact import Facts, text
from proxy.upstream.connection import Passed

if TYPE_CHECKING:
    from proxy.desk import Click


class Kind(StrEnum):
    """What a record is about. The first three are the ledger's own."""

    SEGMENT = "segment"
    HEALED = "healed"
    CHECKPOINT = "checkpoint"
    JUDGED = "judged"
    REFUSED = "refused"
    HELD = "held"
    ATTACHED = "attached"
    CLICKED = "clicked"
    MOVED = "moved"
    RELEASED = "released"
    CONCLUDED = "concluded"
    PUBLISHED = "published"
    SIGNED_IN = "signed-in"
    DENIAL_CHANGED = "denial-changed"
    KEY_ISSUED = "key-issued"
    TOOLS_DIFFER = "tools-differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing that happened. Its place, time and hashes are given by the ledger."""

    kind: Kind
    call_id: CallId | None = None
    facts: Facts = field(default_factory=dict)

    @property
    def members(self) -> Facts:
        """Kind and call id first, then the facts."""
        return {"kind": self.kind.value, "call": self.call_id, **self.facts}


def judged(call: Call, verdict: Verdict, *, likeness: Likeness | None = None, trace: str | None = None) -> Record:
    """What the law said of a call. For an allowed call this is the intent: it is written before anything is sent."""
    redact = frozenset[str]() if isinstance(verdict, Deny) else verdict.obligations.redact
    said = facts.of_call(call, redact=redact, trace=trace)
    said |= facts.of_verdict(verdict)
    said["likeness"] = likeness
    return Record(kind=Kind.JUDGED, call_id=call.id, facts=said)


def refused(
    call_id: CallId,
    reason: Reason,
    detail: str,
    *,
    peer: str | None = None,
    principal: Principal | None = None,
    target: Target | None = None,
) -> Record:
    """A call that was turned away before the law saw it: malformed, nobody's, or one too many."""
    said: Facts = {
        "reason": reason.value,
        "detail": text(detail, limit=WORDS_CHARS),
        "principal": facts.of_principal(principal) if principal is not None else None,
        "peer": peer,
        "target": facts.of_target(target) if target is not None else None,
    }
    return Record(kind=Kind.REFUSED, call_id=call_id, facts=said)


def held(hold: Hold) -> Record:
    """A call that waits for people, and what it waits for."""
    said: Facts = {
        **facts.of_call(hold.call, redact=hold.obligations.redact, trace=None),
        **facts.of_standing(hold),
        "policies": hold.policies,
        "gates": facts.of_gates(hold.gates),
        "queues": facts.in_order(hold.obligations.queues),
        "decide_by": hold.decide_by,
        "execute_within_s": hold.execute_within_s,
    }
    return Record(kind=Kind.HELD, call_id=hold.call.id, facts=said)


def attached(hold: Hold, repeat: Call) -> Record:
    """A repeat of a held call that joined it instead of becoming a second one."""
    said: Facts = {
        **facts.of_standing(hold),
        "repeat": repeat.id,
        "principal": facts.of_principal(repeat.principal),
        "peer": repeat.peer,
        "received_at": repeat.received_at,
        "trace": facts.trace_id(repeat.headers),
    }
    return Record(kind=Kind.ATTACHED, call_id=hold.call.id, facts=said)


def clicked(hold: Hold, click: Click) -> Record:
    """What a person did to a hold: who, on what they were shown, through which channel, with which authentication."""
    said: Facts = {
        **facts.of_standing(hold),
        "operation": hold.call.operation.name,
        "act": click.act.value,
        "person": facts.of_person(click.person),
        "why": text(click.reason, limit=WORDS_CHARS),
        "channel": click.channel,
        "shown": click.shown,
        "shown_fingerprint": click.fingerprint,
    }
    return Record(kind=Kind.CLICKED, call_id=hold.call.id, facts=said)


def moved(hold: Hold) -> Record:
    """Where a hold stands after a move that people, clocks or the law made."""
    conclusion = hold.conclusion
    said: Facts = {
        **facts.of_standing(hold),
        "operation": hold.call.operation.name,
        "settled_by": hold.settled_by,
        "reason": conclusion.reason.value if conclusion else None,
        "detail": text(conclusion.detail, limit=WORDS_CHARS) if conclusion else None,
        "upstream_status": conclusion.upstream_status if conclusion else None,
        "policies": hold.policies,
        "gates": facts.of_gates(hold.gates),
        "execute_by": hold.execute_by,
    }
    return Record(kind=Kind.MOVED, call_id=hold.call.id, facts=said)


def released(hold: Hold, approvals: Approvals, *, verdict: Allow | None = None, detached: bool = False) -> Record:
    """The intent to send a held call: durable before its first byte goes upstream. `detached`: its client left."""
    redact = hold.obligations.redact | (verdict.obligations.redact if verdict else frozenset())
    said: Facts = {
        **facts.of_call(hold.call, redact=redact, trace=None),
        **facts.of_standing(hold),
        "policies": hold.policies,
        **(facts.of_verdict(verdict) if verdict else {}),
        "held_under": hold.bundle,
        "detached": detached,
        "replica": hold.lease.replica if hold.lease else None,
        "fence": hold.lease.fence if hold.lease else None,
        "approvals": {
            "count": approvals.count,
            "by": facts.in_order(approvals.by),
            "quorum": facts.in_order(approvals.quorum),
            "age_s": approvals.age_s,
        },
        "shown": [vote.shown for vote in hold.approvals],
    }
    return Record(kind=Kind.RELEASED, call_id=hold.call.id, facts=said)


def concluded(
    call_id: CallId,
    reason: Reason,
    *,
    state: State | None = None,
    upstream_status: int | None = None,
    latency_ms: float | None = None,
    passed: Passed | None = None,
) -> Record:
    """How a call that was sent ended. `passed`: what went on of a body that nobody read before."""
    said: Facts = {
        "reason": reason.value,
        "state": state.value if state is not None else None,
        "upstream_status": upstream_status,
        "latency_ms": round(latency_ms, 3) if latency_ms is not None else None,
    }
    if passed is not None:
        said["body"] = {"sha256": passed.digest, "length": passed.length}
    return Record(kind=Kind.CONCLUDED, call_id=call_id, facts=said)


def published(bundle: str, problems: Sequence[Problem] = (), *, files: Iterable[str] = ()) -> Record:
    """The bundle in force from here on; with problems: what was refused, while this one stays in force."""
    said: Facts = {
        "bundle": bundle,
        "accepted": not problems,
        "problems": [text(str(problem), limit=WORDS_CHARS) for problem in problems[:100]],
        "files": facts.in_order(files),
    }
    return Record(kind=Kind.PUBLISHED, facts=said)


def signed_in(person: Person, *, peer: str | None = None) -> Record:
    """A person who came through the approvers' door."""
    return Record(kind=Kind.SIGNED_IN, facts={"person": facts.of_person(person), "peer": peer})


def denial_changed(entry: str, *, denied: bool, by: Person, why: str, until: float | None = None) -> Record:
    """An entry (`kind:value`) put on the deny list, or taken off it."""
    # Apart, because `token:` with something behind it looks like a secret, and would be written as one.
    kind, _, value = entry.partition(":")
    said: Facts = {
        "entry_kind": text(kind, limit=WORDS_CHARS),
        "entry": text(value, limit=WORDS_CHARS),
        "denied": denied,
        "by": facts.of_person(by),
        "why": text(why, limit=WORDS_CHARS),
        "until": until,
    }
    return Record(kind=Kind.DENIAL_CHANGED, facts=said)


def key_issued(
    key_id: str,
    *,
    agent: Identity,
    by: Person | None,
    expires_at: int,
    revoked: bool = False,
    account: str | None = None,
) -> Record:
    """An agent key that was handed out, or revoked. Its id, never the key. `account`: of the operating system."""
    said: Facts = {
        "key_id": key_id,
        "agent": agent,
        "by": facts.of_person(by) if by is not None else None,
        "account": account,
        "expires_at": expires_at,
        "revoked": revoked,
    }
    return Record(kind=Kind.KEY_ISSUED, facts=said)


def tools_differ(call_id: CallId, upstream: str, tools: Sequence[tuple[str, str | None, str]]) -> Record:
    """Tools that a server lists otherwise than the catalogue: name, digest pinned (None: a new tool), digest seen."""
    said: Facts = {
        "upstream": upstream,
        "count": len(tools),
        "tools": [
            {"tool": text(name, limit=128), "pinned": pinned, "seen": seen} for name, pinned, seen in tools[:100]
        ],
    }
    return Record(kind=Kind.TOOLS_DIFFER, call_id=call_id, facts=said)
