"""A small Kubernetes API server: enough discovery for kubectl, and pods that are listed, watched and deleted."""

from __future__ import annotations

import asyncio
import json

from tests.fakes.upstream import Answer, Hangup, Received, reply

PODS = ("web-1", "web-2")
_LISTS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "pods",
                "singularName": "pod",
                "shortNames": ["po"],
                "namespaced": True,
                "kind": "Pod",
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            },
            {
                "name": "pods/exec",
                "singularName": "",
                "namespaced": True,
                "kind": "PodExecOptions",
                "verbs": ["create"],
            },
        ],
    },
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.4"},
}


def pod(name: str) -> dict[str, object]:
    """A pod as the server shows it."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "7"},
        "spec": {"containers": [{"name": "app", "image": "shop:1"}]},
        "status": {"phase": "Running"},
    }


async def apiserver(received: Received, writer: asyncio.StreamWriter) -> None:
    """Answers one call; the upstream's `default`."""
    path, _, query = received.target.removeprefix("/kube").partition("?")
    if "watch=" in query:
        await _watched(writer)
        return
    await _answer(received.method, path.rstrip("/"))(received, writer)


def _answer(method: str, path: str) -> Answer:
    place = "/api/v1/namespaces/shop/pods"
    if method == "GET" and path in _LISTS:
        return _json(_LISTS[path])
    if method == "GET" and path == place:
        items = [pod(name) for name in PODS]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": items})
    name = path.removeprefix(f"{place}/")
    if method in {"GET", "DELETE"} and path.startswith(f"{place}/") and "/" not in name:
        return _json(pod(name))
    missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
    return _json({**missing, "message": "the server could not find the requested resource"}, status=404)


def _json(document: object, status: int = 200) -> Answer:
    return reply(status, json.dumps(document).encode(), ("content-type", "application/json"))


async def _watched(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    for name in PODS:
        line = json.dumps({"type": "ADDED", "object": pod(name)}).encode() + b"\n"
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await writer.drain()
    # It goes on until the client has seen enough: no last chunk.
    await asyncio.Event().wait()
    raise Hangup
