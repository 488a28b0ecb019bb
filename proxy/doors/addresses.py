"""Which Host names are ours, where a listener is found, and from which address a call came.

A Host chooses among what is configured; it never names where a call is sent (threats.md F7).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from config.settings import Settings, Tls

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_PORT = re.compile(r":[0-9]{1,5}$")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def host_name(host: str) -> str:
    """A Host without its port."""
    return _PORT.sub("", host)


def own_hosts(settings: Settings) -> frozenset[str]:
    """Every Host value that is answered: with a port, exactly; without, on any port."""
    hosts = {upstream.host.lower() for upstream in settings.upstreams if upstream.host}
    if settings.agents.hosts:
        return frozenset(hosts | {host.lower() for host in settings.agents.hosts})
    hosts |= _LOOPBACK | {settings.agents.listen.lower()}
    if settings.agents.public_url:
        hosts.add(urlsplit(settings.agents.public_url).netloc.lower())
    return frozenset(hosts)


def is_own_host(host: str, *, hosts: frozenset[str]) -> bool:
    """Whether a lower-case Host is well formed and among ours."""
    return bool(_HOST.fullmatch(host)) and (host in hosts or host_name(host) in hosts)


def base_url(address: tuple[str, int], *, tls: Tls | None) -> str:
    """The base URL of a listener at this address."""
    host, port = address
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"{'https' if tls else 'http'}://{where}"


def peer_address(address: str, *, forwarded: str, trusted: tuple[str, ...]) -> str:
    """The nearest address that is not a trusted proxy's; what untrusted hops say of others is not believed.

    `forwarded` is the value of X-Forwarded-For; `trusted` are networks in CIDR form.
    """
    if not (trusted and forwarded):
        return address
    networks = [ipaddress.ip_network(network, strict=False) for network in trusted]
    peer = address
    for hop in reversed(forwarded.split(",")):
        if not _within(peer, networks):
            break
        candidate = hop.strip()
        if not _is_address(candidate):
            break
        peer = candidate
    return peer


def _within(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
