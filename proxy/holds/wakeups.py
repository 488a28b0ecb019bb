"""Wakes whoever waits for a hold to move, on whichever replica it was moved.

One pub/sub connection per process. Messages may be lost (pub/sub promises nothing), so every wait also ends after the
poll interval, and everybody is woken when the connection comes back. A wake-up says "look again". Only a move that this
very process made comes with the hold as it was kept, and even that may be the last but one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Self

from redis.asyncio.client import PubSub

from policy.call import CallId
from policy.hold import Hold
from proxy.errors import Outage
from proxy.holds.alarms import Alarms
from proxy.holds.connection import StoreConnection
from proxy.holds.servers import FAILURES

log = logging.getLogger("assentry.holds")

_QUIET_S = 5.0
"""After so long without a message the connection is asked whether it is still there; twice in vain, and it is not."""
_LONGEST_PAUSE_S = 2.0
_LOOKS_PER_S = 2000
"""What a store answers beside its other work: a read takes about 0.1 ms."""


class Wakeup:
    """One waiter's bell. Rings that come while nobody waits are kept for the next wait."""

    __slots__ = ("_alarms", "_poll_s", "_rung", "_still", "_told", "_waiter")

    def __init__(self, poll_s: float, *, alarms: Alarms, still: Callable[[Wakeup], None]) -> None:
        """`still` ends the ringing."""
        self._poll_s = poll_s
        self._alarms = alarms
        self._still = still
        self._rung = False
        self._told: Hold | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._still(self)

    def ring(self) -> None:
        """Ends the present wait, or the next one."""
        self._rung = True
        self._end()

    def tell(self, kept: Hold) -> None:
        """The same, and `told` has this hold. A ring beside it still ends the wait after that."""
        self._told = kept
        self._end()

    def told(self) -> Hold | None:
        """The hold as this process kept it a moment ago, once, where that is what rang last; None: read it."""
        told, self._told = self._told, None
        return told

    async def wait(self, timeout_s: float) -> None:
        """Returns when the hold moved, when `timeout_s` is over, or when it is time to look anyway."""
        if self._told is None and not self._rung and timeout_s > 0:
            # Ten thousand waiters must not all look at the store in the same instant.
            poll_s = self._poll_s * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, decides nothing
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            self._alarms.ring_in(min(timeout_s, poll_s), partial(_over, waiter))
            try:
                await waiter
            finally:
                self._waiter = None
        if self._told is None:
            self._rung = False

    def _end(self) -> None:
        if self._waiter is not None:
            _over(self._waiter)


def _over(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Wakeups:
    """The bells of this process, and the connection that rings them."""

    def __init__(self, connection: StoreConnection, *, poll_s: float = 20.0) -> None:
        self._connection = connection
        self._poll_s = poll_s
        self._listeners: dict[CallId, tuple[Wakeup, ...]] = {}
        """Nearly always one: a set for each of ten thousand holds would weigh more than what it holds."""
        self._watchers: set[Wakeup] = set()
        self._alarms = Alarms()
        self.listening = asyncio.Event()
        """Set while the connection stands."""

    def listen(self, call: CallId) -> Wakeup:
        """A bell that rings when this hold moves, until its block ends.

        Listen first and read the hold then, so that no move is missed.
        """
        bell = Wakeup(self._poll_s, alarms=self._alarms, still=partial(self._unlisten, call))
        self._listeners[call] = (*self._listeners.get(call, ()), bell)
        return bell

    def _unlisten(self, call: CallId, bell: Wakeup) -> None:
        others = tuple(other for other in self._listeners[call] if other is not bell)
        if others:
            self._listeners[call] = others
        else:
            del self._listeners[call]

    def listeners(self, call: CallId) -> int:
        """How many of this process wait for this hold."""
        return len(self._listeners.get(call, ()))

    def watch(self) -> Wakeup:
        """A bell that rings when any hold moves or is opened, until its block ends: for live queues."""
        bell = Wakeup(self._poll_s, alarms=self._alarms, still=self._watchers.discard)
        self._watchers.add(bell)
        return bell

    def kept(self, hold: Hold) -> None:
        """Tells those of this process who wait for it at once; everybody else hears of it from the store."""
        for bell in self._listeners.get(hold.call.id, ()):
            bell.tell(hold)

    @property
    def waiting(self) -> int:
        """How many bells there are."""
        return sum(map(len, self._listeners.values())) + len(self._watchers)

    async def run(self) -> None:
        """Rings until cancelled. An outage of the store is logged and waited out."""
        pause_s = 0.05
        while True:
            try:
                async with self._connection.subscription() as pubsub:
                    self.listening.set()
                    pause_s = 0.05
                    self.ring_all()  # whatever moved while nobody listened
                    await self._follow(pubsub)
            except (Outage, *FAILURES) as exc:
                log.warning("wake-ups interrupted: %s", type(exc).__name__)
            self.listening.clear()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _follow(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=_QUIET_S)
            if message is not None:
                asked = False
                if message["type"] == "message":
                    self._ring(CallId(message["data"].decode()))
            elif asked:
                raise TimeoutError
            else:
                await pubsub.ping()
                asked = True

    def _ring(self, call: CallId) -> None:
        for bell in (*self._listeners.get(call, ()), *self._watchers):
            bell.ring()

    def ring_all(self) -> None:
        """Everybody looks at the store soon."""
        # Not in one instant: the first looks would be answered and the last would time out.
        within_s = self.waiting / _LOOKS_PER_S
        for bells in (*self._listeners.values(), self._watchers):
            for bell in bells:
                self._alarms.ring_in(random.uniform(0, within_s), bell.ring)  # noqa: S311 - spreads load
