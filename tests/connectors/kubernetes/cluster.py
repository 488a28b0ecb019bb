"""The namer of an upstream `kube`, and calls for it."""

from __future__ import annotations

from pathlib import Path

from connectors.apis.catalogue import load
from connectors.apis.naming import Named, Namer
from policy.call import Target

JSON = "application/json"


def namer(catalogue: Path | None = None) -> Namer:
    """Of a server that serves what comes with Kubernetes, and what the file adds."""
    return Namer(load(catalogue, upstream="kube", connector="kubernetes"), scan_bytes=262_144, json_depth=64)


KUBE = namer()


def named(line: str, body: bytes = b"", *, content_type: str | None = JSON, by: Namer = KUBE) -> Named:
    """How `DELETE /api/v1/...` is named."""
    method, _, raw = line.partition(" ")
    path, _, query = raw.partition("?")
    headers = (("content-type", content_type),) if content_type is not None and body else ()
    found = by.name_call(Target(method=method, path=path, query=query), headers, body)
    assert isinstance(found, Named), found
    return found


def operation(line: str, body: bytes = b"", *, by: Namer = KUBE) -> str:
    """Its name, without the upstream's."""
    return named(line, body, by=by).operation.name.removeprefix("kube:")
