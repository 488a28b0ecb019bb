"""What a row of the matrix is: a real client, how it asks for one thing, and what its agent gets.

A client asks the way its own documentation shows, against the gate's address and with a credential of the gate's.
Nothing here knows when people decide; that is `tests.clients.matrix.deciding`'s.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.fakes.house import House
from tests.fakes.upstream import Answer, Received, reply

_MARK = re.compile(rb"mk[0-9]{4}x")


def mark(number: int) -> str:
    """The word that stands in the call of this case, and in no other."""
    return f"mk{number:04}x"


TRUST = ssl.create_default_context()
"""Given to clients that would read all certificates of the system anew for each call, in the loop of all the others."""
TIMEOUT_S = 3.0
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
    folder: Path
    """Of this case alone."""
    ca: Path | None = None
    """Who signed the gate's certificate, where it is reached over TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What some clients need beside the gate."""

    settings: Mapping[str, Any]
    """Of their upstream."""
    calls: Callable[[str], int] | None = None
    """How many calls with a mark their upstream has seen, where it is not the fake that all others share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the fake of an API answers."""

    status: int = 200
    body: bytes
    content_type: str = "application/json"


def saying(say: Callable[[Received, str], Said]) -> Answer:
    """The answer that says this of a call and its mark."""

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        mark = _MARK.search(received.raw)
        assert mark, f"nobody asked for {received.target}"
        said = say(received, mark[0].decode())
        await reply(said.status, said.body, ("content-type", said.content_type))(received, writer)

    return answer


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
    around: Callable[[Path, str], AbstractAsyncContextManager[Surroundings]] | None = None
    """What else its upstream takes, made in a folder of its own; the text is the origin of the fake."""
    tls: bool = False
    """Whether it takes a gate over TLS only."""
    ask: Callable[[Site], Awaitable[str]]
    """Sends the call, once as an agent would; what came back, in the words of `returns`."""
    answer: Answer
    """What the fake of its API says."""
    returns: str
    """Type and id of the object that the client returns; `{mark}` stands for the mark."""
    refusal: type[Exception]
    """What the client raises when a person said No."""
    refused: str = ""
    """How a No looks, where the client itself raises nothing."""
    gives_up: tuple[type[Exception], ...] = ()
    """What the client raises when nobody answered in its time."""
    default_timeout: str
    """Read timeout without any option, in words."""
    timeout_s: float = TIMEOUT_S
    meanwhile: Meanwhile
    unheard: Meanwhile | None = None
    """The same where something in between swallows the interim responses that kept it waiting; None: it gets none."""
    credential: Callable[[House, str], Awaitable[str]] | None = None
    """The credential of an agent, where a bearer token will not do."""

    @property
    def label(self) -> str:
        """As it stands in the table."""
        return f"{self.name} {self.version}"
