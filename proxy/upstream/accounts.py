"""What is attached to a call to Kubernetes: a service account's token from its file, and in whose name it acts.

The kubelet writes a new token into the file before the old one ends, so the file is read again every few seconds, in a
thread. Impersonation (Impersonate-User, -Group) is made from the verified principal of the call and from nothing else;
what an agent sends under such names never travels.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from config.settings import AccountCredential, InNameOf, Upstream
from policy.principal import Principal
from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage

READ_AGAIN_S = 10.0
"""A projected token is replaced when a fifth of its life, ten minutes at the least, is still to come."""
LARGEST_BYTES = 64 * 1024

_TOKEN = re.compile(rb"[\x21-\x7e]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass(slots=True, kw_only=True)
class _Kept:
    token: bytes = field(repr=False)
    good_until: float


class TokenFiles:
    """The tokens of service accounts, as their files held them a moment ago."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._now = now
        self._kept: dict[Path, _Kept] = {}

    def at_hand(self, file: Path) -> bytes | None:
        """The token, where it was read a moment ago."""
        kept = self._kept.get(file)
        return kept.token if kept is not None and self._now() < kept.good_until else None

    async def read(self, file: Path, *, upstream: str) -> bytes:
        """The token in the file. Raises Outage where there is none to be had."""
        token = self.at_hand(file)
        if token is not None:
            return token
        try:
            token = (await asyncio.to_thread(_content, file)).strip()
        except OSError as exc:
            raise _unavailable(upstream, f"its token file cannot be read ({type(exc).__name__})") from exc
        if not _TOKEN.fullmatch(token):
            raise _unavailable(upstream, "its token file holds no token")
        self._kept[file] = _Kept(token=token, good_until=self._now() + READ_AGAIN_S)
        return token


def in_name_of(upstream: Upstream, principal: Principal) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that say for whom the account acts; none where the settings do not want any.

    Raises OperatorFault where somebody is to be named and cannot be: then nothing is sent in the account's own name.
    """
    account = upstream.credential
    if not isinstance(account, AccountCredential) or account.impersonate is InNameOf.NOBODY:
        return ()
    match account.impersonate:
        case InNameOf.AGENT:
            name: str | None = principal.agent
        case InNameOf.SUBJECT:
            name = principal.subject
        case _:
            assert_never(account.impersonate)
    if name is None:
        raise _unnamed(upstream.name, "it acts in the name of people, and this call is on nobody's behalf")
    groups = [(b"impersonate-group", _written(upstream.name, account, group)) for group in sorted(principal.groups)]
    return ((b"impersonate-user", _written(upstream.name, account, name)), *groups)


def _written(upstream: str, account: AccountCredential, name: str) -> bytes:
    # The prefix keeps every name of ours apart from `system:masters` and whatever else the cluster gives powers to.
    value = account.prefix + name
    if not _VALUE.fullmatch(value):
        raise _unnamed(upstream, "a name or group of the caller cannot stand in a header")
    return value.encode("ascii")


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST_BYTES)


def _unavailable(upstream: str, why: str) -> Outage:
    detail = f"The credential for upstream '{upstream}' is not to be had: {why}. Nothing was sent."
    return Outage(Reason.CREDENTIAL_UNAVAILABLE, detail)


def _unnamed(upstream: str, why: str) -> OperatorFault:
    detail = f"The credential for upstream '{upstream}' cannot be used: {why}. Nothing was sent."
    return OperatorFault(Reason.CREDENTIAL_UNAVAILABLE, detail)
