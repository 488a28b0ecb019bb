"""What an API can do, as the catalogue names it: operations, their classes, their typed input.

Decides nothing. `connectors.apis` builds these from OpenAPI documents and overlays; the law and the brief read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tier(StrEnum):
    """How much a mistake costs. Orders who may decide and where."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class OperationClass(StrEnum):
    """What kind of effect an operation has. Each is a Cedar action group.

    Whatever is not a read is also in `write`; `read` with `export` beside it is an export that changes nothing.
    """

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"
    MONEY = "money"
    ACCESS = "access"
    EXPORT = "export"
    COMMS = "comms"


class Place(StrEnum):
    """Where in a call a field stands."""

    PATH = "path"
    QUERY = "query"
    BODY = "body"


class FieldType(StrEnum):
    """Cedar types that a field of the input may have."""

    TEXT = "String"
    LONG = "Long"
    BOOL = "Bool"
    DECIMAL = "decimal"
    TEXTS = "Set<String>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One attribute of `context.input`, and where it is read from."""

    name: str
    """The Cedar attribute: `[A-Za-z_][A-Za-z0-9_]*`."""
    place: Place
    path: tuple[str, ...]
    """Keys from the place's root. One key for path and query; `("card", "number")` in a body."""
    type: FieldType
    required: bool = False
    labels: frozenset[str] = frozenset()
    ignores_case: bool = False
    """The upstream takes `Acme` for `acme` here, so the value is read in lower case and rules cannot be dodged."""
    read_as: str | None = None
    """How the value is read out of what stands there, in the connectors' words; None: it is what stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """Which fields say how much money moves. Amounts are whole minor units (cents)."""

    amount: str
    """Name of a Long field."""
    currency_field: str | None = None
    currency: str | None = None
    """A fixed ISO 4217 code, where no field says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One named thing that an upstream can be asked to do."""

    name: str
    """`<upstream>:<operation>`, for example `stripe:refunds.create`. It is the Cedar action."""
    upstream: str
    method: str
    template: str
    """Path template, `/v1/charges/{charge}/refunds`; empty for the upstream's unknown operation."""
    tier: Tier = Tier.MEDIUM
    classes: frozenset[OperationClass] = frozenset({OperationClass.WRITE})
    fields: tuple[Field, ...] = ()
    resource_kind: str = "resource"
    resource_field: str | None = None
    """The field whose value identifies the resource; None: the resource is the collection (the template)."""
    resource_scope: tuple[str, ...] = ()
    """Fields that stand before `resource_field` in the id where it alone is not unique (`owner` of a repository)."""
    owner_field: str | None = None
    money: Money | None = None
    reversible: bool | None = None
    """True, False, or None where nobody said."""
    idempotency_header: str | None = None
    """The header under which the upstream honours an idempotency key, lower case."""
    opaque: bool = False
    """Nobody reads its body: it has no fields there, and may pass as it comes."""
    labels: frozenset[str] = frozenset()
    """Sensitivity of the operation itself, whatever its input (an export of customers is `pii`)."""
    summary: str = ""
    """Template of the brief's first sentence: `Refund {amount:money} of charge {charge}`."""

    @property
    def known(self) -> bool:
        """False for `<upstream>:unknown`, the name of every call that no catalogue entry matches."""
        return self.template != ""


def unknown(upstream: str, method: str) -> Operation:
    """The operation of a call that no catalogue entry names. Judged like any other; the shipped policy holds it."""
    return Operation(
        name=f"{upstream}:unknown",
        upstream=upstream,
        method=method,
        template="",
        tier=Tier.HIGH,
        summary="{method} {path} at {upstream}: not in the catalogue",
    )
