"""Which operation a JSON-RPC 2.0 call is: the method that it names, if the catalogue file lists it.

The list is closed and comes from the file, because JSON-RPC has no way to ask for it. A batch is refused: its answers
are one response, and nobody judges a batch as a whole. MCP is JSON-RPC too, and has a connector of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from connectors.apis import bodies, entries
from connectors.apis.bodies import Body, Document, Json, Malformed
from connectors.apis.entries import Section
from connectors.apis.finders import Asked, BadBody, Found, Spoken
from policy.operation import Operation

KEYS = frozenset({"path", "methods"})
_METHOD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?|/")
_TYPES = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})
_MEMBERS = frozenset({"jsonrpc", "method", "params", "id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where an upstream takes calls; as a function, it names them."""

    upstream: str
    path: str

    def __call__(self, asked: Asked) -> Found | BadBody | None:
        """The operation of a call; BadBody for what is not one request (section 4)."""
        target = asked.target
        media = bodies.media_type(dict(asked.headers).get("content-type"))
        if (target.method, target.path, target.query) != ("POST", self.path, ""):
            return None
        if media is None or media.name not in _TYPES:
            return None
        return self._named(_read(asked, media.name))

    def _named(self, body: Body) -> Found | BadBody:
        if isinstance(body, Malformed):
            return BadBody(detail=body.detail)
        root = body.root if isinstance(body, Document) else None
        if isinstance(root, list):
            return BadBody(detail="The body is a batch of JSON-RPC requests. Send one request in each call.")
        if not isinstance(root, dict) or root.get("jsonrpc") != "2.0" or not root.keys() <= _MEMBERS:
            return BadBody(detail="The body is not one JSON-RPC 2.0 request and nothing else.")
        method, params = root.get("method"), root.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict | list) or not _is_id(root.get("id")):
            return BadBody(detail="`method`, `params` or `id` of the JSON-RPC request is of the wrong type.")
        return Found(name=f"{self.upstream}:{method}", body=Document(root=_by_name(params)))


def spoken(section: Section, *, upstream: str) -> Spoken:
    """The methods that the file lists, each a write until the file says otherwise."""
    path = section.text("path") or "/"
    if not _PATH.fullmatch(path):
        section.fault("path", f'"{path}" is not the path of an endpoint')
    methods = section.texts("methods") or ()
    for name in methods:
        if not _METHOD.fullmatch(name) or name == "unknown":
            section.fault("methods", f'"{name}" cannot be an operation: letters, digits, dots, dashes and slashes')
    operations = tuple(_operation(upstream, name, path) for name in dict.fromkeys(methods))
    return Spoken(operations=operations, find=Server(upstream=upstream, path=path))


def _operation(upstream: str, method: str, path: str) -> Operation:
    made = entries.fresh(upstream, method, method="POST", template=f"{path} {method}")
    return replace(made, fields=(), summary=f"JSON-RPC {method}")


def _read(asked: Asked, media: str) -> Body:
    # The older names of the type are not read by `bodies`, which knows `application/json` alone.
    return asked.body if media == "application/json" else bodies.document(asked.raw, json_depth=64)


def _by_name(params: dict[str, Json] | list[Json]) -> dict[str, Json]:
    """Parameters by position are called by their number, from 0."""
    return params if isinstance(params, dict) else {str(number): value for number, value in enumerate(params)}


def _is_id(value: Json) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
