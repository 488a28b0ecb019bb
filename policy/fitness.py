"""Whether a call's input is fit to be judged: what its operation demands is there, and what a policy reads is readable.

Made once for each operation and its policies, because it is asked of every call. An odd value never counts as an absent
one, and an absent one never as harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policy.call import Call, Input, InputValue
from policy.expressions import Path, covers
from policy.operation import FieldType, Operation
from policy.reasons import Reason
from policy.verdict import Refused

_I64 = 2**63
_DECIMAL = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,4}")
_SUMS = ("sumMinute", "sumHour", "sumDay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What the calls of one operation have to bring."""

    operation: str
    upstream: str
    types: Mapping[str, FieldType]
    required: frozenset[str]
    """Fields that the catalogue requires."""
    counted: frozenset[str]
    """The field whose sums a policy limits, as a set of one; empty where no policy does, or no money moves."""
    watched: frozenset[str]
    """Fields that a policy reads, that name the object or its owner, or that are counted."""
    watches_all: bool
    """Whether a policy looks at the input as a whole."""


def demands(operation: Operation, reads: Iterable[Path]) -> Demands:
    """What calls of this operation have to bring, under policies that read these paths of the context."""
    wanted = tuple(reads)
    summed = any(covers(read, ("recent", one)) for read in wanted for one in _SUMS)
    counted = frozenset({operation.money.amount}) if summed and operation.money else frozenset[str]()
    read = {one.name for one in operation.fields if any(covers(path, ("input", one.name)) for path in wanted)}
    # A field that names the object, or says how much is counted, is looked at whether or not a policy spells it out:
    # otherwise writing it twice would make the call one about nothing, and about no money.
    naming = {operation.resource_field, *operation.resource_scope, operation.owner_field} - {None}
    return Demands(
        operation=operation.name,
        upstream=operation.upstream,
        types={one.name: one.type for one in operation.fields},
        required=frozenset(one.name for one in operation.fields if one.required),
        counted=counted,
        watched=frozenset(read | {name for name in naming if name is not None} | counted),
        # No policy can name a field that is not declared, so whoever covers the nameless one covers them all.
        watches_all=any(covers(path, ("input", "")) for path in wanted),
    )


def unfit(call: Call, wanted: Demands) -> Refused | None:
    """Why the call cannot be judged; None where it can."""
    given = call.input
    if call.upstream != wanted.upstream:
        return Refused(reason=Reason.POLICY_ERROR, detail=f"{wanted.operation} is not an operation of {call.upstream}.")
    if given.unreadable:
        hidden = given.unreadable if wanted.watches_all else given.unreadable & wanted.watched
        if hidden:
            return _unreadable(f"A policy needs to read {_listed(hidden)}, and cannot.")
    names = given.values.keys()
    if given.missing or not (wanted.required <= names and wanted.counted <= names):
        return _absent(given, wanted)
    for name, value in given.values.items():
        if not _fits(value, wanted.types.get(name)):
            return _unreadable(f"{_listed([name])} is not what {wanted.operation} declares.")
    return None


def _absent(given: Input, wanted: Demands) -> Refused:
    absent = wanted.required - given.values.keys() or given.missing or wanted.counted - given.values.keys()
    detail = f"{wanted.operation} requires {_listed(absent)}."
    if given.unreadable.intersection(absent):
        return _unreadable(detail)
    return Refused(reason=Reason.INPUT_MISSING, detail=detail)


def _unreadable(detail: str) -> Refused:
    return Refused(reason=Reason.INPUT_UNREADABLE, detail=detail)


def _fits(value: InputValue, declared: FieldType | None) -> bool:
    match declared:
        case FieldType.TEXT:
            return isinstance(value, str)
        case FieldType.LONG:
            return isinstance(value, int) and not isinstance(value, bool) and -_I64 <= value < _I64
        case FieldType.BOOL:
            return isinstance(value, bool)
        case FieldType.DECIMAL:
            return isinstance(value, str) and _DECIMAL.fullmatch(value) is not None
        case FieldType.TEXTS:
            return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        case _:
            return False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
