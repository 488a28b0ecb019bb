"""Fetches one small JSON document from an issuer, over a connection that gives nothing away.

Decides which addresses may be asked and what an acceptable answer is; what the document says is the caller's to judge.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import aiohttp

from policy.reasons import Reason
from proxy.errors import Outage
from proxy.identity.jsontext import JsonObject, NotJson, json_object

LIMIT_BYTES = 256 * 1024
"""Largest document read (threat J6)."""
TIMEOUT_S = 3.0
"""For the whole exchange (threat J6)."""


def is_loopback(url: str) -> bool:
    """True when the URL's host is this machine by name or number, without asking DNS."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_fetch(url: str) -> bool:
    """True for https, and for plain http on loopback. Keys over plain http could be anyone's (threat J6)."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))


class Documents:
    """A client for issuers' documents: no redirects, cookies, proxies from the environment or compression."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        """`timeout_s` limits each whole exchange, seconds."""
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str) -> JsonObject:
        """The JSON object at `url`. Raises Outage(ISSUER_UNAVAILABLE) for every other outcome."""
        if not may_fetch(url):
            raise _unavailable("its address is neither https nor loopback")
        try:
            raw = await self._read(url)
            return json_object(raw)
        except NotJson as exc:
            raise _unavailable("it did not answer with a JSON object") from exc
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise _unavailable("it did not answer") from exc

    async def close(self) -> None:
        """Closes the connections. The next fetch opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _read(self, url: str) -> bytes:
        if self._session is None:
            self._session = _session(self._timeout_s)
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise _unavailable(f"it answered with status {response.status}")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                # Asked for plain; what comes compressed could grow without limit.
                raise _unavailable("it answered with a compressed document")
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > LIMIT_BYTES:
                    raise _unavailable("its document is too large")
            return bytes(body)


def _session(timeout_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "assentry"},
    )


def _unavailable(what: str) -> Outage:
    return Outage(Reason.ISSUER_UNAVAILABLE, f"The issuer could not be asked for its keys: {what}.")
