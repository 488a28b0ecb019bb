"""A refusal as the object that an upstream's own SDK understands.

One JSON object is at once a problem document (RFC 9457) and the error of the API that was called, so that the SDK shows
the reviewer's sentence. Says nothing of statuses and headers: those are the door's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Members = dict[str, object]
"""Members of a JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is to be told, before it has a shape."""

    sentence: str
    """What the SDK shows."""
    code: str
    """The reason code."""
    status: int
    members: Mapping[str, object]
    """The members of the problem document."""


def shape(problem: Problem, *, connector: str) -> Members:
    """The problem's members together with the error of this connector's API; an unknown connector's is generic."""
    return {**problem.members, **_SHAPES.get(connector, _generic)(problem)}


def _generic(problem: Problem) -> Members:
    """`message` and `error`: what most clients look for (OpenAI, Anthropic, Stripe, PyGithub among them)."""
    return {"message": problem.sentence, "error": _error(problem)}


def _openai(problem: Problem) -> Members:
    return {"message": problem.sentence, "error": {**_error(problem), "param": None}}


def _stripe(problem: Problem) -> Members:
    # The type chooses the exception's class only together with the status; this one is right for every 4xx.
    kind = "api_error" if problem.status >= 500 else "invalid_request_error"
    return {"error": {**_error(problem), "type": kind}}


def _github(problem: Problem) -> Members:
    return {
        "message": problem.sentence,
        "errors": [{"code": problem.code, "message": problem.sentence}],
        "documentation_url": problem.members["type"],
    }


def _error(problem: Problem) -> Members:
    return {"message": problem.sentence, "type": "assentry_refusal", "code": problem.code}


_SHAPES: Mapping[str, Callable[[Problem], Members]] = {
    "generic": _generic,
    "openai": _openai,
    "stripe": _stripe,
    "github": _github,
}
