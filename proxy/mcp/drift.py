"""Tools that a server defines otherwise than the catalogue pins them, as seen in the lists that pass through.

A definition is what a model decides by, so a tool that was changed is not the tool that anybody looked at. What was
seen is kept in the store for all replicas and stays for a day, however often the server shows the old definition in
between: somebody has been told the new one. A catalogue that pins what was seen ends it. What follows for a call is
the law's to say; here it only gets a label.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from connectors.apis.mcp.finding import Server
from connectors.apis.mcp.tools import Shown
from policy.call import CallId
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.errors import AssentryError
from proxy.holds.connection import StoreConnection, listed, text

_log = logging.getLogger("assentry.mcp")
REFRESH_S = 1.0
MOST_STALE_S = 10.0
REMEMBERED_S = 24 * 3600
_MOST_RECORDED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One tool that is not what the catalogue says."""

    tool: str
    pinned: str | None
    """None: the catalogue has no such tool."""
    seen: str


class Drift:
    """What was seen, in the store, and this replica's copy of it."""

    def __init__(
        self,
        connection: StoreConnection,
        *,
        ledger: Ledger,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._now = now
        self._monotonic = monotonic
        self._key = connection.key("mcp", "changed")
        self._seen: Mapping[str, tuple[str, float]] = {}
        """Definition and time, by operation."""
        self._refreshed_at = float("-inf")
        self._recorded: dict[tuple[str, frozenset[Difference]], None] = {}

    async def run(self) -> None:
        """Refresh the copy until cancelled; an outage is logged and waited out."""
        while True:
            try:
                await self.refresh()
            except AssentryError as fault:
                _log.warning("what is known of changed tools is not refreshed: %s", fault)
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Read it again. Raises Outage."""
        replies = [text(one) for one in listed(await self._connection.command("HGETALL", self._key))]
        self._seen = dict(_read(replies))
        self._refreshed_at = self._monotonic()

    def is_changed(self, operation: str, pinned: str) -> bool:
        """Whether a tool was lately seen with another definition; True where that cannot be known."""
        if self._monotonic() - self._refreshed_at > MOST_STALE_S:
            return True
        definition, at = self._seen.get(operation, (pinned, 0.0))
        return definition != pinned and self._now() - at <= REMEMBERED_S

    async def compare(self, listed_tools: Iterable[Shown], *, server: Server, call: CallId) -> None:
        """Keeps and records what differs in a list. Raises Outage: what cannot be kept must not be passed on."""
        differences = frozenset(_differences(listed_tools, server))
        changed = [one for one in differences if one.pinned is not None]
        if changed:
            at = f"{self._now():.0f}"
            words = [word for one in changed for word in (f"{server.upstream}:{one.tool}", f"{one.seen} {at}")]
            await self._connection.command("HSET", self._key, *words)
            await self.refresh()
        if differences and (server.upstream, differences) not in self._recorded:
            said = [(one.tool, one.pinned, one.seen) for one in sorted(differences, key=lambda one: one.tool)]
            await self._ledger.record(record.tools_differ(call, server.upstream, said), Durability.WRITTEN)
            if len(self._recorded) >= _MOST_RECORDED:
                self._recorded.clear()
            self._recorded[server.upstream, differences] = None


def _differences(tools: Iterable[Shown], server: Server) -> Iterable[Difference]:
    for tool in tools:
        pinned = server.pins.get(tool.name)
        if tool.definition != pinned:
            yield Difference(tool=tool.name, pinned=pinned, seen=tool.definition)


def _read(replies: list[str]) -> Iterable[tuple[str, tuple[str, float]]]:
    for operation, value in zip(replies[::2], replies[1::2], strict=True):
        definition, _, at = value.partition(" ")
        yield operation, (definition, float(at))
