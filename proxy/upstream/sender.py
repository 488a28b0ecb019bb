"""The only way out: attaches the credential and sends one call, once.

Whoever calls `send` has already recorded the intent. Nothing here retries, and nothing here decides.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from config.settings import AccountCredential, ClientCredential, Upstream
from policy.call import Call
from proxy.upstream.credentials import Attached, Credentials
from proxy.upstream.forward import answer_headers, outgoing
from proxy.upstream.pool import Response, Told, Upload, UpstreamPool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An upstream's response head, fit for the agent, and its body to come."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: Callable[[], AsyncGenerator[bytes, None]]
    """The body, once. Raises BrokeOff where it is cut; closing it early closes the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A call with its credential, as bytes: everything but the moment."""

    upstream: Upstream
    attached: Attached
    method: str
    wire: bytes = field(repr=False)
    pool: UpstreamPool
    lasting: bool
    """Whether its credential is the settings' own, which changes with a restart only."""

    def begin(self, told: Told) -> bool:
        """Sends it now and tells what came of it; False where that needs waiting, and then nothing was sent."""
        return self.pool.begin(self.wire, self.method, told)


def answered(response: Response, attached: Attached) -> Answered:
    """What an agent may see of a response."""
    headers = answer_headers(response, attached)
    return Answered(status=response.status, headers=headers, chunks=response.chunks)


class Sender:
    """Sends calls to the configured upstreams."""

    def __init__(self, upstreams: Mapping[str, Upstream], *, credentials: Credentials) -> None:
        self._upstreams = upstreams
        self._pools = {name: UpstreamPool(upstream) for name, upstream in upstreams.items()}
        self._credentials = credentials

    def places(self, upstream: str) -> int:
        """How many calls this upstream is sent at once at most."""
        known = self._upstreams.get(upstream)
        return known.connections if known else 1

    async def send(
        self, call: Call, body: bytes | Upload, *, fresh: bool = False, cleared: Awaitable[object] | None = None
    ) -> Answered:
        """The upstream's answer to this call. What an upload raises is raised here.

        Raises an Outage while it is certain that nothing was sent, and BrokeOff from the first byte on. `fresh` takes
        a new connection: an approved call must not be spoilt by a kept one that the upstream is just closing. It is
        dialled while `cleared` is waited for; nothing is written before that has come back.
        """
        upstream = self._upstreams[call.upstream]
        attached = await self._credentials.resolve(upstream, target=call.target)
        message = outgoing(upstream, call, body, attached)
        if attached.sign is not None:
            message = attached.sign(message)
        response = await self._pools[call.upstream].send(message, fresh=fresh, cleared=cleared)
        return answered(response, attached)

    def ready(self, call: Call, body: bytes) -> Ready | None:
        """The call as it would be sent at once; None where a credential has to be fetched or made first.

        Raises OperatorFault and BrokenPromise as `send` does.
        """
        upstream = self._upstreams[call.upstream]
        attached = self._credentials.at_hand(upstream)
        if attached is None or attached.sign is not None:
            return None
        message = outgoing(upstream, call, body, attached)
        return Ready(
            upstream=upstream,
            attached=attached,
            method=message.method,
            wire=message.wire(),
            pool=self._pools[upstream.name],
            lasting=not isinstance(upstream.credential, ClientCredential | AccountCredential),
        )

    def stands(self, ready: Ready) -> bool:
        """Whether its credential is still the one to be sent."""
        return ready.lasting or self._credentials.at_hand(ready.upstream) is ready.attached

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.close()
