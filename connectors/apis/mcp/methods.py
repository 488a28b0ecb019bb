"""The methods of the protocol that clients may call, as operations: what passes as a read, and what does not.

A method that is not here is unknown. Tools are not here: each of them is an operation of its own.
"""

from __future__ import annotations

from policy.operation import Field, FieldType, Operation, OperationClass, Place, Tier

PREFIX = "mcp/"
"""What the protocol's own operations begin with, so that no tool can have the name of one."""
STREAM, END = "stream", "end"
"""GET: the stream of what the server says by itself. DELETE: the end of a session. Both up to 2025-11-25."""
PONG, RESPONSE = "pong", "response"
"""A client's answer to the server: an empty one, to a ping, and one with data of the client's in it."""

NO_METHODS = frozenset({STREAM, END, PONG, RESPONSE})
"""Operations that no message names: a method of the same name is a server's own, and unknown."""

_READS = (
    # 2025-03-26 to 2025-11-25: schema.ts, ClientRequest and ClientNotification.
    "initialize", "ping", "tools/list", "resources/list", "resources/templates/list", "resources/read",
    "resources/subscribe", "resources/unsubscribe", "prompts/list", "prompts/get", "completion/complete",
    "logging/setLevel", "notifications/initialized", "notifications/cancelled", "notifications/progress",
    "notifications/roots/list_changed",
    # 2026-07-28.
    "server/discover", "subscriptions/listen",
    # Tasks: experimental in 2025-11-25, the extension io.modelcontextprotocol/tasks since. They look at what a call,
    # which was judged, has come to.
    "tasks/get", "tasks/list", "tasks/result", "notifications/tasks/status",
    STREAM, END, PONG,
)  # fmt: skip
_WRITES = ("tasks/cancel", "tasks/update", RESPONSE)
_FIELDS = {"resources/read": "uri", "resources/subscribe": "uri", "resources/unsubscribe": "uri", "prompts/get": "name"}
_METHODS = {STREAM: "GET", END: "DELETE"}


def operations(upstream: str) -> tuple[Operation, ...]:
    """The protocol's own operations of one upstream."""
    reads = [_operation(upstream, method, OperationClass.READ, Tier.LOW) for method in _READS]
    return (*reads, *[_operation(upstream, method, OperationClass.WRITE, Tier.MEDIUM) for method in _WRITES])


def _operation(upstream: str, method: str, kind: OperationClass, tier: Tier) -> Operation:
    key = _FIELDS.get(method)
    about = (Field(name=key, place=Place.BODY, path=(key,), type=FieldType.TEXT, required=True),) if key else ()
    return Operation(
        name=f"{upstream}:{PREFIX}{method}",
        upstream=upstream,
        method=_METHODS.get(method, "POST"),
        template=method,
        tier=tier,
        classes=frozenset({kind}),
        fields=about,
        resource_kind="mcp",
        resource_field=key,
        summary=f"{method} at {{upstream}}" + (f": {{{key}}}" if key else ""),
    )
