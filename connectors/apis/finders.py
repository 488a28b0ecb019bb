"""Where code, and not a template, says which operation a call is: what such a connector gives, and which ones do.

A connector has a closed list of operations, because policies are checked against it, and a finder that names one of
them for each call. Both are made once per publication. What follows a name (typed input, resource, labels) is read by
`connectors.apis.naming` for all connectors alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from connectors.apis.bodies import Body
from connectors.apis.entries import Section
from policy.call import Target
from policy.operation import Operation
from policy.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class BadBody:
    """What is sent is not one well-formed value of its type, or carries what no call may: 400, and nobody judges it."""

    detail: str
    reason: Reason = Reason.BODY_MALFORMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call, as far as a finder may look at it."""

    target: Target
    headers: tuple[tuple[str, str], ...]
    """Those that reach the upstream, names in lower case. No others: a held call is named again without them."""
    raw: bytes
    body: Body
    """`raw`, as far as its declared type lets it be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Which operation a call is, and what the finder read of it on the way."""

    name: str
    """`<upstream>:<operation>`, one of the connector's list; any other is the unknown operation."""
    captured: tuple[tuple[str, str], ...] = ()
    """Values of the fields whose place is the path, by the first key of the field's path, percent-encoded as in a path.
    A finder may put others there than segments: a verb, a header's value."""
    body: Body | None = None
    """What body fields are read from, where that is not the call's own body: XML as a tree, a query's arguments."""
    meaning: str = ""
    """A digest of what of the body makes it this call, where tries of one call differ in it: a message's id. Empty: the
    whole body."""
    parts: tuple[Found, ...] = ()
    """Where one call asks for several things: each of them, judged beside the whole, and the strictest verdict wins."""


Finder = Callable[[Asked], Found | BadBody | None]
"""Names a call. None: unknown, which the law holds or refuses; never a guess. Pure: called for each call, on any path,
and again before a held call is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """All that a connector says of one upstream."""

    operations: tuple[Operation, ...]
    """The closed list. Templates are for people to read, and must not be empty."""
    find: Finder
    labels: frozenset[str] = frozenset()
    """Labels that its calls may carry beside those of the operations and the detectors."""


class Connector(Protocol):
    """The function `spoken` of a connector's module."""

    def __call__(self, section: Section, *, upstream: str) -> Spoken:
        """The list and the finder for this upstream.

        `section` is what the upstream's catalogue file says under the connector's name, empty where it says nothing;
        what is wrong there is noted as its faults.
        """


_MODULES: Mapping[str, str] = {
    "aws": "connectors.apis.aws.naming",
    "graphql": "connectors.apis.graphql.finding",
    "jsonrpc": "connectors.apis.jsonrpc.finding",
    "kubernetes": "connectors.apis.kubernetes.finding",
    "mcp": "connectors.apis.mcp.finding",
}
"""The connectors that name calls by code: each module has a function `spoken` (a `Connector`) and `KEYS`, the keys
that its section of a catalogue file may have."""


def names_by_code(connector: str) -> bool:
    """Whether this connector names its calls itself."""
    return connector in _MODULES


def by_code() -> tuple[str, ...]:
    """The connectors that name their calls themselves."""
    return tuple(sorted(_MODULES))


def keys_of(connector: str) -> frozenset[str]:
    """What may stand in the connector's section of a catalogue file."""
    keys: Iterable[str] = import_module(_MODULES[connector]).KEYS
    return frozenset(keys)


def spoken(connector: str, section: Section, *, upstream: str) -> Spoken:
    """What a connector says of an upstream. Its module is loaded now: some need packages that others do not."""
    speak: Connector = import_module(_MODULES[connector]).spoken
    return speak(section, upstream=upstream)
