"""A refusal as a message of the protocol, so that the agent's model reads the sentence and its client breaks nothing.

A tool call that the law or people refused is a tool's result that is an error: models see those. All else is an error
of JSON-RPC. Both carry what a problem document says.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from connectors.apis.mcp.messages import MessageId, NoMessage
from connectors.apis.mcp.mirrors import LEGACY, MODERN, Mismatch
from proxy.doors import replies
from proxy.doors.arrival import Pending, Refusal
from proxy.mcp.exchange import Exchange

_PROBLEM = "assentry/problem"
"""Key of the problem's members in a result's `_meta`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message of our own, and the status that goes with it."""

    status: int
    text: bytes


def refused(refusal: Refusal, exchange: Exchange) -> Said:
    """The refusal of a call."""
    problem = replies.problem(refusal)
    if problem.status == 403 and exchange.is_tool_call:
        return Said(status=200, text=_result(_sentence(refusal), problem.members, exchange))
    # Codes for our own purposes lie outside JSON-RPC's range (2026-07-28, Overview, Error Codes): the status is one.
    return error(problem.status, _sentence(refusal), exchange.answers, status=problem.status, more=problem.members)


def pending(answer: Pending, exchange: Exchange) -> Said:
    """That a call is held, and that this is all for now. No client of this protocol takes a 202 for a request."""
    words = f"A person has to approve this. It waits as {answer.call}; its status is at {answer.status_url}."
    members = {"call": answer.call, "operation": answer.operation, "status_url": answer.status_url}
    if exchange.is_tool_call:
        return Said(status=200, text=_result(words, members, exchange))
    return error(403, words, exchange.answers, status=403, more=members)


def malformed(wrong: NoMessage) -> Said:
    """What is told of a message that is none."""
    return error(wrong.code, wrong.detail, wrong.id, status=400)


def mismatched(wrong: Mismatch, answers: MessageId | None) -> Said:
    """What is told of headers that contradict the body, or name a version that is not spoken here."""
    supported = [*MODERN, *reversed(LEGACY)]
    more = {"supported": supported, "requested": wrong.requested} if wrong.requested is not None else None
    return error(wrong.code, wrong.detail, answers, status=400, more=more)


def error(code: int, words: str, answers: MessageId | None, *, status: int, more: object = None) -> Said:
    """A JSON-RPC error (section 5.1) under the id of the call; `more` is its data."""
    told = {"code": code, "message": words} | ({"data": more} if more is not None else {})
    return Said(status=status, text=orjson.dumps({"jsonrpc": "2.0", "id": answers, "error": told}))


def _sentence(refusal: Refusal) -> str:
    """What happened, with the reviewer's own words."""
    words = refusal.decision_reason
    return refusal.detail if not words or words in refusal.detail else f"{refusal.detail} Reviewer: “{words}”."


def _result(words: str, members: object, exchange: Exchange) -> bytes:
    result: dict[str, object] = {"content": [{"type": "text", "text": words}], "isError": True}
    result |= {"resultType": "complete"} if exchange.modern else {}
    result["_meta"] = {_PROBLEM: members}
    return orjson.dumps({"jsonrpc": "2.0", "id": exchange.answers, "result": result})
