"""Requests that wait here for people, and are taken back by a message of their own (MCP 2025-03-26 to 2025-11-25).

Whoever takes a request back is then treated as a client that left: what follows for the hold is for
`holds.on_client_gone` to say. Only the agent that sent it can, in the same session, and only at the replica where it
waits: where the session's other messages go, behind a balancer that keeps sessions together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from connectors.apis.mcp.messages import MessageId
from proxy.doors.arrival import Client
from proxy.mcp.exchange import Exchange

_Key = tuple[str, str, str | None, str, MessageId, bool]


class Waiting:
    """A client, for as long as it is connected and has not taken its request back."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tell: list[Callable[[], None]] = []
        self._cancelled = False

    def present(self) -> bool:
        """Whether it still waits."""
        return not self._cancelled and self._client.present()

    def leaving(self, tell: Callable[[], None]) -> AbstractContextManager[None]:
        """While the block lasts, `tell` is called when it leaves or takes its request back."""
        return self._leaving(tell)

    def cancel(self) -> None:
        """The request is taken back."""
        self._cancelled = True
        for tell in self._tell:
            tell()

    @contextmanager
    def _leaving(self, tell: Callable[[], None]) -> Iterator[None]:
        self._tell.append(tell)
        try:
            with self._client.leaving(tell):
                yield
        finally:
            self._tell.remove(tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellations:
    """The requests that wait at this replica."""

    _waiting: dict[_Key, Waiting] = field(default_factory=dict)

    @contextmanager
    def of(self, exchange: Exchange, client: Client) -> Iterator[Client]:
        """The client, as a wait sees it."""
        if exchange.answers is None or not exchange.session:
            yield client
            return
        key, waiting = _key(exchange, exchange.answers), Waiting(client)
        self._waiting[key] = waiting
        try:
            yield waiting
        finally:
            if self._waiting.get(key) is waiting:
                del self._waiting[key]

    def cancel(self, exchange: Exchange) -> None:
        """The request that this notification names waits no more, if it waits here and is this agent's."""
        if (
            exchange.cancels is not None
            and (waiting := self._waiting.get(_key(exchange, exchange.cancels))) is not None
        ):
            waiting.cancel()


def _key(exchange: Exchange, request: MessageId) -> _Key:
    who = exchange.principal
    # 1 and "1" are two ids.
    return exchange.server.upstream, who.agent, who.subject, exchange.session, request, isinstance(request, str)
