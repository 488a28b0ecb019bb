"""Keeps holds: opens them once, moves them by compare-and-set, finds them again after anything that may happen.

Decides which repeat of a call is the same call, and when a hold's traces may go. What a move means is `policy.hold`'s;
who may make it is `policy.electorate`'s. Every time here is the store's own.

Order of writing. A hold is written with a short life, its likeness is pointed at it (the moment at which it exists, and
of two replicas one loses), then it is indexed and confirmed. A crash in between leaves nothing that anyone was told of.
Every later move is one script on the hold's own key; the indexes follow (`proxy.holds.following`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from config.settings import Holds
from policy.call import CallId
from policy.hold import FINAL, OPEN, Hold, State, withdraw
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.errors import AssentryError, BrokenPromise, OperatorFault, Outage
from proxy.holds.attendance import Attendance, waiting_key
from proxy.holds.connection import Command, Reply, StoreConnection, listed, load, text, whole
from proxy.holds.documents import Documents, KeptResponse
from proxy.holds.following import Following
from proxy.holds.indexes import Indexes, deadline
from proxy.holds.retention import Retention
from proxy.holds.sealing import Sealer

__all__ = ["HoldStore", "KeptResponse", "Opened", "Seen"]

log = logging.getLogger("assentry.holds")

_OPEN_DOCUMENT = load("open_document")
_CONFIRM = load("confirm")
_KEEP = load("keep")
_READ = load("read")
_LOOK = load("look")
_POINT = load("point")
_BIND = load("bind")
_DELIVERED = load("delivered")
_NOW = load("now")

_NO_KEY = -2
"""What PTTL says of a key that is not there; -1 is one that is there for good."""
_TRIES = 5
"""How often `open` starts again after losing to another replica; each loss means that the other one got on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The hold that a call waits on: its own, or the one it repeats."""

    hold: Hold
    attached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A hold as it stood at a moment of the store's time."""

    hold: Hold
    body: bytes | None
    """None once the hold is settled, or where it was not asked for."""
    now: float
    waiting: int
    """How many clients wait for the answer, on any replica, or asked to be told later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    hold: Hold
    delivered: bool
    confirmed: bool
    now: float


class HoldStore:
    """Every held call of this namespace. Safe to use from any number of replicas at once. Raises `Outage`."""

    def __init__(
        self,
        connection: StoreConnection,
        *,
        sealer: Sealer,
        holds: Holds,
        moved: Callable[[Hold], None] = lambda _: None,
    ) -> None:
        """`moved` hears of every move that this process makes, as soon as it stands; see `keep` for several at once."""
        self._connection = connection
        self._documents = Documents(sealer)
        self._indexes = Indexes(connection)
        self._holds = holds
        self._retention = Retention.of(holds)
        self._moved = moved
        self.attendance = Attendance(connection)
        self._following = Following(connection, self._indexes, heal=self._heal)

    async def run(self) -> None:
        """Has the indexes follow the moves until cancelled."""
        await self._following.run()

    async def close(self) -> None:
        """Returns when the indexes know every move that this process made, or cannot be told."""
        await self._following.catch_up()

    async def now(self) -> float:
        """Unix seconds, by the store's clock."""
        return _seconds(await self._connection.script(_NOW, keys=(self._connection.key("index", "due"),)))

    async def open(self, hold: Hold, body: bytes, *, sent_again: bool = False) -> Opened | Refused:
        """The hold given, kept, or the live one with the same likeness; Refused beyond the caps or for a reused key.

        `sent_again`: see `Retention.repeats`.
        """
        # For as long as opening may take, and then for as long as the key means the call: a flood of calls that are
        # refused for their number leaves no flood of keys.
        if not await self._bound(hold, life_s=self._retention.opening_s):
            return Refused(
                reason=Reason.IDEMPOTENCY_KEY_REUSED,
                detail="This idempotency key came with another call before. Use a new key for a new call.",
            )
        for _ in range(_TRIES):
            pointed = await self._connection.command("GET", self._pointer(hold))
            found = await self._find(CallId(text(pointed))) if pointed is not None else None
            # Where the replica that opened it has not confirmed it yet, and perhaps died, we do.
            repeats = found is not None and self._retention.repeats(
                found.hold, now=found.now, delivered=found.delivered, sent_again=sent_again
            )
            if found is not None and repeats and (found.confirmed or await self._confirm(found.hold)):
                return Opened(hold=found.hold, attached=True)
            opened = await self._opened(hold, body, over="" if pointed is None else text(pointed))
            if opened is not None:
                return opened
        raise Outage(Reason.STORE_UNAVAILABLE, "The call was asked for too often at once. Try again.")

    async def read(self, call: CallId) -> Hold | None:
        """The hold as it stands. Raises OperatorFault when its stored form was changed by somebody else."""
        found = await self._find(call)
        return found.hold if found is not None else None

    async def look(self, call: CallId, *, body: bool = True) -> Seen | None:
        """The hold with its body and the time, all of one moment. Raises as `read`."""
        if not _is_id(call):
            return None
        keys = (self._key(call, "hold"), waiting_key(self._connection, call), self._key(call, "body"))[: 2 + body]
        document, revision, state, sealed, waiting, *time = listed(await self._connection.script(_LOOK, keys=keys))
        if not isinstance(document, bytes):
            return None
        hold = self._documents.read_hold(call, document, revision=whole(revision), state=text(state))
        carried = self._documents.read_body(call, sealed) if isinstance(sealed, bytes) else None
        return Seen(hold=hold, body=carried, now=_seconds(time), waiting=whole(waiting))

    async def body(self, call: CallId) -> bytes | None:
        """The held call's body; None once the hold is settled, or where there is none."""
        sealed = await self._connection.command("GET", self._key(call, "body"))
        return self._documents.read_body(call, sealed) if isinstance(sealed, bytes) else None

    async def keep(
        self,
        before: Hold,
        *moves: Hold,
        not_after: float | None = None,
        durable: bool = False,
        alone: bool = False,
    ) -> Hold | None:
        """The last of `moves`, kept; None when somebody else moved the hold first, or it is `not_after` already.

        Several moves are one write: nobody ever finds the hold between them, and all of them stand or none. `moved`
        hears of the first. `alone`: None too while anybody waits for the answer. `durable`: the replicas that the
        settings ask for have it too; raises Outage when too few do, and the moves may then stand or not: read again.
        """
        if not moves or not all(_follows(one, other) for one, other in pairwise((before, *moves))):
            raise BrokenPromise(Reason.INTERNAL, f"Not a move of the hold {before.call.id!r}: wrong call or revision.")
        after = moves[-1]
        call = after.call.id
        args = (
            before.revision,
            before.state,
            self._documents.hold(after),
            after.revision,
            after.state,
            "" if not_after is None else not_after,
            self._retention.documents_s if after.state in FINAL else "",
            self._connection.moved_channel,
            call,
        )
        keys = [self._key(call, "hold"), self._key(call, "body")]
        keys += [waiting_key(self._connection, call)] if alone else []
        with self._following.suspecting(call):
            if await self._connection.script(_KEEP, keys=keys, args=args, durable=durable) != 1:
                return None
        self._following.moved(after)
        self._moved(moves[0])  # What the later ones lead to is in the hands of whoever made them.
        return after

    async def discard(self, hold: Hold) -> None:
        """Withdraws a hold just opened that could not be put on the record. Who attached to it meanwhile sees that."""
        agent = hold.call.principal.agent
        after = withdraw(hold, agent, agent, "It could not be recorded, so it was not held.", await self.now())
        if not isinstance(after, Refused):
            await self.keep(hold, after)

    async def keep_response(self, call: CallId, response: KeptResponse) -> None:
        """Keeps the response for repeats during the replay window; one over the size limit without its body."""
        if len(response.body) > self._holds.keep_response_bytes:
            response = KeptResponse(status=response.status, headers=response.headers, body=b"", truncated=True)
        sealed = self._documents.response(call, response)
        await self._connection.command("SET", self._key(call, "response"), sealed, "EX", self._holds.replay_window_s)

    async def response(self, call: CallId) -> KeptResponse | None:
        """The kept response; None when there is none, or its window is over."""
        sealed = await self._connection.command("GET", self._key(call, "response"))
        return self._documents.read_response(call, sealed) if isinstance(sealed, bytes) else None

    async def delivered(self, hold: Hold) -> None:
        """Notes that the response reached somebody: the next like call without an idempotency key is a new one."""
        await self._connection.script(_DELIVERED, keys=(self._key(hold.call.id, "hold"),))

    async def open_holds(self, *, limit: int = 200) -> tuple[Hold, ...]:
        """The holds that wait for people, the soonest to expire first."""
        await self._following.catch_up()
        return await self._found(await self._indexes.open(limit=limit), fits=lambda hold: hold.state in OPEN)

    async def recent(self, *, limit: int) -> tuple[Hold, ...]:
        """Holds of every state, the latest opened first."""
        return await self._found(await self._indexes.recent(limit=limit), fits=lambda _: True)

    async def unknown(self, *, limit: int = 200) -> tuple[Hold, ...]:
        """Holds whose outcome a person has to find out, oldest first."""
        await self._following.catch_up()
        ids = await self._indexes.unknown(limit=limit)
        return await self._found(ids, fits=lambda hold: hold.state is State.UNKNOWN)

    async def due(self, now: float, *, limit: int = 100) -> tuple[CallId, ...]:
        """Calls whose clock has run out: undecided, unsent, or left in the middle of sending."""
        await self._following.mend()
        ids = await self._indexes.due(now, limit=limit)
        found = await self._found(ids, fits=lambda hold: (deadline(hold) or now + 1) <= now)
        return tuple(hold.call.id for hold in found)

    async def approved(self, *, before: float, limit: int = 100) -> tuple[CallId, ...]:
        """Calls that were approved before that time and wait for somebody to send them."""
        await self._following.catch_up()
        ids = await self._indexes.approved(before=before, limit=limit)
        found = await self._found(ids, fits=lambda hold: hold.state is State.APPROVED)
        return tuple(hold.call.id for hold in found)

    async def held_now(self) -> int:
        """How many calls are held: undecided, approved, or being sent."""
        await self._following.catch_up()
        return await self._indexes.size()

    async def rebuild_indexes(self) -> None:
        """Makes the indexes agree with the holds. For the start: a replica may have died between the two."""
        calls = set(await self._indexes.known())
        async for key in self._connection.scan(self._connection.key("*", "hold")):
            calls.add(CallId(key[key.index("{") + 1 : key.rindex("}")]))
        for call in calls:
            await self._heal(call)

    def _key(self, call: CallId, kind: str) -> str:
        return self._connection.key(call, kind)

    def _pointer(self, hold: Hold) -> str:
        return self._connection.key(hold.likeness, "like")

    async def _bound(self, hold: Hold, *, life_s: int) -> bool:
        # The likeness contains the key, so one key with one content is one likeness, and with another is another.
        key = hold.call.idempotency_key
        if key is None:
            return True
        parts = (hold.call.principal.agent, hold.call.upstream, key)
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        binding = self._connection.key(digest, "key")
        return await self._connection.script(_BIND, keys=(binding,), args=(hold.likeness, life_s)) == 1

    async def _opened(self, hold: Hold, body: bytes, *, over: str) -> Opened | Refused | None:
        """The new hold, kept; Refused beyond a cap; None when another replica was quicker."""
        call = hold.call.id
        written = self._written(hold, body)
        await self._following.catch_up()
        with self._following.suspecting(call):
            if refused := await self._indexes.admit(hold, caps=self._holds):
                return refused
            life_s = self._retention.pointer_life_s(hold)
            await self._bound(hold, life_s=life_s)
            if await self._connection.together(written) != [1]:
                raise BrokenPromise(Reason.INTERNAL, f"The call id {call!r} came twice.")
            if await self._connection.script(_POINT, keys=(self._pointer(hold),), args=(over, call, life_s)) != 1:
                await self._drop(call)
                return None
            if not await self._confirm(hold):
                raise Outage(Reason.STORE_UNAVAILABLE, "The store was too slow to hold the call. Try again.")
        return Opened(hold=hold, attached=False)

    async def _confirm(self, hold: Hold) -> bool:
        """Whether the hold is there for good now; False when it had vanished."""
        call = hold.call.id
        keys = (self._key(call, "hold"), self._key(call, "body"))
        confirm = _CONFIRM.on(keys=keys, args=(self._connection.moved_channel, call))
        _, confirmed = await self._connection.together(self._indexes.put(hold), confirm, durable=True)
        return confirmed == 1

    def _written(self, hold: Hold, body: bytes) -> Command:
        call = hold.call.id
        return _OPEN_DOCUMENT.on(
            keys=(self._key(call, "hold"), self._key(call, "body")),
            args=(
                self._documents.hold(hold),
                hold.revision,
                hold.state,
                self._documents.body(call, body),
                self._retention.opening_s,
            ),
        )

    async def _drop(self, call: CallId) -> None:
        await self._connection.command("DEL", self._key(call, "hold"), self._key(call, "body"))
        await self._indexes.forget(call)

    async def _find(self, call: CallId) -> _Found | None:
        if not _is_id(call):
            return None
        reply = await self._connection.script(_READ, keys=(self._key(call, "hold"),))
        document, revision, state, delivered, life_ms, *time = listed(reply)
        if not isinstance(document, bytes):
            return None
        hold = self._documents.read_hold(call, document, revision=whole(revision), state=text(state))
        return _Found(
            hold=hold,
            delivered=delivered is not None,
            confirmed=hold.state not in OPEN or whole(life_ms) < 0,
            now=_seconds(time),
        )

    async def _found(self, calls: tuple[CallId, ...], *, fits: Callable[[Hold], bool]) -> tuple[Hold, ...]:
        """The holds of those ids, in their order, that belong where the index put them; the index is healed."""
        if not calls:
            return ()
        replies = await self._connection.together(*(_READ.on(keys=(self._key(call, "hold"),)) for call in calls))
        holds: list[Hold] = []
        for call, reply in zip(calls, replies, strict=True):
            document, revision, state, *_ = listed(reply)
            if not isinstance(document, bytes):
                await self._indexes.forget(call)
                continue
            hold = self._opened_document(call, document, revision=whole(revision), state=text(state))
            if hold is not None and fits(hold):
                holds.append(hold)
            elif hold is not None:
                await self._connection.together(self._indexes.put(hold))
        return tuple(holds)

    def _opened_document(self, call: CallId, document: bytes, *, revision: int, state: str) -> Hold | None:
        try:
            return self._documents.read_hold(call, document, revision=revision, state=state)
        except AssentryError as fault:
            # One hold that cannot be read must not hide the others.
            log.warning("hold %s left out of a list: %s", call, fault.detail)
            return None

    async def _readable(self, call: CallId) -> Hold | None:
        try:
            return await self.read(call)
        except (OperatorFault, BrokenPromise) as fault:
            log.warning("hold %s cannot be read: %s", call, fault.detail)
            return None

    async def _heal(self, call: CallId) -> None:
        life_ms = whole(await self._connection.command("PTTL", self._key(call, "hold")))
        hold = await self._readable(call)
        unconfirmed = hold is not None and hold.state in OPEN and life_ms >= 0
        if life_ms == _NO_KEY or unconfirmed:
            await self._indexes.forget(call)
        elif hold is not None:
            await self._connection.together(self._indexes.put(hold))


def _follows(before: Hold, after: Hold) -> bool:
    return after.call.id == before.call.id and after.revision == before.revision + 1


def _is_id(call: CallId) -> bool:
    return call.isascii() and call.isprintable()  # ids come from links and clicks, too


def _seconds(time: Reply) -> float:
    seconds, micros = listed(time)
    return whole(seconds) + whole(micros) / 1_000_000
