"""What the law says of a call: Allow, Ask or Deny, and what comes with it."""

from __future__ import annotations

from dataclasses import dataclass

from policy.operation import Tier
from policy.principal import Identity
from policy.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """The assent that exists for a call: evidence for the law, built from ballots that still count."""

    count: int = 0
    by: frozenset[Identity] = frozenset()
    quorum: frozenset[str] = frozenset()
    """`<group>:<n>` for every configured group and every n up to the number of its distinct people who assented."""
    age_s: float = 0
    """Seconds since the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """So many distinct people of one group; group `*` is anyone who may approve."""

    group: str
    people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One way to lift a gate: all needs, and the other conditions as Cedar text."""

    needs: tuple[Need, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A Cedar forbid that approval lifts, and what its `unless` asks for (any one of the alternatives)."""

    policy: str
    any_of: tuple[Alternative, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What the determining policies' annotations ask of the workflow. Joins are commutative and idempotent."""

    queues: frozenset[str] = frozenset()
    timeout_s: int | None = None
    severity: Tier | None = None
    notify: frozenset[str] = frozenset()
    log: str | None = None
    redact: frozenset[str] = frozenset()
    remedies: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    step_up: bool = False
    on_client_gone: str | None = None
    """`keep` or `withdraw`; None: nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """The call may be sent."""

    bundle: str
    policies: tuple[str, ...]
    obligations: Obligations = Obligations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The call may be sent once people have assented. `policies` are the gates' and the grants' ids."""

    bundle: str
    policies: tuple[str, ...]
    gates: tuple[Gate, ...]
    obligations: Obligations = Obligations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """The call must not be sent."""

    bundle: str
    reason: Reason
    policies: tuple[str, ...] = ()
    explanations: tuple[str, ...] = ()
    """The `@reason` texts of the prohibitions, or what could not be evaluated. Safe to show to the agent."""


Verdict = Allow | Ask | Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An expected No: a click, a move or a step that does not take place."""

    reason: Reason
    detail: str
    """One sentence for the person or agent who asked. Never a secret."""
