"""What must hold between settings, beyond what each one says of itself. All of it is here.

Each rule yields what is wrong, at the key a person would change. Nothing here touches the network or the disk: that a
host exists, or a file, is found out by whoever uses it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from config.settings import (
    AccountCredential,
    AwsCredential,
    ClientCredential,
    GithubAppCredential,
    HeaderCredential,
    Issuer,
    Settings,
    Upstream,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A rule that does not hold, and the key it is about."""

    path: str
    message: str


Rule = Callable[[Settings], Iterator[Broken]]

RESERVED = ("/v1", "/.well-known")
"""What the agents' door answers itself: calls and holds, and protected-resource metadata (RFC 9728)."""

_HOST = re.compile(r"^(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?$")
_PREFIX = re.compile(r"^(/[A-Za-z0-9._~-]+)+$")
_HEADER = re.compile(r"^[!#$%&'*+.^_`|~0-9a-z-]+$")  # RFC 9110 section 5.6.2, lower case
_SUBJECT = re.compile(r"^[A-Za-z0-9._:@/|+=-]{1,255}$")
# Hop-by-hop (RFC 9110 section 7.6.1), credentials, framing, and claims of origin.
_NEVER_FORWARDED = frozenset(
    {
        *("authorization", "cookie", "proxy-authorization"),
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "expect", "host", "via"),
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
    }
)

# What Kubernetes believes of a caller that may speak for others: for whom it speaks.
_NEVER_BEGINS = ("assentry-", "impersonate-", "x-remote-")


def broken(settings: Settings) -> Iterator[Broken]:
    """Every rule that does not hold for these settings."""
    for rule in RULES:
        yield from rule(settings)


def _names(settings: Settings) -> Iterator[Broken]:
    yield from _repeated("issuers", "name", [issuer.name for issuer in settings.issuers])
    yield from _repeated("issuers", "issuer", [issuer.issuer for issuer in settings.issuers])
    yield from _repeated("upstreams", "name", [upstream.name for upstream in settings.upstreams])


def _listeners(settings: Settings) -> Iterator[Broken]:
    seen: dict[str, str] = {}
    for door in ("agents", "approvers", "operators"):
        listen: str = getattr(settings, door).listen
        host, _, port = listen.rpartition(":")
        path = f"{door}.listen"
        if int(port) > 65_535:
            yield Broken(path=path, message="the port is at most 65535")
        if listen in seen and int(port) != 0:
            yield Broken(path=path, message=f"is the address of {seen[listen]} too; each door has its own")
        seen.setdefault(listen, path)
        if settings.demo and not _loopback(host):
            yield Broken(path=path, message="demo mode listens on loopback only; use 127.0.0.1, or leave demo mode")


def _agents(settings: Settings) -> Iterator[Broken]:
    for index, host in enumerate(settings.agents.hosts):
        if not _HOST.match(host):
            yield Broken(
                path=f"agents.hosts.{index}", message="must be a host name in lower case, 'host' or 'host:port'"
            )
    for index, network in enumerate(settings.agents.trusted_proxies):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield Broken(path=f"agents.trusted_proxies.{index}", message="must be a network such as '10.0.0.0/8'")


def _approvers(settings: Settings) -> Iterator[Broken]:
    door = settings.approvers
    if urlsplit(door.public_url).path not in ("", "/"):
        yield Broken(path="approvers.public_url", message="is an origin: scheme, host and port, without a path")
    yield from _encrypted(settings, "approvers.public_url", door.public_url)
    if door.tls is not None and not door.public_url.startswith("https://"):
        # Clicks name the origin that they come from, which is then never this one.
        yield Broken(path="approvers.public_url", message="must be https:// where approvers.tls is set")
    for key, names in (("auditors", door.auditors), ("operators", door.operators)):
        for index, name in enumerate(names):
            if name not in settings.groups:
                yield Broken(path=f"approvers.{key}.{index}", message=f"there is no group '{name}' in groups")
    if door.sign_in is None:
        return
    issuer = next((issuer for issuer in settings.issuers if issuer.name == door.sign_in.issuer), None)
    if issuer is None:
        yield Broken(path="approvers.sign_in.issuer", message=f"there is no issuer '{door.sign_in.issuer}' in issuers")
    elif issuer.people_audience is None:
        message = f"the issuer '{issuer.name}' has no people_audience, so nobody can sign in there"
        yield Broken(path="approvers.sign_in.issuer", message=message)


def _issuers(settings: Settings) -> Iterator[Broken]:
    for index, issuer in enumerate(settings.issuers):
        path = f"issuers.{index}"
        yield from _encrypted(settings, f"{path}.issuer", issuer.issuer)
        yield from _encrypted(settings, f"{path}.jwks_uri", issuer.jwks_uri)
        yield from _audiences(path, issuer)
        for number, name in enumerate(issuer.vouches_for):
            if name not in {other.name for other in settings.issuers}:
                yield Broken(path=f"{path}.vouches_for.{number}", message=f"there is no issuer '{name}' in issuers")
        for number, kind in enumerate(issuer.token_types):
            if kind != kind.lower():
                yield Broken(path=f"{path}.token_types.{number}", message="must be in lower case")


def _audiences(path: str, issuer: Issuer) -> Iterator[Broken]:
    if issuer.agents_audience is None and issuer.people_audience is None:
        yield Broken(path=path, message="needs agents_audience, people_audience or both; without one it is of no use")
    if issuer.agents_audience is not None and issuer.agents_audience == issuer.people_audience:
        # With one audience for both, an agent's own token opens the approvers' door.
        yield Broken(path=f"{path}.people_audience", message="must differ from agents_audience")
    if not issuer.algorithms:
        yield Broken(path=f"{path}.algorithms", message="must name at least one algorithm")


def _groups(settings: Settings) -> Iterator[Broken]:
    issuers = {issuer.name for issuer in settings.issuers}
    for name, group in settings.groups.items():
        for index, member in enumerate(group.members):
            issuer, _, subject = member.partition(":")
            path = f"groups.{name}.members.{index}"
            if not _SUBJECT.match(subject):
                yield Broken(path=path, message="must be an identity, '<issuer name>:<sub>'")
            elif issuer not in issuers:
                yield Broken(path=path, message=f"there is no issuer '{issuer}' in issuers")


def prefix_of(upstream: Upstream) -> str | None:
    """The path prefix in force at the agents' door; None where the upstream has a host to itself."""
    if upstream.prefix is None and upstream.host is None:
        return f"/{upstream.name}"
    return upstream.prefix


def _routes(settings: Settings) -> Iterator[Broken]:
    seen: list[tuple[str | None, str, str]] = []
    for index, upstream in enumerate(settings.upstreams):
        prefix, at = prefix_of(upstream), f"upstreams.{index}"
        if upstream.host is not None and not _HOST.match(upstream.host):
            yield Broken(path=f"{at}.host", message="must be a host name in lower case, 'host' or 'host:port'")
        if prefix is not None:
            yield from _prefix(f"{at}.prefix", prefix)
        for host, other, name in seen:
            if host == upstream.host and _overlap(prefix or "", other):
                key = "prefix" if prefix is not None else "host"
                yield Broken(path=f"{at}.{key}", message=f"overlaps with that of the upstream '{name}'")
        seen.append((upstream.host, prefix or "", upstream.name))


def _prefix(path: str, prefix: str) -> Iterator[Broken]:
    if not _PREFIX.match(prefix) or any(part in (".", "..") for part in prefix.split("/")):
        yield Broken(path=path, message="must be a path such as '/stripe', without a slash at its end")
    for reserved in RESERVED:
        if _overlap(prefix, reserved):
            yield Broken(path=path, message=f"'{reserved}' is Assentry's own; choose another prefix")


def _upstreams(settings: Settings) -> Iterator[Broken]:
    for index, upstream in enumerate(settings.upstreams):
        at = f"upstreams.{index}"
        yield from _destination(at, upstream)
        yield from _aws(at, upstream)
        for number, name in enumerate(upstream.headers):
            if not _HEADER.match(name):
                yield Broken(path=f"{at}.headers.{number}", message="must be a header name in lower case")
            elif name in _NEVER_FORWARDED or name.startswith(_NEVER_BEGINS):
                yield Broken(path=f"{at}.headers.{number}", message=f"'{name}' is never passed on")
        match upstream.credential:
            case ClientCredential(token_url=url):
                yield from _encrypted(settings, f"{at}.credential.token_url", url)
            case GithubAppCredential(api_url=url):
                yield from _encrypted(settings, f"{at}.credential.api_url", url or upstream.url)
            case HeaderCredential(header=header) if not _HEADER.match(header.lower()):
                yield Broken(path=f"{at}.credential.header", message="must be a header name")
            case AccountCredential(prefix=prefix) if prefix.startswith("system:"):
                # `system:masters` may do everything, and every node and controller is a `system:` user.
                yield Broken(path=f"{at}.credential.prefix", message="must not begin with 'system:'")
            case _:
                pass


def _aws(at: str, upstream: Upstream) -> Iterator[Broken]:
    if upstream.aws is None and isinstance(upstream.credential, AwsCredential):
        yield Broken(path=f"{at}.aws", message="is required with this credential: the service and the region")
    place = urlsplit(upstream.url)
    if upstream.aws is not None and place.path.strip("/"):
        yield Broken(path=f"{at}.url", message="is the endpoint of the service, without a path")
    if upstream.aws is not None and re.search(r"[^/]\.s3[.-]", place.netloc):
        # Paths would be read as bucket and key, and be keys of that bucket.
        yield Broken(
            path=f"{at}.url", message="is a bucket's; use the endpoint of the service, 's3.<region>.amazonaws.com'"
        )
    if (upstream.aws is None) is (upstream.connector == "aws"):
        yield Broken(path=f"{at}.connector", message="'aws' and the section 'aws' go together")


def _destination(at: str, upstream: Upstream) -> Iterator[Broken]:
    host = urlsplit(upstream.url).hostname or ""
    address = _address(host)
    if address is not None and address.is_link_local:
        # Cloud metadata lives there: 169.254.169.254.
        yield Broken(path=f"{at}.url", message="link-local addresses are never connected to")
    elif not upstream.private_networks and (_loopback(host) or (address is not None and address.is_private)):
        yield Broken(path=f"{at}.url", message="is on a private network; say 'private_networks: true' if that is meant")


def _store(settings: Settings) -> Iterator[Broken]:
    store = settings.store
    if store.encryption_key is None and store.url is not None:
        message = "is required with store.url: 32 bytes, base64, the same for every replica"
        yield Broken(path="store.encryption_key", message=message)
    if store.encryption_key is not None:
        yield from _seal("store.encryption_key", store.encryption_key)
    for index, former in enumerate(store.former_encryption_keys):
        yield from _seal(f"store.former_encryption_keys.{index}", former)


def _seal(path: str, key: SecretStr) -> Iterator[Broken]:
    try:
        raw = base64.b64decode(key.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        yield Broken(path=path, message="must be 32 bytes in base64; make one with 'openssl rand -base64 32'")


def _waits(settings: Settings) -> Iterator[Broken]:
    if settings.holds.wait_s > settings.holds.max_wait_s:
        yield Broken(path="holds.wait_s", message="is longer than holds.max_wait_s")
    if settings.holds.open_per_agent > settings.holds.open_total:
        yield Broken(path="holds.open_per_agent", message="is more than holds.open_total")


def _bodies(settings: Settings) -> Iterator[Broken]:
    limits = settings.limits
    if limits.bodies_bytes < limits.body_bytes:
        # A body of the largest size would be told to come again for ever.
        message = "must be at least limits.body_bytes, or the largest body has no room"
        yield Broken(path="limits.bodies_bytes", message=message)


RULES: tuple[Rule, ...] = (
    _names,
    _listeners,
    _agents,
    _approvers,
    _issuers,
    _groups,
    _routes,
    _upstreams,
    _store,
    _waits,
    _bodies,
)


def _repeated(section: str, key: str, names: Iterable[str]) -> Iterator[Broken]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            yield Broken(path=f"{section}.{index}.{key}", message=f"'{name}' is also that of {section}.{first[name]}")
        first.setdefault(name, index)


def _encrypted(settings: Settings, path: str, url: str | None) -> Iterator[Broken]:
    if url is None or settings.demo or url.startswith("https://") or _loopback(urlsplit(url).hostname or ""):
        return
    yield Broken(path=path, message="must be https://; plain http is for loopback only")


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
