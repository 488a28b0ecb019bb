"""What a well-formed head asks for at the agents' door: which upstream's call it is, or something of our own.

Decides by settings alone: host names, routes, which headers travel on. Pure, so that whoever reads a call, at once or
as it comes, reads the same one. Who calls and whether the call may go on is the gate's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TypeVar

from config.settings import Settings, Upstream
from policy.call import CallId, Target
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.addresses import host_name, is_own_host, own_hosts, peer_address
from proxy.doors.arrival import Arrival, BearerText, Patience, SignedCall
from proxy.doors.bearer import read_bearer
from proxy.doors.hygiene import Head
from proxy.doors.metadata import WELL_KNOWN
from proxy.doors.patience import is_sent_again, less, read_patience
from proxy.doors.signed import plain, read_signed, with_chunks
from proxy.doors.words import read_words
from proxy.errors import CallerFault
from proxy.upstream.forward import travelling
from proxy.upstream.routes import Route, Routes

_STATUS_PATH = re.compile(r"/v1/calls/(call_[0-9A-Za-z]{26})")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class TurnedAway(CallerFault):
    """The door takes no such call."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason, refused.detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call for one upstream, as far as its head tells."""

    head: Head
    route: Route
    bearer: BearerText | None
    signed: SignedCall | None = None
    idempotency_key: str | None


class Entrance:
    """Reads heads by the settings."""

    def __init__(self, settings: Settings, *, routes: Routes) -> None:
        self._routes = routes
        self._trusted = settings.agents.trusted_proxies
        self._encrypted = bool(settings.agents.tls) or (settings.agents.public_url or "").startswith("https://")
        self._hosts = own_hosts(settings)
        self._upstream_hosts = frozenset(host_name(up.host.lower()) for up in settings.upstreams if up.host)

    def peer(self, address: str, head: Head | Refused) -> str:
        """Where a call came from: the socket's address, or what a trusted proxy says."""
        forwarded = "" if isinstance(head, Refused) else head.fields.get("x-forwarded-for", "")
        return peer_address(address, forwarded=forwarded, trusted=self._trusted)

    def check_host(self, head: Head) -> None:
        """Nothing for a host of ours. Raises TurnedAway for any other."""
        if not is_own_host(head.host, hosts=self._hosts):
            detail = "No such host is served here. Use the base URL of this gate, or add the name to agents.hosts."
            raise TurnedAway(Refused(reason=Reason.UNKNOWN_HOST, detail=detail))

    def status_of(self, head: Head) -> CallId | None:
        """The call whose status is asked for."""
        asked = _STATUS_PATH.fullmatch(head.path) if self._has_own_paths(head) else None
        return CallId(asked[1]) if asked else None

    def metadata_path(self, head: Head) -> str | None:
        """The path whose protected-resource metadata is asked for (RFC 9728 section 3.1), well-known part included."""
        known = head.path == WELL_KNOWN or head.path.startswith(f"{WELL_KNOWN}/")
        return head.path if known and self._has_own_paths(head) else None

    def route_of(self, host: str, path: str) -> Route | None:
        """The upstream that a host and a raw path lead to."""
        return self._routes.find(host, path)

    def asked(self, head: Head) -> Asked:
        """What is asked of which upstream. Raises TurnedAway."""
        route = self.route_of(head.host, head.path)
        if route is None:
            detail = "No upstream has this path. Check the base URL: it ends in the upstream's prefix."
            raise TurnedAway(Refused(reason=Reason.UNKNOWN_ROUTE, detail=detail))
        signed = _or_turned_away(read_signed(head, route.upstream, encrypted=self._encrypted))
        shown = bearer(head) if signed is None else None
        return Asked(head=head, route=route, bearer=shown, signed=signed, idempotency_key=_idempotency_key(head))

    def _has_own_paths(self, head: Head) -> bool:
        # A host name that belongs to one upstream has that upstream's paths only.
        return head.method in ("GET", "HEAD") and host_name(head.host) not in self._upstream_hosts


def target(asked: Asked) -> Target:
    """What is asked of the upstream, below its route."""
    return Target(method=asked.head.method, path=asked.route.path, query=asked.head.query)


def arrival(
    asked: Asked, body: bytes, *, call_id: CallId, peer: str, received_at: float, sending_s: float = 0
) -> Arrival:
    """The call as the gate takes it. `sending_s`: how long its body took to come."""
    head, upstream = asked.head, asked.route.upstream
    content = _or_turned_away(plain(head, body, upstream))
    return Arrival(
        id=call_id,
        upstream=upstream.name,
        target=target(asked),
        headers=content.described(travelling(head.headers, upstream)),
        body=content.content,
        bearer=asked.bearer,
        signed=with_chunks(asked.signed, content) if asked.signed else None,
        words=read_words(head.fields),
        idempotency_key=asked.idempotency_key,
        sent_again=is_sent_again(head.fields),
        patience=less(_patience(head, upstream, now=received_at), spent_s=sending_s),
        peer=peer,
        received_at=received_at,
    )


def _patience(head: Head, upstream: Upstream, *, now: float) -> Patience:
    patience = read_patience(head.fields, now=now)
    # RFC 9110 section 15.2: never to a client of HTTP/1.0. One that prefers not to wait is answered at once.
    if patience.interim and (head.minor != 1 or not upstream.interim or patience.respond_async):
        return replace(patience, interim=None)
    return patience


_Read = TypeVar("_Read")


def _or_turned_away(read: _Read | Refused) -> _Read:
    if isinstance(read, Refused):
        raise TurnedAway(read)
    return read


def bearer(head: Head) -> BearerText | None:
    """The credential that came with it. Raises TurnedAway for more than one, or for what cannot be one."""
    return _or_turned_away(read_bearer(head.fields))


def _idempotency_key(head: Head) -> str | None:
    # botocore's invocation id is the same for all its tries of one call, which is what an idempotency key says.
    key = head.fields.get("idempotency-key") or head.fields.get("amz-sdk-invocation-id")
    if not key:
        return None
    if not _KEY.fullmatch(key):
        detail = "The idempotency key is longer than 255 characters, or contains spaces. Send a shorter one."
        raise TurnedAway(Refused(reason=Reason.MALFORMED, detail=detail))
    return key
