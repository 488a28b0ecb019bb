"""One call of an agent to an MCP server, as far as its answer depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.apis.mcp.finding import Server
from connectors.apis.mcp.messages import Message, MessageId, Notification, Request
from policy.call import CallId
from policy.principal import Principal
from proxy.doors.arrival import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Who asks what of which server, and how the answer is to look."""

    call: CallId
    server: Server
    principal: Principal
    message: Message | None
    """None: there is no body, as of GET and DELETE."""
    modern: bool
    """Whether it is of a revision without sessions."""
    takes_stream: bool
    """Whether the client accepts server-sent events."""
    session: str = ""
    """As the agent names it; empty: none."""

    @property
    def answers(self) -> MessageId | None:
        """The id under which the agent waits for an answer; None: it waits for none."""
        return self.message.id if isinstance(self.message, Request) else None

    @property
    def cancels(self) -> MessageId | None:
        """The request that it takes back. In 2026-07-28 closing the request's stream does that, and nothing else."""
        message = self.message
        if self.modern or not isinstance(message, Notification) or message.method != "notifications/cancelled":
            return None
        ident = message.params.get("requestId")
        return ident if isinstance(ident, int | str) and not isinstance(ident, bool) else None

    @property
    def is_tool_call(self) -> bool:
        """Whether a refusal can be a tool's result."""
        return isinstance(self.message, Request) and self.message.method == "tools/call"

    @property
    def waits_on_a_stream(self) -> bool:
        """Whether a stream may keep it waiting. The first answer of a session has headers that are not known before."""
        request = self.message if isinstance(self.message, Request) else None
        return self.takes_stream and request is not None and request.method != "initialize"

    @property
    def progress_token(self) -> MessageId | None:
        """What the agent wants to be told of progress under."""
        return self.message.progress_token if isinstance(self.message, Request) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldExchange(Held):
    """A held call to an MCP server."""

    exchange: Exchange
