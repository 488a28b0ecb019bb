"""The sinks of the settings, each ready to be shipped to. How they take records is `connectors.sinks`' business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from config import settings as config
from connectors.sinks.file import AppendedFile
from connectors.sinks.port import Sink
from connectors.sinks.redis_stream import RedisStream
from connectors.sinks.stdout import StandardOutput
from policy.reasons import Reason
from proxy.errors import OperatorFault


def sinks_of(settings: config.Settings) -> Mapping[str, Sink]:
    """By name. Raises OperatorFault for settings that name no place, OSError for one that cannot be opened."""
    return {f"{n}-{sink.kind}": _sink(sink, settings) for n, sink in enumerate(settings.ledger.sinks)}


def _sink(sink: config.Sink, settings: config.Settings) -> Sink:
    limit_s = settings.store.timeout_s
    match sink:
        case config.StdoutSink():
            return StandardOutput(timeout_s=limit_s)
        case config.FileSink():
            return AppendedFile(sink.path)
        case config.RedisStreamSink():
            url = sink.url or settings.store.url
            if url is None:
                detail = "A redis-stream sink needs its own `url` when the store is embedded."
                raise OperatorFault(Reason.LEDGER_UNAVAILABLE, detail)
            return RedisStream(url=url, stream=sink.stream, max_length=sink.max_length, timeout_s=limit_s)
        case _:
            assert_never(sink)
