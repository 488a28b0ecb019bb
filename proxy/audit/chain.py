"""How records become a chain: exact lines, each naming the hash of the line before, and a Merkle edge over all.

Pure: bytes in, bytes out. Leaves are hashed as RFC 6962 section 2.1 has it, so that one signed root stands for every
line. Keeping the lines is `spool`'s work, signing roots `checkpoint`'s, doubting them `verify`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, TypeAlias

import orjson

VERSION = 1
GENESIS = "0" * 64
"""`prev` of the first record of a chain."""
CHAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""A chain's name is also its folder's and stands unescaped in JSON."""
_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """Where a chain ends: everything needed to add the next line and to name the root of all lines so far."""

    size: int = 0
    last: str = GENESIS
    """Leaf hash (hex) of the last line."""
    edge: tuple[bytes, ...] = ()
    """Roots of the perfect subtrees of RFC 6962, largest first: as many as `size` has one bits."""


class Entry(NamedTuple):
    """A record's own JSON object (at least one member), and when it was recorded."""

    json: bytes
    at: float
    """Unix seconds."""


Stamped: TypeAlias = tuple[bytes, float]
"""An entry without its name: on the path of a call, making the named one takes longer than queueing it."""


class Strung(NamedTuple):
    """Lines, and the tip after them."""

    payload: bytes
    """Every line, each with its newline: a record has no raw newline of its own."""
    tip: Tip

    @property
    def lines(self) -> tuple[bytes, ...]:
        """One by one, with their newlines."""
        return apart(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a line says of its place."""

    chain: str
    seq: int
    prev: str
    kind: str
    edge: tuple[bytes, ...] | None = None
    """In a `segment` record: the edge before it."""
    note: str | None = None
    """In a `checkpoint` record: the signed note."""


def leaf(line: bytes) -> bytes:
    """SHA-256 over 0x00 and the line without its newline."""
    return sha256(b"\x00" + line).digest()


def node(left: bytes, right: bytes) -> bytes:
    """SHA-256 over 0x01 and both children."""
    return sha256(b"\x01" + left + right).digest()


def root(tip: Tip) -> bytes:
    """The Merkle tree hash of all lines; of none, the hash of nothing."""
    if not tip.edge:
        return sha256(b"").digest()
    right = tip.edge[-1]
    for left in reversed(tip.edge[:-1]):
        right = node(left, right)
    return right


def grown(tip: Tip, leaves: Iterable[bytes]) -> Tip:
    """The tip after more leaves."""
    edge, size, last = list(tip.edge), tip.size, tip.last
    newest = b""
    for newest in leaves:
        _push(edge, size, newest)
        size += 1
    return Tip(size=size, last=newest.hex() if newest else last, edge=tuple(edge))


def string(tip: Tip, entries: Iterable[Stamped], *, chain: str) -> Strung:
    """The lines that carry these entries on, one after another."""
    edge, size, last = list(tip.edge), tip.size, tip.last
    lines: list[bytes] = []
    start = f'{{"v":{VERSION},"chain":"{chain}","seq":'
    recorded, when = -1, ""
    for json, at in entries:
        thousandths = at * 1000
        millisecond = int(thousandths)
        rounds_up = thousandths - millisecond >= 0.999
        if millisecond != recorded or rounds_up:
            recorded, when = -1 if rounds_up else millisecond, instant(at)
        line = f'{start}{size},"prev":"{last}","at":"{when}",'.encode() + json[1:]
        lines.append(line)
        digest = sha256(b"\x00" + line).digest()
        last = digest.hex()
        # As `_push`, which would be called for every record there is.
        old = size
        while old & 1:
            digest = sha256(b"\x01" + edge.pop() + digest).digest()
            old >>= 1
        edge.append(digest)
        size += 1
    lines.append(b"")
    return Strung(payload=b"\n".join(lines), tip=Tip(size=size, last=last, edge=tuple(edge)))


def apart(payload: bytes) -> tuple[bytes, ...]:
    """The lines of a payload, each with its newline."""
    return tuple(line + b"\n" for line in payload.split(b"\n")[:-1])


def read(line: bytes) -> Link:
    """What a line (without its newline) says of its place. Raises ValueError if it is no record of ours."""
    match orjson.loads(line):
        case {"v": 1, "chain": str(chain), "seq": int(seq), "prev": str(prev), "kind": str(kind), **others} if (
            seq >= 0 and not isinstance(seq, bool)
        ):
            note = others.get("note")
            return Link(
                chain=chain,
                seq=seq,
                prev=prev,
                kind=kind,
                edge=_edge(others.get("edge")) if kind == "segment" else None,
                note=note if kind == "checkpoint" and isinstance(note, str) else None,
            )
    raise ValueError("not a record of this version")


def instant(at: float) -> str:
    """RFC 3339, UTC, with milliseconds: microseconds are rounded half to even, milliseconds cut, as `datetime` does."""
    second = math.floor(at)
    millisecond = round((at - second) * 1e6) // 1000
    if millisecond == 1000:
        second, millisecond = second + 1, 0
    return _second(second) + _MILLISECONDS[millisecond]


@lru_cache(maxsize=8)
def _second(at: int) -> str:
    # Thousands of records share a second, and making its text takes longer than hashing a record.
    return datetime.fromtimestamp(at, UTC).isoformat()[:-6]


def _push(edge: list[bytes], size: int, digest: bytes) -> None:
    # A perfect subtree is complete for every trailing one bit of the old size.
    while size & 1:
        digest = sha256(b"\x01" + edge.pop() + digest).digest()
        size >>= 1
    edge.append(digest)


def _edge(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) and len(part) == 64 for part in value):
        raise ValueError("edge must be a list of digests")
    return tuple(bytes.fromhex(part) for part in value)
