"""Which store a URL means, and whether it may be trusted with holds.

| URL | meaning |
|---|---|
| `redis://`, `rediss://`, `unix://` | one server |
| `redis+sentinel://h1:26379,h2:26379/<group>` (`rediss+sentinel://`) | the group's present primary |
| `redis+cluster://h1:6379` (`rediss+cluster://`) | a cluster |

Does not translate failures of commands (`connection` does), and starts nothing (`embedded` does).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage

log = logging.getLogger("assentry.holds")

FAILURES: Final = (RedisError, RedisClusterException, OSError)
"""What the client library raises. A timeout is an OSError; a cluster's own exception is, oddly, no RedisError."""
_CONNECTIONS: Final = 64
"""Per process. A command takes about 0.1 ms, so this bounds bursts, not throughput."""
_OLDEST: Final = 7
"""Script flags and effects replication as used here: Redis 7.0, Valkey 7.2."""


def is_cluster(url: str) -> bool:
    """Whether the URL names a cluster."""
    return url.partition("://")[0].endswith("+cluster")


def client(url: str, *, timeout_s: float) -> Redis | RedisCluster:
    """A client for the URL, not yet connected, that never repeats a command by itself and answers raw replies."""
    try:
        made = _client(url, timeout_s)
    except (ValueError, KeyError) as exc:
        raise OperatorFault(
            Reason.STORE_UNAVAILABLE,
            "store.url is not a redis://, rediss://, unix://, …+sentinel:// or …+cluster:// URL.",
        ) from exc
    # Raw replies everywhere: one shape for servers, clusters and pipelines. The cluster client reads its map itself.
    for name in tuple(made.response_callbacks):
        if not name.startswith(("CLUSTER", "COMMAND")):
            del made.response_callbacks[name]
    return made


def _client(url: str, timeout_s: float) -> Redis | RedisCluster:
    scheme, _, rest = url.partition("://")
    plain, _, kind = scheme.partition("+")
    if kind == "sentinel":
        return _sentinel(f"{plain}://{rest}", timeout_s)
    if kind == "cluster":
        return RedisCluster.from_url(
            f"{plain}://{rest}",
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
    if kind:
        raise ValueError(kind)
    return Redis.from_pool(BlockingConnectionPool(timeout=timeout_s, max_connections=_CONNECTIONS, **_options(url)))


def _options(url: str) -> dict[str, Any]:
    # No limits of the library's own: every command stands under one `asyncio.timeout` (connection.py). No retries:
    # a move that was sent twice would lose the race against itself.
    return {
        **parse_url(url),
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }


def _sentinel(url: str, timeout_s: float) -> Redis:
    parts = urlsplit(url)
    group = parts.path.strip("/")
    if not group:
        raise ValueError(url)
    # The host list is not a URL authority, so the rest is parsed with one host in its place.
    login, _, hosts = parts.netloc.rpartition("@")
    options = _options(parts._replace(netloc=f"{login}@sentinel" if login else "sentinel", path="").geturl())
    options.pop("host", None)
    secure = options.pop("connection_class", None) is not None
    addresses = [(host.rpartition(":")[0] or host, int(host.rpartition(":")[2] or 26379)) for host in hosts.split(",")]
    limits = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    group_of = Sentinel(addresses, sentinel_kwargs=limits)  # type: ignore[no-untyped-call]
    primary: Redis = group_of.master_for(group, ssl=secure, **options)
    return primary


async def single(cluster: RedisCluster) -> Redis:
    """A plain client of any one node: what is published on one node of a cluster reaches all."""
    try:
        await cluster.initialize()
    except FAILURES as exc:
        raise Outage(Reason.STORE_UNAVAILABLE, "The store did not answer.") from exc
    node = cluster.get_random_node()
    known = node.connection_kwargs
    login = {name: known[name] for name in ("username", "password") if name in known}
    scheme = "rediss" if issubclass(node.connection_class, SSLConnection) else "redis"
    return Redis.from_url(f"{scheme}://{node.host}:{node.port}", **_options(f"{scheme}://"), **login)


async def close(store: Redis | RedisCluster) -> None:
    """Closes every connection, also those to the Sentinels, which the library leaves open."""
    await store.aclose()
    if isinstance(store, Redis) and isinstance(store.connection_pool, SentinelConnectionPool):
        for sentinel in store.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


async def check(store: Redis | RedisCluster, *, timeout_s: float) -> None:
    """Returns when every node is new enough, keeps an append-only file and never evicts; else `OperatorFault`.

    Debian's default (snapshots only) lost 2,000 of 2,000 acknowledged writes at kill -9.
    """
    try:
        async with asyncio.timeout(timeout_s * 3):
            for node in await primaries(store):
                await _check_node(node)
    except FAILURES as exc:
        raise Outage(Reason.STORE_UNAVAILABLE, "The store did not answer the questions of the start-up check.") from exc


async def primaries(store: Redis | RedisCluster) -> list[Redis | ClusterNode]:
    """Every node that takes writes. Raises what the client library raises."""
    if not isinstance(store, RedisCluster):
        return [store]
    await store.initialize()
    return list(store.get_primaries())


async def _check_node(node: Redis | ClusterNode) -> None:
    info: bytes = await node.execute_command("INFO", "server")
    lines = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    version = lines.get("valkey_version") or lines.get("redis_version", "0")
    if int(version.split(".")[0]) < _OLDEST:
        raise OperatorFault(
            Reason.STORE_UNAVAILABLE, f"The store runs version {version}; Redis or Valkey {_OLDEST} or later is needed."
        )
    if await _setting(node, "appendonly") == "no":
        raise OperatorFault(
            Reason.STORE_UNAVAILABLE,
            "The store keeps no append-only file, so a restart would lose decisions. Set `appendonly yes`.",
        )
    policy = await _setting(node, "maxmemory-policy")
    if policy not in {None, "noeviction"} and await _setting(node, "maxmemory") != "0":
        raise OperatorFault(
            Reason.STORE_UNAVAILABLE,
            f"The store may evict keys (maxmemory-policy {policy}), so holds could vanish. Set `noeviction`.",
        )


async def _setting(node: Redis | ClusterNode, name: str) -> str | None:
    try:
        reply: list[bytes] = await node.execute_command("CONFIG GET", name)
    except ResponseError:
        # Hosted stores forbid CONFIG. Their durability is then the operator's word.
        log.warning("the store forbids CONFIG: could not check %s", name)
        return None
    return reply[1].decode() if len(reply) == 2 else None
