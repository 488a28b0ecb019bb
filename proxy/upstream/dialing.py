"""Opens connections to an upstream: resolves, refuses addresses of the wrong class, connects to the one it checked.

Decides which addresses may be connected to, and does so at the moment of connecting: a name that leads somewhere else
tomorrow is refused tomorrow. Which upstreams exist is for `config` to say, how many connections there are for the pool.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from urllib.parse import urlsplit

from config.settings import Upstream
from policy.reasons import Reason
from proxy.errors import NotSent, OperatorFault
from proxy.upstream.connection import Connection

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host and port, as text, best first. Raises OSError."""

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
    )
)
"""Where clouds hand out credentials to whoever asks, beside 169.254.0.0/16."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer for a host, literal addresses included."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(where[0]) for *_, where in found]


def refused(text: str, *, private_networks: bool) -> str | None:
    """Why this address may not be connected to; None: it may be."""
    address = _innermost(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_link_local or address in METADATA:
        return "a link-local or cloud metadata address"
    if address.is_unspecified or address.is_multicast or (address.is_reserved and not address.is_loopback):
        return "not the address of one host"
    inside = not address.is_global or (isinstance(address, IPv6Address) and address.is_site_local)
    if inside and not private_networks:
        return "a loopback or private address, and private_networks is off"
    return None


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    # An IPv4 address in IPv6 clothes (RFC 4291 2.5.5.2, RFC 3056, RFC 6052) leads where the IPv4 address leads.
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


class Dialer:
    """Opens checked connections to one upstream."""

    def __init__(self, upstream: Upstream, *, resolve: Resolve = resolve, system_roots: bool = False) -> None:
        parts = urlsplit(upstream.url)
        self._name = upstream.name
        self._host = parts.hostname or ""
        self._tls = _trust(upstream.ca_file, system_roots=system_roots) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._private_networks = upstream.private_networks
        self._limit_s = upstream.connect_timeout_s
        self._resolve = resolve

    async def dial(self, connection: Callable[[], Connection]) -> Connection:
        """A new connection to the first allowed address that answers. Raises NotSent."""
        try:
            addresses = await self._resolve(self._host, self._port)
        except (OSError, UnicodeError) as exc:
            raise self._not_sent("its name could not be resolved") from exc
        return await self._first(self._allowed(addresses), connection)

    def _allowed(self, addresses: Sequence[str]) -> list[str]:
        why = "its name has no address"
        allowed = []
        for address in dict.fromkeys(addresses):
            refusal = refused(address, private_networks=self._private_networks)
            if refusal is None:
                allowed.append(address)
            else:
                why = f"it is at {refusal}"
        if not allowed:
            raise self._not_sent(why)
        return allowed

    async def _first(self, addresses: list[str], connection: Callable[[], Connection]) -> Connection:
        *others, last = addresses
        for address in others:
            try:
                # Nothing was written yet, so the next address may be tried while there is time for it.
                async with asyncio.timeout(self._limit_s / len(addresses)):
                    return await self._open(address, connection)
            except OSError:
                continue
        try:
            return await self._open(last, connection)
        except ssl.SSLError as exc:
            raise self._not_sent("TLS could not be agreed, or its certificate is not trusted") from exc
        except OSError as exc:
            raise self._not_sent("it does not take connections") from exc

    async def _open(self, address: str, connection: Callable[[], Connection]) -> Connection:
        # INVARIANT: a literal address goes in, so that nothing is resolved a second time (DNS rebinding).
        _, opened = await asyncio.get_running_loop().create_connection(
            connection,
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
            ssl_handshake_timeout=self._limit_s if self._tls else None,
        )
        return opened

    def _not_sent(self, why: str) -> NotSent:
        return NotSent(
            Reason.UPSTREAM_UNREACHABLE, f"Upstream '{self._name}' was not reached: {why}. Nothing was sent."
        )


def _trust(ca_file: Path | None, *, system_roots: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if ca_file and system_roots:
            context.load_default_certs()
    except OSError as exc:
        raise OperatorFault(Reason.INTERNAL, f"The CA file '{ca_file}' cannot be used: {exc.strerror}.") from exc
    context.set_alpn_protocols(["http/1.1"])
    return context
