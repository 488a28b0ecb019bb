"""Everything the law may look at, each thing once: its path, its Cedar type, and how it is read.

The schema that policies are checked against and the context that they are judged on are both made from this table, so
they cannot drift apart. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Union

import orjson

from policy.attempt import Attempt
from policy.call import Call, Recent
from policy.expressions import Path, covers
from policy.operation import Operation
from policy.verdict import Approvals

UNSCANNED = "unscanned"
"""The label of data that nobody looked at; also what a label becomes that the bundle does not know."""

Plain = Union[None, bool, int, str, Sequence["Plain"], Mapping[str, "Plain"]]  # noqa: UP007 - it names itself
"""What Cedar's JSON form is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A call at the time it is judged, with the evidence and the counters of that time."""

    call: Call
    known: Operation
    """The operation as the bundle in force knows it; the call may have been named by an older catalogue."""
    now: float
    recent: Recent
    approvals: Approvals
    labels: frozenset[str]
    """Labels that the bundle knows."""
    quorums: frozenset[str]
    """Quorums that the bundle knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One attribute of the context."""

    path: Path
    type: str
    read: Callable[[Moment], Plain]
    """None: the attribute is absent."""
    optional: bool = False
    moves: bool = False
    """True where the value changes by itself as time goes on."""
    differs: bool = False
    """True where two calls that are alike byte for byte may have different values: drawn by chance, or counted."""


def entity(kind: str, name: str) -> dict[str, str]:
    """A reference to an entity, in the form that needs no quoting."""
    return {"type": kind, "id": name}


def instant(now: float) -> str:
    """Unix seconds as Cedar's datetime, to the millisecond, UTC."""
    return datetime.fromtimestamp(now, tz=UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def weekday(now: float) -> int:
    """1 for Monday to 7 for Sunday, UTC."""
    return datetime.fromtimestamp(now, tz=UTC).isoweekday()


def duration(seconds: float) -> str:
    """Seconds as Cedar's duration, to the millisecond; never negative."""
    return f"{max(0, int(seconds * 1000))}ms"


FACTS: tuple[Fact, ...] = (
    Fact(path=("req", "method"), type="String", read=lambda m: m.call.target.method),
    Fact(path=("req", "upstream"), type="String", read=lambda m: m.call.upstream),
    Fact(path=("req", "env"), type="String", read=lambda m: m.call.environment),
    Fact(path=("req", "path"), type="String", read=lambda m: m.call.target.path),
    Fact(path=("req", "ip"), type="ipaddr", read=lambda m: m.call.peer),
    Fact(path=("req", "now"), type="datetime", read=lambda m: instant(m.now), moves=True),
    Fact(path=("req", "weekday"), type="Long", read=lambda m: weekday(m.now), moves=True),
    Fact(path=("req", "sample"), type="Long", read=lambda m: m.call.sample, differs=True),
    Fact(path=("req", "tier"), type="String", read=lambda m: m.known.tier.value),
    Fact(path=("req", "methodOverride"), type="Bool", read=lambda m: m.call.method_override),
    Fact(path=("req", "bodyLength"), type="Long", read=lambda m: m.call.body_length),
    Fact(path=("approvals", "count"), type="Long", read=lambda m: m.approvals.count),
    Fact(path=("approvals", "by"), type="Set<User>", read=lambda m: _entities("User", m.approvals.by)),
    Fact(
        path=("approvals", "quorum"),
        type="Set<Quorum>",
        # A quorum of a group that is no longer configured is no evidence any more.
        read=lambda m: _entities("Quorum", m.approvals.quorum & m.quorums),
    ),
    Fact(path=("approvals", "age"), type="duration", read=lambda m: duration(m.approvals.age_s), moves=True),
    Fact(path=("recent", "callsMinute"), type="Long", read=lambda m: m.recent.calls_minute, differs=True),
    Fact(path=("recent", "callsHour"), type="Long", read=lambda m: m.recent.calls_hour, differs=True),
    Fact(path=("recent", "callsDay"), type="Long", read=lambda m: m.recent.calls_day, differs=True),
    Fact(path=("recent", "sumMinute"), type="Long", read=lambda m: m.recent.sum_minute, differs=True),
    Fact(path=("recent", "sumHour"), type="Long", read=lambda m: m.recent.sum_hour, differs=True),
    Fact(path=("recent", "sumDay"), type="Long", read=lambda m: m.recent.sum_day, differs=True),
    Fact(path=("sensitivity", "labels"), type="Set<Label>", read=lambda m: _entities("Label", _labels(m))),
    Fact(path=("sensitivity", "count"), type="Long", read=lambda m: sum(m.call.sensitivity.counts.values())),
    Fact(path=("subject",), type="User", read=lambda m: _user(m.call.principal.subject), optional=True),
    Fact(path=("stated", "reason"), type="String", read=lambda m: m.call.words.reason, optional=True),
    Fact(path=("stated", "session"), type="String", read=lambda m: m.call.words.session, optional=True),
    Fact(path=("stated", "task"), type="String", read=lambda m: m.call.words.task, optional=True),
    Fact(path=("stated", "model"), type="String", read=lambda m: m.call.words.model, optional=True),
)
"""What there is to know of any call, whatever its operation."""


RECORDS = ("req", "approvals", "recent", "sensitivity", "input", "stated")
"""Attributes of the context that are records, there even when they hold nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The part of the context that some policies look at."""

    facts: tuple[Fact, ...]
    records: tuple[str, ...] = RECORDS


def inputs(operation: Operation) -> tuple[Fact, ...]:
    """What there is to know of this operation's calls alone: its typed input."""
    return tuple(
        Fact(path=("input", one.name), type=one.type.value, read=_input(one.name), optional=not one.required)
        for one in operation.fields
    )


def view(operation: Operation, reads: Iterable[Path]) -> View:
    """What of this operation's context has to be there for policies that read these paths."""
    wanted = tuple(reads)
    return View(
        facts=tuple(f for f in (*FACTS, *inputs(operation)) if any(covers(read, f.path) for read in wanted)),
        records=tuple(name for name in RECORDS if any(covers(read, (name,)) for read in wanted)),
    )


def distinguishing(seen: View) -> tuple[Fact, ...]:
    """What tells calls apart that nobody has assented to, beside the time: the rest is the same for all of them."""
    return tuple(fact for fact in seen.facts if not fact.moves and fact.path[0] != "approvals")


def values(read: Iterable[Fact], moment: Moment) -> bytes:
    """The values of these facts, as JSON: the same bytes for the same values and for nothing else. Raises TypeError."""
    return orjson.dumps([fact.read(moment) for fact in read])


def repeats(seen: View) -> bool:
    """Whether calls that are alike byte for byte show the same, at any time, as long as nobody has assented to them."""
    # Without assent, every attribute of `approvals` is a constant; that its age would move does not matter.
    return not any((fact.moves or fact.differs) and fact.path[0] != "approvals" for fact in seen.facts)


def context(seen: View, moment: Moment) -> bytes:
    """The context as JSON. Raises TypeError for what JSON cannot carry: lone surrogates, numbers beyond 64 bits."""
    built: dict[str, Plain] = {}
    records: dict[str, dict[str, Plain]] = {name: {} for name in seen.records}
    for fact in seen.facts:
        value = fact.read(moment)
        if value is None:
            continue
        if len(fact.path) == 1:
            built[fact.path[0]] = value
        else:
            records[fact.path[0]][fact.path[1]] = value
    return orjson.dumps(built | records)


def act_context(attempt: Attempt) -> bytes:
    """The context of a person's act as JSON; its schema is `policy.schema.REVIEW`."""
    clock: dict[str, Plain] = {"now": instant(attempt.now), "weekday": weekday(attempt.now)}
    return orjson.dumps({"req": clock, **_told(attempt)})


def act_told(attempt: Attempt, reads: Iterable[Path]) -> bytes | None:
    """What policies that read these paths see of the context of an act; None where they look at the clock."""
    wanted = tuple(reads)
    if any(covers(read, ("req",)) for read in wanted):
        return None
    told = {name: value for name, value in _told(attempt).items() if any(covers(read, (name,)) for read in wanted)}
    return orjson.dumps(told)


def _told(attempt: Attempt) -> dict[str, Plain]:
    told: dict[str, Plain] = {
        "reason": attempt.reason,
        "channel": attempt.channel,
        "methods": sorted(attempt.person.methods),
    }
    if attempt.sign_in_age_s is not None:
        told["authAge"] = duration(attempt.sign_in_age_s)
    return told


def callers(call: Call) -> bytes:
    """The entities that stay the same from call to call: the agent with its groups, and the upstream."""
    return orjson.dumps([_agent(call), _upstream(call)])


def resource(call: Call, *, named: str | None = None) -> bytes:
    """The API object of the call, as an entity below its upstream; `named` where another id is to stand for its own."""
    return orjson.dumps([_resource(call, call.resource.id if named is None else named)])


def act_entities(attempt: Attempt) -> bytes:
    """Who acts, on which hold, of which agent and API object."""
    call = attempt.hold.call
    person = _entity("User", attempt.person.identity, groups=attempt.person.groups)
    held = {
        "uid": entity("Held", attempt.hold.fingerprint),
        "attrs": {
            "agent": entity("Agent", call.principal.agent),
            "requesters": [entity("User", one) for one in sorted(call.principal.requesters)],
            "operation": call.operation.name,
            "tier": call.operation.tier.value,
            "classes": sorted(call.operation.classes),
        },
        "parents": [entity("Resource", call.resource.id), entity("Upstream", call.upstream)],
    }
    return orjson.dumps([person, held, _agent(call), _upstream(call), _resource(call, call.resource.id)])


def _input(name: str) -> Callable[[Moment], Plain]:
    return lambda moment: moment.call.input.values.get(name)


def _user(identity: str | None) -> Plain:
    return entity("User", identity) if identity is not None else None


def _entities(kind: str, names: Iterable[str]) -> Plain:
    return [entity(kind, name) for name in sorted(names)]


def _labels(moment: Moment) -> frozenset[str]:
    # INVARIANT: a label that the bundle does not know becomes `unscanned`, never nothing.
    found = moment.call.sensitivity.labels | moment.known.labels
    return found if found <= moment.labels else (found & moment.labels) | {UNSCANNED}


def _entity(kind: str, name: str, *, groups: Iterable[str] = ()) -> dict[str, Plain]:
    return {"uid": entity(kind, name), "attrs": {}, "parents": [entity("Group", group) for group in sorted(groups)]}


def _agent(call: Call) -> Plain:
    who = call.principal
    owner: dict[str, Plain] = {"owner": entity("User", who.owner)} if who.owner is not None else {}
    return {**_entity("Agent", who.agent, groups=who.groups), "attrs": owner}


def _upstream(call: Call) -> Plain:
    return {**_entity("Upstream", call.upstream), "attrs": {"env": call.environment}}


def _resource(call: Call, named: str) -> Plain:
    about = call.resource
    attributes: dict[str, Plain] = {"kind": about.kind}
    if about.owner is not None:
        attributes["owner"] = about.owner
    return {
        "uid": entity("Resource", named),
        "attrs": attributes,
        "parents": [entity("Upstream", call.upstream)],
    }
