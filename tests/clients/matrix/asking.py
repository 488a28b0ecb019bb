"""What a row of the matrix is: a real client, how it asks for one thing, and what its agent gets.

A client asks the way its own documentation shows, against the gate's address and with a credential of the gate's.
Nothing here knows when people decide; that is `tests.clients.matrix.deciding`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.fakes.upstream import Received

TIMEOUT_S = 2.0
"""Of every client here whose own is longer, set by an option that the client documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where one call goes, and with what."""

    url: str
    """The upstream's base URL at the gate, without a slash at its end."""
    credential: str
    """What is put where this client's key belongs."""
    mark: str
    """A word that stands in this call and in no other."""
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the fake of an API answers."""

    status: int = 200
    body: bytes
    content_type: str = "application/json"


class Meanwhile(StrEnum):
    """What the agent sees when people take longer than its client waits."""

    OWN_RETRY = "nothing: the client's own retry attaches"
    PENDING = "the client's error says pending; the same call again attaches"
    TIMED_OUT = "the client's timeout; the same call again attaches"
    WAITS_ON = "nothing: the client waits on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A row."""

    name: str
    version: str
    system: bool = False
    """Whether its version is this machine's rather than locked."""
    upstream: str
    """The name of its upstream; clients may share one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of its upstream: catalogue, connector, credential, …"""
    ask: Callable[[Site], Awaitable[str]]
    """Sends the call, once as an agent would; what came back, in the words of `returns`."""
    answer: Callable[[Received, str], Said]
    """What the fake says to a call with this mark."""
    returns: str
    """Type and id of the object that the client returns; `{mark}` stands for the mark."""
    refusal: type[Exception]
    """What the client raises when a person said No."""
    gives_up: tuple[type[Exception], ...] = ()
    """What the client raises when nobody answered in its time."""
    default_timeout: str
    """Read timeout without any option, in words."""
    timeout_s: float = TIMEOUT_S
    meanwhile: Meanwhile
    prepare: Callable[[Any], Awaitable[Callable[[str], Awaitable[str]]]] | None = None
    """Where a bearer token will not do: given the house, a function from an agent's name to its credential."""

    @property
    def label(self) -> str:
        """As it stands in the table."""
        return f"{self.name} {self.version}"
