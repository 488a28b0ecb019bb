"""Headers that repeat what the body says (MCP 2026-07-28, Streamable HTTP, Request Metadata).

Whoever routes by a header and whoever acts on the body must come to the same. From 2026-07-28 on they are compared, and
a difference is an error; before it they mean nothing, and do not travel.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from connectors.apis.bodies import Json
from connectors.apis.mcp.messages import HEADER_MISMATCH, UNSUPPORTED_VERSION, Message, Notification, Request

MODERN = ("2026-07-28",)
"""Revisions without sessions, in which each message says its own version."""
LEGACY = ("2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions with an `initialize` and, perhaps, a session."""
VERSION, METHOD, NAME = "mcp-protocol-version", "mcp-method", "mcp-name"
SESSION, LAST_EVENT = "mcp-session-id", "last-event-id"
PARAM = "mcp-param-"
_MIRRORS = (METHOD, NAME)
_OF_SESSIONS = (SESSION, LAST_EVENT)
_OWN_VERSION = "io.modelcontextprotocol/protocolVersion"
_NAMED_BY: Mapping[str, str] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_CODED = re.compile(r"=\?base64\?(.*)\?=")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Why headers and body do not go together, as a JSON-RPC error."""

    code: int
    detail: str
    requested: str | None = None
    """The version that is not spoken here."""


def is_ours(name: str) -> bool:
    """Whether a header (lower case) belongs to this protocol."""
    return name in {VERSION, *_MIRRORS, *_OF_SESSIONS} or name.startswith(PARAM)


def is_modern(headers: Headers) -> bool:
    """Whether the call is of a revision whose headers repeat the body."""
    return any(name == VERSION and value in MODERN for name, value in headers)


def travelling(headers: Headers) -> Headers:
    """The headers without those that mean nothing in the revision that the call is of."""
    if is_modern(headers):
        return tuple(pair for pair in headers if pair[0] not in _OF_SESSIONS)
    return tuple(pair for pair in headers if pair[0] not in _MIRRORS and not pair[0].startswith(PARAM))


def mismatch(headers: Headers, message: Message | None) -> Mismatch | None:
    """What is wrong between headers (names in lower case) and the message; None where nothing is."""
    ours = [(name, value) for name, value in headers if is_ours(name)]
    said = dict(ours)
    if len(said) < len(ours):
        return _wrong("A header of the protocol stands twice.")
    version = said.get(VERSION)
    if version is not None and version not in (*MODERN, *LEGACY):
        detail = "This version of the protocol is not spoken here."
        return Mismatch(code=UNSUPPORTED_VERSION, detail=detail, requested=version)
    own = _version_of(message)
    if version not in MODERN:
        # A server that goes by the body would treat it as of the newer revision, with headers nobody compared.
        return _wrong(f"The body says that it is of {own!s:.40}, and the header {VERSION} does not.") if own else None
    # No notification of this revision is defined over HTTP, and so nothing that its headers would repeat.
    return _modern(said, message, own) if isinstance(message, Request) else None


def _modern(said: Mapping[str, str], message: Request, own: Json) -> Mismatch | None:
    if own != said[VERSION]:
        return _wrong(f"The header {VERSION} is not what the body says.")
    if said.get(METHOD) != message.method:
        return _wrong(f"The header {METHOD} is missing, or is not the method of the body.")
    key = _NAMED_BY.get(message.method)
    wanted = message.params.get(key) if key else None
    if (wanted is not None or NAME in said) and (NAME not in said or _decoded(said[NAME]) != wanted):
        return _wrong(f"The header {NAME} is missing, or is not the name in the body.")
    arguments = set(_scalars(message.params.get("arguments")))
    # Which argument a header repeats only the tool's definition says; that it repeats one at all is certain.
    for name, value in said.items():
        if name.startswith(PARAM) and _decoded(value) not in arguments:
            return _wrong(f"The header {name} repeats none of the arguments.")
    return None


def _version_of(message: Message | None) -> Json:
    meta = message.params.get("_meta") if isinstance(message, Request | Notification) else None
    return meta.get(_OWN_VERSION) if isinstance(meta, dict) else None


def _wrong(detail: str) -> Mismatch:
    return Mismatch(code=HEADER_MISMATCH, detail=detail)


def _decoded(value: str) -> str | None:
    coded = _CODED.fullmatch(value)
    if coded is None:
        return value
    try:
        plain = base64.b64decode(coded[1], validate=True)
        # One spelling only: decoders differ on stray bits.
        return plain.decode("utf-8") if base64.b64encode(plain).decode("ascii") == coded[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _scalars(node: Json) -> Iterator[str]:
    """Every scalar below a node as a header would repeat it."""
    stack = [node]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            stack.extend(one.values())
        elif isinstance(one, list):
            stack.extend(one)
        elif isinstance(one, bool):
            yield "true" if one else "false"
        elif isinstance(one, str | int | Decimal):
            yield str(one)
