"""Ledger records in a Redis stream: one entry a record, its line in the field `record`."""

from __future__ import annotations

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.sinks.port import SinkUnavailable


class RedisStream:
    """Adds batches with one round trip each and trims the stream to about `max_length` entries."""

    def __init__(self, *, url: str, stream: str, max_length: int, timeout_s: float) -> None:
        self._client = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._stream = stream
        self._max_length = max_length

    async def ship(self, lines: Sequence[bytes]) -> None:
        """See the port. A batch is one transaction: an answer means that all of it is in the stream."""
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                for line in lines:
                    pipeline.xadd(self._stream, {"record": line.rstrip(b"\n")}, maxlen=self._max_length)
                await pipeline.execute()
        except (RedisError, OSError) as exc:
            raise SinkUnavailable(f"stream {self._stream}: {type(exc).__name__}") from exc

    async def close(self) -> None:
        """Closes the connections."""
        try:
            await self._client.aclose()
        except (RedisError, OSError):
            return
