"""Reading a ledger for people: the newest records, those of one call, and what came since.

Believes what it reads; whether it may be believed is `verify`'s. Chains are merged by time, which is as true as the
clocks of the workers that wrote them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from proxy.audit import segments
from proxy.audit.segments import Place

_SUMMARY = (
    "operation",
    "upstream",
    "verdict",
    "act",
    "state",
    "reason",
    "upstream_status",
    "latency_ms",
    "why",
    "detail",
)
_MOST_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One record as it is shown."""

    line: bytes
    """Without its newline."""
    at: str
    chain: str
    seq: int
    kind: str
    call: str | None
    summary: tuple[str, ...]
    """The most telling facts, safe to print on a terminal."""


def latest(directory: Path, count: int) -> tuple[Read, ...]:
    """The newest records of all chains, oldest first. Raises OSError."""
    newest: list[Read] = []
    for chain in segments.chains(directory):
        newest += _last_of(chain, count)
    return tuple(_by_time(newest)[-count:]) if count else ()


def of_call(directory: Path, call: str) -> tuple[Read, ...]:
    """Every record that names this call, as its own or as one that it repeats. Raises OSError."""
    quoted = orjson.dumps(call)
    found = [
        record
        for chain in segments.chains(directory)
        for record in _records(chain)
        if quoted in record.line and (record.call == call or _repeats(record, call))
    ]
    return tuple(_by_time(found))


def ends(directory: Path) -> Mapping[str, Place]:
    """The place behind the last whole line of every chain."""
    return {chain.name: _end(chain) for chain in segments.chains(directory)}


def newer(directory: Path, since: Mapping[str, Place]) -> tuple[tuple[Read, ...], Mapping[str, Place]]:
    """What was written behind those places, and the places behind that. Raises OSError."""
    found: list[Read] = []
    reached = dict(since)
    for chain in segments.chains(directory):
        start = since.get(chain.name, segments.BEGINNING)
        end = _end(chain)
        while start.seq < end.seq:
            lines, start = segments.read_on(chain, start, end, limit_bytes=1024 * 1024)
            found += (record for line in lines if (record := _read(line.rstrip(b"\n"))))
        reached[chain.name] = start
    return tuple(_by_time(found)), reached


def _last_of(chain: Path, count: int) -> Iterable[Read]:
    kept: list[Read] = []
    for segment in reversed(segments.of_chain(chain)):
        part = deque(_of_file(segment.path), maxlen=max(1, count - len(kept)))
        kept = [*part, *kept]
        if len(kept) >= count:
            break
    return kept


def _records(chain: Path) -> Iterator[Read]:
    for segment in segments.of_chain(chain):
        yield from _of_file(segment.path)


def _of_file(path: Path) -> Iterator[Read]:
    for line in segments.lines(path):
        record = _read(line.raw) if line.whole else None
        if record is not None:
            yield record


def _end(chain: Path) -> Place:
    existing = segments.of_chain(chain)
    if not existing:
        return segments.BEGINNING
    last = existing[-1]
    offset, seq = 0, last.first
    for line in segments.lines(last.path):
        if line.whole:
            offset, seq = line.end, seq + 1
    return Place(segment=last.first, offset=offset, seq=seq)


def _read(line: bytes) -> Read | None:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    match document:
        case {"at": str(at), "chain": str(chain), "seq": int(seq), "kind": str(kind), **facts}:
            call = facts.get("call")
            return Read(
                line=line,
                at=at,
                chain=chain,
                seq=seq,
                kind=kind,
                call=call if isinstance(call, str) else None,
                summary=tuple(_summary({str(name): fact for name, fact in facts.items()})),
            )
    return None


def _summary(facts: Mapping[str, object]) -> Iterator[str]:
    for role, name in (("principal", "agent"), ("person", "identity")):
        who = facts.get(role)
        if isinstance(who, dict) and who.get(name):
            yield _printable(str(who[name]))
    for name in _SUMMARY:
        fact = facts.get(name)
        if fact is not None and fact != "" and not isinstance(fact, list | dict):
            yield f"{name}={_printable(str(fact))}"


def _printable(text: str) -> str:
    # The file escapes what a terminal obeys; reading it has brought it back.
    cut = text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}…"
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut)


def _repeats(record: Read, call: str) -> bool:
    return bool(orjson.loads(record.line).get("repeat") == call)


def _by_time(records: Iterable[Read]) -> list[Read]:
    return sorted(records, key=lambda record: (record.at, record.chain, record.seq))
