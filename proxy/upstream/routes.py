"""Which upstream a place at the agents' door leads to.

Decides by configuration only: the host names and path prefixes that the settings give to upstreams. Whether a host may
be used at all, and whether a path is well-formed, was decided by the door before anybody asks here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.settings import Upstream
from policy.reasons import Reason
from proxy.errors import OperatorFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a call goes."""

    upstream: Upstream
    path: str
    """Raw path below the prefix, beginning with a slash; the prefix matched byte for byte."""


class Routes:
    """The map from the door to the upstreams."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self._hosts: dict[str, Upstream] = {}
        self._prefixes: dict[str, Upstream] = {}
        for upstream in upstreams:
            if upstream.host is not None:
                _claim(self._hosts, upstream.host.lower(), upstream)
            if upstream.prefix is not None or upstream.host is None:
                _claim(self._prefixes, _prefix(upstream), upstream)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def find(self, host: str, raw_path: str) -> Route | None:
        """The upstream that a host is given to alone; else that of the longest prefix; None where there is neither.

        At a host of its own an upstream has every path, and no prefix is taken off.
        `host` is as in the Host header, port included; `raw_path` is without the query.
        """
        if self._hosts:
            named = host.lower()
            owner = self._hosts.get(named) or self._hosts.get(_portless(named))
            if owner is not None:
                return Route(upstream=owner, path=raw_path or "/")
        for length in self._lengths:
            # A prefix ends where a segment ends: `/stripe` is not `/stripes`.
            if raw_path[length : length + 1] in ("", "/") and (found := self._prefixes.get(raw_path[:length])):
                return Route(upstream=found, path=raw_path[length:] or "/")
        return None


def _claim(table: dict[str, Upstream], place: str, upstream: Upstream) -> None:
    if (other := table.setdefault(place, upstream)) is not upstream:
        detail = f"Upstreams '{other.name}' and '{upstream.name}' both claim '{place}' at the agents' door."
        raise OperatorFault(Reason.INTERNAL, detail)


def _prefix(upstream: Upstream) -> str:
    prefix = f"/{upstream.name}" if upstream.prefix is None else upstream.prefix
    return "/" + prefix.strip("/") if prefix.strip("/") else ""


def _portless(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
