"""What a server's message may say on its way to an agent.

Decides by the message alone: answers and notifications pass, and so does a ping. What a server asks of a client
(its model, its person, its files) passes only where the catalogue file lets it: an agent that answers such a question
acts, and nobody here judged that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import assert_never

from connectors.apis import bodies
from connectors.apis.bodies import Document, Json
from connectors.apis.mcp import tools
from connectors.apis.mcp.canonical import written
from connectors.apis.mcp.messages import Message, MessageId, NoMessage, Notification, Request, Response, read
from connectors.apis.mcp.tools import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """The message goes on."""

    text: str
    """As JSON."""
    ends: bool = False
    """Whether it is the answer."""
    listed: tuple[Shown, ...] = ()
    """The tools that it tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """The message does not go on."""

    detail: str


def looked_at(
    raw: bytes, *, server_requests: Collection[str], answers: MessageId | None, json_depth: int
) -> Passes | Stays:
    """Whether a server's message goes on. `answers` is the id under which the agent waits; None: it waits for none."""
    body = bodies.document(raw, json_depth=json_depth)
    message = read(body)
    if isinstance(message, NoMessage) or not isinstance(body, Document) or not isinstance(body.root, dict):
        return Stays(detail="The server's message could be read in two ways, or is none.")
    if (asked := _asked_in_vain(message, server_requests)) is not None:
        return Stays(detail=f"The server asks the agent for {asked}, which this gate does not pass on.")
    listed = _listed(message)
    if listed is None:
        return Stays(detail="The server's list of tools could be read in two ways.")
    ends = isinstance(message, Response)
    if ends and answers is not None and not _is_same(body.root.get("id"), answers):
        # Held calls may be answered to a later try, which asks under another id.
        text = written({**body.root, "id": answers})
    else:
        text = raw.decode("utf-8")
    return Passes(text=text, ends=ends, listed=listed)


def _asked_in_vain(message: Message, allowed: Collection[str]) -> str | None:
    """What is asked of the client that it may not be asked."""
    match message:
        case Request(method=method):
            return None if method == "ping" or method in allowed else _named(method)
        case Notification(method=method):
            return None if method.startswith("notifications/") else _named(method)
        case Response(result=result):
            return next((method for method in _inputs(result) if method not in allowed), None)
        case _:
            assert_never(message)


def _inputs(result: Json) -> Iterator[str]:
    """What the answer wants to be told first (2026-07-28, Multi Round-Trip Requests)."""
    for key, wanted in result.items() if isinstance(result, dict) else ():
        if key.casefold() != "inputrequests":
            continue
        if key != "inputRequests" or not isinstance(wanted, dict):
            yield "something"
            return
        for one in wanted.values():
            method = one.get("method") if isinstance(one, dict) else None
            yield _named(method) if isinstance(method, str) else "something"


def _listed(message: Message) -> tuple[Shown, ...] | None:
    result = message.result if isinstance(message, Response) else None
    spellings = [key for key in result if key.casefold() == "tools"] if isinstance(result, dict) else []
    if not isinstance(result, dict) or not spellings:
        return ()
    return tools.shown(result.get("tools")) if spellings == ["tools"] else None


def _named(method: str) -> str:
    known = {"sampling/createMessage", "elicitation/create", "roots/list"}
    return method if method in known else "something"


def _is_same(one: Json, other: MessageId) -> bool:
    return type(one) is type(other) and one == other
