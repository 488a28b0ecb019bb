"""One JSON-RPC message of the Model Context Protocol, read so that no other reader can take it for another one.

Decides what a body is: a request, a notification, a response, or none of them. A batch is none: only one revision had
them, and nobody judges a batch as a whole. What a message is called in policies is `finding`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.apis.bodies import Body, Document, Json, Malformed, Nothing

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
"""JSON-RPC 2.0 section 5.1; the last two are MCP's own (2026-07-28, Overview, Error Codes)."""

MessageId = int | str

_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_$./-]{0,127}")
_ID_CHARS = 256
_SAFE_INTEGERS = range(-(2**53) + 1, 2**53)
"""Beyond it a JavaScript peer would answer to another id (RFC 8259 section 6)."""
_OF_REQUESTS = frozenset({"jsonrpc", "id", "method", "params"})
_OF_RESPONSES = frozenset({"jsonrpc", "id", "result", "error"})
_DECIDING = ("name", "uri", "arguments", "cursor", "ref", "_meta", "inputResponses", "requestState", "task")
_EXACT: Mapping[str, str] = {word.casefold(): word for word in _DECIDING}
"""Parameters by which a server decides what to do. A decoder that does not heed case (Go's) takes `Name` for `name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A message that is owed an answer."""

    id: MessageId
    method: str
    params: Mapping[str, Json]

    @property
    def progress_token(self) -> MessageId | None:
        """What the sender wants to be told of progress under."""
        meta = self.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        return token if _is_id(token) and isinstance(token, int | str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message that is not."""

    method: str
    params: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer to a request of the other side."""

    id: MessageId | None
    result: Json
    error: Json = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing but that its sender is there: the answer to a ping."""
        return self.error is None and self.result == {}


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMessage:
    """Why this is not one message, as a JSON-RPC error."""

    code: int
    detail: str
    id: MessageId | None = None
    """Of the message, as far as that much could be read."""


Message = Request | Notification | Response


def read(body: Body) -> Message | NoMessage:
    """The one message in a body."""
    match body:
        case Document(root=dict() as root):
            return _message(root)
        case Document(root=list()):
            return NoMessage(code=INVALID_REQUEST, detail="Send one JSON-RPC message at a time; batches are refused.")
        case Malformed(detail=detail):
            return NoMessage(code=PARSE_ERROR, detail=detail)
        case Nothing():
            return NoMessage(code=INVALID_REQUEST, detail="There is no JSON-RPC message in the body.")
        case _:
            return NoMessage(code=INVALID_REQUEST, detail="Send one JSON-RPC message, as application/json.")


def _message(root: Mapping[str, Json]) -> Message | NoMessage:
    ident = root.get("id")
    known = ident if isinstance(ident, int | str) and _is_id(ident) else None
    if root.get("jsonrpc") != "2.0":
        return NoMessage(code=INVALID_REQUEST, detail='The message does not say "jsonrpc": "2.0".', id=known)
    if "method" not in root:
        return _response(root, known)
    if not root.keys() <= _OF_REQUESTS:
        return NoMessage(code=INVALID_REQUEST, detail="The message has members that no request has.", id=known)
    method, params = root["method"], root.get("params", {})
    if not (isinstance(method, str) and _METHOD.fullmatch(method)):
        return NoMessage(code=INVALID_REQUEST, detail="The method is not a name.", id=known)
    if not isinstance(params, dict) or _ambiguous(params):
        detail = "The parameters are not an object, or have a name in two spellings."
        return NoMessage(code=INVALID_PARAMS, detail=detail, id=known)
    if "id" not in root:
        return Notification(method=method, params=params)
    if known is None:
        return NoMessage(code=INVALID_REQUEST, detail="The id is neither a whole number nor a short text.")
    return Request(id=known, method=method, params=params)


def _response(root: Mapping[str, Json], known: MessageId | None) -> Response | NoMessage:
    wrong = not root.keys() <= _OF_RESPONSES or ("result" in root) == ("error" in root)
    # An error may come without an id, where the request could not be read that far.
    if wrong or "id" not in root or (known is None and ("result" in root or root["id"] is not None)):
        return NoMessage(code=INVALID_REQUEST, detail="This is neither a request nor a response.", id=known)
    return Response(id=known, result=root.get("result"), error=root.get("error"))


def _is_id(value: Json) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value in _SAFE_INTEGERS
    return isinstance(value, str) and len(value) <= _ID_CHARS


def _ambiguous(params: Mapping[str, Json]) -> bool:
    folded = [key.casefold() for key in params]
    if len(set(folded)) < len(folded):
        return True
    return any(_EXACT.get(fold, key) != key for key, fold in zip(params, folded, strict=True))
