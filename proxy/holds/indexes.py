"""Where to find holds without knowing their ids: what is due, open, approved, unknown, recent, and whose; and the caps.

Derived: the holds themselves are the truth, and `proxy.holds.store` heals these lists from them. All keys share one
hash tag, so that one script moves a hold in all of them; a later revision is never overwritten by an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, assert_never

from config.settings import Holds
from policy.call import CallId
from policy.hold import Hold, State
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.holds.connection import Command, StoreConnection, listed, load, text, whole

_ADMIT = load("admit")
_INDEX = load("index")

_GONE = -1
_MOST_RECENT = 10_000
"""Entries in `recent`: what a console pages through; the ledger holds the rest."""
_OVER = {
    1: "This agent has too many calls waiting for approval. Wait for some to be decided, or withdraw them.",
    2: "There are too many calls waiting for approval. Wait for some to be decided, or withdraw them.",
    3: "This agent's calls that wait for approval are too large together. Wait for some to be decided, then try again.",
}
"""By what admit.lua answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whose:
    """Whose caps a hold counts against, and with how much."""

    agent: str
    body_bytes: int

    @classmethod
    def of(cls, hold: Hold) -> Self:
        return cls(agent=hold.call.principal.agent, body_bytes=hold.call.body_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    """Where a hold stands in each index, as seconds; None: not in it."""

    due: float | None = None
    open: float | None = None
    approved: float | None = None
    unknown: float | None = None


def _scores(hold: Hold) -> _Scores:
    match hold.state:
        case State.PENDING | State.QUESTIONED:
            return _Scores(due=hold.decide_by, open=hold.decide_by)
        case State.APPROVED:
            until = hold.execute_by if hold.execute_by is not None else hold.decide_by
            return _Scores(due=until, approved=until - hold.execute_within_s)
        case State.RELEASING:
            return _Scores(due=hold.lease.until if hold.lease is not None else hold.decide_by)
        case State.UNKNOWN:
            return _Scores(unknown=hold.opened_at)
        case State.EXECUTED | State.FAILED | State.REJECTED | State.EXPIRED | State.LAPSED | State.WITHDRAWN:
            return _Scores()
        case _:
            assert_never(hold.state)


_Placed = tuple[float | None, ...]


def _placed(hold: Hold) -> _Placed:
    scores = _scores(hold)
    return (scores.due, scores.open, scores.approved, scores.unknown, scores.due, hold.opened_at)


def deadline(hold: Hold) -> float | None:
    """When the hold's present clock runs out, store seconds; None once no clock runs."""
    return _scores(hold).due


class Indexes:
    """The lists of one namespace."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    def _key(self, name: str) -> str:
        return self._connection.key("index", name)

    def _held_by(self, agent: str) -> str:
        return self._key(f"held:{agent}")

    async def admit(self, hold: Hold, *, caps: Holds) -> Refused | None:
        """None with the hold's place among the held ones taken; Refused when that passes a cap."""
        agent = hold.call.principal.agent
        keys = (self._key("due"), self._held_by(agent), self._key("agents"), self._key("sizes"), self._key("bytes"))
        most = (caps.open_per_agent, caps.open_total, caps.bytes_per_agent)
        args = (hold.call.id, hold.decide_by, agent, hold.call.body_length, *most)
        over = whole(await self._connection.script(_ADMIT, keys=keys, args=args))
        return Refused(reason=Reason.TOO_MANY_HELD, detail=_OVER[over]) if over else None

    def put(self, hold: Hold) -> Command:
        """Moves the hold to where its state belongs."""
        return self._index(hold.call.id, hold.revision, _Whose.of(hold), _placed(hold))

    def follow(self, hold: Hold) -> Command:
        """The same for a move; nothing where the hold has left the indexes, so that a late word brings none back."""
        return self._index(hold.call.id, hold.revision, _Whose.of(hold), _placed(hold), known=True)

    async def forget(self, call: CallId) -> None:
        """Drops a call that has no hold (any more)."""
        agent = await self._connection.command("HGET", self._key("agents"), call)
        whose = _Whose(agent=text(agent) if agent is not None else "", body_bytes=0)
        await self._connection.together(self._index(call, _GONE, whose, (None,) * 6))

    async def due(self, now: float, *, limit: int) -> tuple[CallId, ...]:
        """Ids whose clock has run out, longest ago first, as far as the index knows."""
        return await self._ids("ZRANGE", self._key("due"), "-inf", now, "BYSCORE", "LIMIT", 0, limit)

    async def approved(self, *, before: float, limit: int) -> tuple[CallId, ...]:
        """Ids approved before a time, oldest first."""
        return await self._ids("ZRANGE", self._key("approved"), "-inf", before, "BYSCORE", "LIMIT", 0, limit)

    async def open(self, *, limit: int) -> tuple[CallId, ...]:
        """Ids that wait for people, the soonest to expire first."""
        return await self._ids("ZRANGE", self._key("open"), 0, limit - 1)

    async def unknown(self, *, limit: int) -> tuple[CallId, ...]:
        """Ids whose outcome a person has to find out, oldest first."""
        return await self._ids("ZRANGE", self._key("unknown"), 0, limit - 1)

    async def recent(self, *, limit: int) -> tuple[CallId, ...]:
        """Ids by opening time, latest first."""
        return await self._ids("ZRANGE", self._key("recent"), 0, limit - 1, "REV")

    async def known(self) -> frozenset[CallId]:
        """Every id that any index but `recent` holds."""
        live = await self._ids("HKEYS", self._key("agents"))
        return frozenset(live) | frozenset(await self._ids("ZRANGE", self._key("due"), 0, -1))

    async def size(self) -> int:
        """How many calls are held, admitted ones included."""
        return whole(await self._connection.command("ZCARD", self._key("due")))

    async def _ids(self, *words: str | float) -> tuple[CallId, ...]:
        return tuple(CallId(text(each)) for each in listed(await self._connection.command(*words)))

    def _index(self, call: CallId, revision: int, whose: _Whose, placed: _Placed, *, known: bool = False) -> Command:
        names = ("due", "open", "approved", "unknown")
        keys = (
            self._key("revisions"),
            self._key("agents"),
            self._key("sizes"),
            self._key("bytes"),
            *(self._key(name) for name in names),
            self._held_by(whose.agent),
            self._key("recent"),
        )
        scores = tuple("" if score is None else score for score in placed)
        args = (call, revision, whose.agent, whose.body_bytes, _MOST_RECENT, int(known), *scores)
        return _INDEX.on(keys=keys, args=args)
