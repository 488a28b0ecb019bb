"""A refusal in the words of the API that was called, so that its own SDK raises its own error with the sentence in it.

Where that error is a JSON object, it is at once a problem document (RFC 9457), and `error.yaml` in the connector's
folder says what the API adds to it; the few APIs whose errors are something else have a function here. Says nothing of
statuses: those are the door's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

import orjson

from connectors.apis import shipped
from connectors.apis.aws import refusals
from connectors.apis.documents import Tree, tree

PROBLEM_JSON = "application/problem+json"
GENERIC = "generic"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped:
    """A refusal as it is written."""

    body: bytes
    media_type: str = PROBLEM_JSON
    headers: tuple[tuple[str, str], ...] = ()
    """What the API says in headers beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What `error.yaml` says of an API whose errors are JSON objects."""

    members: Mapping[str, Tree]
    """Laid over the problem document. `{sentence}`, `{code}`, `{status}`, `{type}` and `{word}` stand for values."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The API's word for a status (`403`), for a kind of them (`5xx`), or for all others (`else`)."""
    media_type: str = PROBLEM_JSON
    listed: bool = False
    """Whether the object stands in a list, alone."""


def shape(problem: Problem, *, connector: str) -> Shaped:
    """The refusal in the shape of this connector's API; an unknown connector's is generic."""
    made = _NO_OBJECTS.get(connector)
    return made(problem) if made else _filled_in(form(connector), problem)


@cache
def form(connector: str) -> Form:
    """The connector's form. Raises CatalogueRefused where the shipped file is no mapping."""
    name = connector if connector in shipped.names(shipped.ERROR) else GENERIC
    said = tree(shipped.file(name, shipped.ERROR))
    members, words, media_type = said["members"], said.get("words"), said.get("media_type")
    return Form(
        members=members if isinstance(members, dict) else {},
        words={status: str(word) for status, word in words.items()} if isinstance(words, dict) else {},
        media_type=str(media_type or PROBLEM_JSON),
        listed=said.get("listed") is True,
    )


def _filled_in(said: Form, problem: Problem) -> Shaped:
    values: dict[str, object] = {
        "{sentence}": problem.sentence,
        "{code}": problem.code,
        "{status}": problem.status,
        "{type}": problem.members.get("type"),
        "{word}": _word(said, problem.status),
    }
    whole = {**problem.members, **{name: _filled(value, values) for name, value in said.members.items()}}
    return Shaped(body=orjson.dumps([whole] if said.listed else whole), media_type=said.media_type)


def _word(said: Form, status: int) -> str | None:
    kinds = (str(status), f"{status // 100}xx", "else")
    return next((said.words[kind] for kind in kinds if kind in said.words), None)


def _filled(value: Tree, values: Mapping[str, object]) -> object:
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    return values.get(value, value) if isinstance(value, str) else value


def _of_aws(problem: Problem, *, way: str) -> Shaped:
    call = str(problem.members.get("call", ""))
    told = refusals.told(way, sentence=problem.sentence, reason=problem.code, status=problem.status, call=call)
    return Shaped(body=told.body, media_type=told.media_type, headers=told.headers)


_NO_OBJECTS: Mapping[str, Callable[[Problem], Shaped]] = {way: partial(_of_aws, way=way) for way in refusals.SPEAKING}
"""By connector: those whose errors are no JSON objects."""
