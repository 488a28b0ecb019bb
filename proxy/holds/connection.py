"""The way to the store: one pool of connections, one limit of time, one kind of failure.

Everything that is shared goes through a `StoreConnection`: holds, counters, keys, sessions, deny lists. Whatever the
client library or the socket raises becomes `Outage` here and nowhere else. What is stored under which key is decided
by those who call.

To add a script: put `<name>.lua` into `proxy/holds/scripts`, first line `#!lua` (the server then refuses it whole when
memory is short); name every key it touches in KEYS, all of one hash tag, so that it runs on a cluster; take the time
from `redis.call('TIME')`, never from an argument; load it once, at module level, with `NAME = load("<name>")`, and run
it with `connection.script(NAME, keys=..., args=...)`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.exceptions import NoScriptError, RedisError

from config import settings
from policy.reasons import Reason
from proxy.errors import BrokenPromise, OperatorFault, Outage
from proxy.holds import servers

log = logging.getLogger("assentry.holds")

Word: TypeAlias = str | bytes | int | float
Reply: TypeAlias = "bytes | int | list[Reply] | None"
Command: TypeAlias = tuple[Word, ...]

_SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A Lua script and the digest by which a server knows it."""

    name: str
    source: str
    digest: str

    def on(self, *, keys: Sequence[str], args: Sequence[Word] = ()) -> Command:
        """The command that runs it, for `StoreConnection.together`."""
        return ("EVALSHA", self.digest, len(keys), *keys, *args)


_sources: dict[str, str] = {}
"""Sources by digest, filled as modules load their scripts: a server that restarted has forgotten them all."""


def load(name: str) -> Script:
    """The script of that name in `proxy/holds/scripts`. For module level; a missing one is an error at import."""
    source = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
    # The Redis protocol names scripts by SHA-1; nothing rests on it.
    script = Script(name=name, source=source, digest=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
    _sources[script.digest] = source
    return script


class StoreConnection:
    """The shared store as commands and scripts. Every failure is an `Outage`; nothing is ever sent twice by itself."""

    def __init__(
        self, client: Redis | RedisCluster, *, namespace: str, timeout_s: float, replicas_to_ack: int = 0
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._replicas_to_ack = replicas_to_ack
        self._complained_at = float("-inf")

    def key(self, tag: str, kind: str) -> str:
        """`<namespace>:{<tag>}:<kind>`: keys of one tag are on one node of a cluster."""
        return f"{self._namespace}:{{{tag}}}:{kind}"

    @property
    def moved_channel(self) -> str:
        """The channel on which the ids of moved holds are published."""
        return f"{self._namespace}:moved"

    async def command(self, *words: Word) -> Reply:
        """The raw answer to one command: bytes, whole numbers, None, or lists of these. Raises `Outage`."""
        with self._translated():
            async with asyncio.timeout(self._timeout_s):
                return cast("Reply", await self._client.execute_command(*words))

    async def script(
        self, script: Script, *, keys: Sequence[str], args: Sequence[Word] = (), durable: bool = False
    ) -> Reply:
        """The script's answer. `durable`: see `together`."""
        if durable and self._replicas_to_ack:
            return (await self.together(script.on(keys=keys, args=args), durable=True))[0]
        with self._translated():
            async with asyncio.timeout(self._timeout_s):
                return await self._evaluated(script.on(keys=keys, args=args))

    async def together(self, *commands: Command, durable: bool = False) -> list[Reply]:
        """The answers to several commands that went out in one write, in order. Not atomic.

        `durable`: waits until `replicas_to_ack` replicas have them too. When too few do, raises `Outage`: the commands
        may or may not stand, so read again before going on.
        """
        with self._translated():
            async with asyncio.timeout(self._timeout_s * 2 if durable else self._timeout_s):
                if isinstance(self._client, RedisCluster):
                    # The keys are on different nodes; a pipeline would only hide that.
                    return [await self._evaluated(words) for words in commands]
                return await self._piped(self._client, commands, durable=durable and self._replicas_to_ack > 0)

    async def scan(self, pattern: str) -> AsyncIterator[str]:
        """Every key that matches, on every node; some perhaps twice (SCAN promises no more)."""
        with self._translated():
            async with asyncio.timeout(self._timeout_s):
                nodes = await servers.primaries(self._client)
        for node in nodes:
            cursor = 0
            while True:
                with self._translated():
                    async with asyncio.timeout(self._timeout_s):
                        reply = await node.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", 500)
                for key in reply[1]:
                    yield text(key)
                cursor = int(reply[0])
                if cursor == 0:
                    break

    @asynccontextmanager
    async def subscription(self) -> AsyncIterator[PubSub]:
        """A pub/sub connection of its own, subscribed to the moves of holds."""
        client = await servers.single(self._client) if isinstance(self._client, RedisCluster) else self._client
        pubsub = client.pubsub()
        try:
            with self._translated():
                async with asyncio.timeout(self._timeout_s):
                    await pubsub.subscribe(self.moved_channel)
            yield pubsub
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            if client is not self._client:
                await client.aclose()

    async def ping(self) -> None:
        """Returns when the store answers; raises `Outage` when it does not in time."""
        await self.command("PING")

    async def close(self) -> None:
        """Closes every connection of the pool."""
        await servers.close(self._client)

    async def check(self) -> None:
        """Returns when the server may keep holds: new enough, append-only file on, never evicting."""
        await servers.check(self._client, timeout_s=self._timeout_s)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except servers.FAILURES as exc:
            # Once a second: a store that is down fails every call, and the log must not drown in it.
            if time.monotonic() - self._complained_at > 1:
                self._complained_at = time.monotonic()
                log.warning("the store did not answer: %s", type(exc).__name__)
            raise Outage(Reason.STORE_UNAVAILABLE, "The store did not answer. Nothing was sent; try again.") from exc

    async def _evaluated(self, words: Command) -> Reply:
        try:
            return cast("Reply", await self._client.execute_command(*words))
        except NoScriptError:
            return cast("Reply", await self._client.execute_command(*_spelled_out(words)))

    async def _piped(self, client: Redis, commands: Sequence[Command], *, durable: bool) -> list[Reply]:
        replies = await self._written(client, commands, durable=durable)
        missing = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if missing:
            again = await self._written(client, [_spelled_out(commands[n]) for n in missing], durable=durable)
            for n, reply in zip(missing, again, strict=True):
                replies[n] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return cast("list[Reply]", replies)

    async def _written(self, client: Redis, commands: Sequence[Command], *, durable: bool) -> list[Reply | RedisError]:
        async with client.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            if durable:
                # On the same connection: WAIT speaks of the writes of the connection that asks.
                pipe.execute_command("WAIT", self._replicas_to_ack, max(1, int(self._timeout_s * 1000)))
            replies = cast("list[Reply | RedisError]", await pipe.execute(raise_on_error=False))
        if not durable:
            return replies
        acknowledged = replies.pop()
        if not isinstance(acknowledged, int) or acknowledged < self._replicas_to_ack:
            log.error("a write was acknowledged by fewer than %d store replicas", self._replicas_to_ack)
            raise Outage(
                Reason.STORE_UNAVAILABLE,
                "Too few replicas of the store acknowledged the write. Read the call's state before trying again.",
            )
        return replies


def connect(store: settings.Store, *, url: str) -> StoreConnection:
    """A connection to the server, Sentinel group or cluster at `url`. Connects on first use."""
    if store.replicas_to_ack and servers.is_cluster(url):
        raise OperatorFault(
            Reason.STORE_UNAVAILABLE,
            "store.replicas_to_ack cannot be used with a cluster; set min-replicas-to-write on its nodes instead.",
        )
    client = servers.client(url, timeout_s=store.timeout_s)
    return StoreConnection(
        client, namespace=store.namespace, timeout_s=store.timeout_s, replicas_to_ack=store.replicas_to_ack
    )


def text(reply: Reply) -> str:
    """The reply as text."""
    return reply.decode() if isinstance(reply, bytes) else _unexpected("text")


def whole(reply: Reply) -> int:
    """The reply as a whole number."""
    if isinstance(reply, int):
        return reply
    return int(reply) if isinstance(reply, bytes) else _unexpected("a number")


def listed(reply: Reply) -> list[Reply]:
    """The reply as a list."""
    return reply if isinstance(reply, list) else _unexpected("a list")


def _unexpected(wanted: str) -> NoReturn:
    raise BrokenPromise(Reason.INTERNAL, f"The store answered something else than {wanted}.")


def _spelled_out(words: Command) -> Command:
    return ("EVAL", _sources[str(words[1])], *words[2:])
