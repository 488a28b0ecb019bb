"""The closed, typed vocabulary of annotations, and how those of several policies join.

Annotations steer the workflow only: queue, timeout, severity, who is told. What a gate needs stands in its `unless`.
Joins are commutative, associative and idempotent, because Cedar names the determining policies in no order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from policy.operation import Tier
from policy.verdict import Obligations


class Kind(StrEnum):
    """What a policy is for."""

    GRANT = "grant"
    PROHIBITION = "prohibition"
    GATE = "gate"


VOCABULARY: Mapping[str, frozenset[Kind]] = {
    "id": frozenset(Kind),
    "reason": frozenset({Kind.PROHIBITION}),
    "hold": frozenset({Kind.GATE}),
    "timeout": frozenset({Kind.GATE}),
    "severity": frozenset({Kind.GATE}),
    "remedy": frozenset({Kind.GATE}),
    "channel": frozenset({Kind.GATE}),
    "stepup": frozenset({Kind.GATE}),
    "on_client_gone": frozenset({Kind.GATE}),
    "notify": frozenset({Kind.GRANT, Kind.GATE}),
    "log": frozenset({Kind.GRANT}),
    "redact": frozenset({Kind.GRANT}),
}
"""Every annotation there is, and the kinds of policy it may stand on."""

LOG_LEVELS = ("metadata", "headers", "full")
"""How much of a call the ledger keeps, from least to most."""

WHEN_CLIENTS_GO = ("keep", "withdraw")
"""Whether a hold goes on without its client or ends with it; of two gates the one that says withdraw counts."""

_TIERS = tuple(Tier)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 30 * 86_400
_NAME = re.compile(r"[^\s,]{1,100}")


def kind_of(*, effect: str, annotations: Mapping[str, str]) -> Kind:
    """`permit` is a grant; `forbid` with `@hold` a gate, any other `forbid` a prohibition."""
    if effect == "permit":
        return Kind.GRANT
    return Kind.GATE if "hold" in annotations else Kind.PROHIBITION


def complaints(annotations: Mapping[str, str], *, kind: Kind) -> tuple[tuple[str, str], ...]:
    """What is wrong with a policy's annotations: name of the annotation and a sentence, in order."""
    found = []
    for name, text in annotations.items():
        if name not in VOCABULARY:
            found.append((name, f"@{name} is not an annotation; there are {', '.join(sorted(VOCABULARY))}"))
        elif kind not in VOCABULARY[name]:
            allowed = " and ".join(sorted(VOCABULARY[name]))
            found.append((name, f"@{name} has no meaning on a {kind.value}; it belongs on a {allowed}"))
        else:
            wrong = _wrong(name, text)
            found += [(name, f"@{name}({text!r}): {wrong}")] if wrong else []
    return tuple(found)


def obligations(annotations: Mapping[str, str]) -> Obligations:
    """What a policy's annotations ask of the workflow. They have passed `complaints`."""
    return Obligations(
        queues=_names(annotations.get("hold", "")),
        timeout_s=_duration(annotations["timeout"]) if "timeout" in annotations else None,
        severity=Tier(annotations["severity"]) if "severity" in annotations else None,
        notify=_names(annotations.get("notify", "")),
        log=annotations.get("log"),
        redact=_names(annotations.get("redact", "")),
        remedies=frozenset({annotations["remedy"]}) if "remedy" in annotations else frozenset(),
        channels=_names(annotations.get("channel", "")),
        step_up="stepup" in annotations,
        on_client_gone=annotations.get("on_client_gone"),
    )


def join(several: Iterable[Obligations]) -> Obligations:
    """All obligations at once: unions, the shortest timeout, the highest severity, the fullest log."""
    parts = tuple(several)
    if len(parts) == 1:
        return parts[0]
    return Obligations(
        queues=frozenset().union(*(one.queues for one in parts)),
        timeout_s=min((one.timeout_s for one in parts if one.timeout_s is not None), default=None),
        severity=max((one.severity for one in parts if one.severity is not None), key=_TIERS.index, default=None),
        notify=frozenset().union(*(one.notify for one in parts)),
        log=max((one.log for one in parts if one.log is not None), key=LOG_LEVELS.index, default=None),
        redact=frozenset().union(*(one.redact for one in parts)),
        remedies=frozenset().union(*(one.remedies for one in parts)),
        channels=frozenset().union(*(one.channels for one in parts)),
        step_up=any(one.step_up for one in parts),
        on_client_gone=max(
            (one.on_client_gone for one in parts if one.on_client_gone is not None),
            key=WHEN_CLIENTS_GO.index,
            default=None,
        ),
    )


def _wrong(name: str, text: str) -> str | None:
    match name:
        case "timeout":
            return None if _duration(text) else f"expected 1s to {_LONGEST_S // 86_400}d, for example 30m"
        case "severity":
            return None if text in _TIERS else "expected one of low, medium, high"
        case "log":
            return None if text in LOG_LEVELS else f"expected one of {', '.join(LOG_LEVELS)}"
        case "on_client_gone":
            return None if text in WHEN_CLIENTS_GO else f"expected one of {', '.join(WHEN_CLIENTS_GO)}"
        case "stepup":
            return None if text in {"", "true"} else "expected no value"
        case "hold" | "notify" | "redact" | "channel":
            return None if _well_named(text) else "expected names, separated by commas"
        case _:
            return None if text.strip() else "expected some text"


def _well_named(text: str) -> bool:
    return all(_NAME.fullmatch(name.strip()) for name in text.split(","))


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _duration(text: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,7})([smhd])", text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    return seconds if 0 < seconds <= _LONGEST_S else None
