"""One GraphQL-over-HTTP request, read so that no server can read another one in it.

Decides which text is the document and what came beside it. Members and parameters are a closed list: servers look for
documents, hashes and variables in more places than the specification names, and in their own order. What the document
means is `selecting`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.apis import bodies
from connectors.apis.bodies import Document, Json, Malformed, Nothing
from connectors.apis.finders import Asked, BadBody

_TYPES = frozenset({"application/json", "application/graphql-response+json"})
_MEMBERS = frozenset({"query", "operationName", "variables", "extensions"})
_EXTENSIONS = frozenset({"persistedQuery", "clientLibrary"})
_PERSISTED = frozenset({"version", "sha256Hash"})
_JSON_PARAMETERS = ("variables", "extensions")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Unclear(Exception):
    """Two readers could take this for two things. Its text is one sentence for whoever sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One document that is asked to be run."""

    text: str
    name: str | None
    """Of the operation in it."""
    variables: Mapping[str, Json]
    safely: bool
    """Sent by GET or HEAD, which must change nothing (RFC 9110 section 9.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an upstream takes queries, and in which forms."""

    path: str
    batches: bool = False
    ignored: frozenset[str] = frozenset()
    """Names of members, parameters and extensions that do not change which document runs, or how."""
    persisted: Mapping[str, str] = field(default_factory=dict)
    """Documents by the SHA-256 (hex) under which the upstream knows them."""
    json_depth: int = 64

    def queries(self, asked: Asked) -> tuple[Query, ...] | BadBody | None:
        """What is asked to be run, in order; None where it is nothing that is known here."""
        target = asked.target
        if target.path != self.path:
            return None
        try:
            if target.method == "POST":
                return self._posted(asked)
            if target.method in ("GET", "HEAD") and isinstance(asked.body, Nothing):
                return (self._in_url(target.query),)
        except Unclear as unclear:
            return BadBody(detail=str(unclear))
        return None

    def _posted(self, asked: Asked) -> tuple[Query, ...] | None:
        media = bodies.media_type(dict(asked.headers).get("content-type"))
        if media is None or media.name not in _TYPES:
            return None
        # express-graphql and others let the URL win over the body.
        self._parameters(asked.target.query, frozenset())
        if isinstance(asked.body, Malformed):
            raise Unclear(asked.body.detail)
        root = asked.body.root if isinstance(asked.body, Document) else None
        if isinstance(root, list):
            return self._batch(root)
        if not isinstance(root, dict):
            raise Unclear("The body is not a JSON object with a GraphQL query in it.")
        return (self._query(root, safely=False),)

    def _batch(self, items: list[Json]) -> tuple[Query, ...]:
        if not self.batches:
            raise Unclear("The body is a list of queries. Send one query in each call.")
        if not items:
            raise Unclear("The body is an empty list of queries.")
        members = [item for item in items if isinstance(item, dict)]
        if len(members) < len(items):
            raise Unclear("The body is a list, and not all of it are GraphQL queries.")
        return tuple(self._query(one, safely=False) for one in members)

    def _in_url(self, raw: str) -> Query:
        members: dict[str, Json] = {**self._parameters(raw, _MEMBERS)}
        for name in _JSON_PARAMETERS:
            text = members.get(name)
            if text == "":
                members[name] = None
            elif isinstance(text, str):
                read = bodies.document(text.encode("utf-8"), json_depth=self.json_depth)
                if isinstance(read, Malformed):
                    raise Unclear(f"The parameter `{name}` is not well-formed JSON.")
                members[name] = read.root
        return self._query(members, safely=True)

    def _parameters(self, raw: str, known: frozenset[str]) -> dict[str, str]:
        read = bodies.form(raw.encode("utf-8", "replace"), depth=self.json_depth) if raw else None
        if read is None:
            return {}
        if isinstance(read, Malformed):
            raise Unclear("The query of the URL can be read in more than one way.")
        found: dict[str, str] = {}
        for name, value in read.root.items():
            if name in self.ignored:
                continue
            if name not in known or not isinstance(value, str):
                raise Unclear("The URL has a parameter that stands twice, or that does not belong to a GraphQL query.")
            found[name] = value
        return found

    def _query(self, members: Mapping[str, Json], *, safely: bool) -> Query:
        if not members.keys() <= _MEMBERS | self.ignored:
            raise Unclear("There is something beside query, operationName, variables and extensions. Leave it out.")
        variables, name = members.get("variables"), members.get("operationName")
        if not isinstance(variables, dict | None):
            raise Unclear("`variables` is not a JSON object.")
        if not isinstance(name, str | None):
            raise Unclear("`operationName` is not a text.")
        text = self._document(members.get("query"), members.get("extensions"))
        return Query(text=text, name=name or None, variables=variables or {}, safely=safely)

    def _document(self, text: Json, extensions: Json) -> str:
        digest = self._digest(extensions)
        if text is None and digest is not None:
            if digest not in self.persisted:
                raise Unclear("The query is sent as a hash that is not known here. Send it with its text.")
            return self.persisted[digest]
        if not isinstance(text, str):
            raise Unclear("There is no GraphQL query in it.")
        if digest is not None and digest != digest_of(text):
            raise Unclear("The hash in `extensions` is not the hash of the query.")
        return text

    def _digest(self, extensions: Json) -> str | None:
        if extensions is None:
            return None
        if not isinstance(extensions, dict) or not extensions.keys() <= _EXTENSIONS | self.ignored:
            raise Unclear("`extensions` holds something that is not known here. Leave it out.")
        said = extensions.get("persistedQuery")
        if said is None:
            return None
        digest = said.get("sha256Hash") if isinstance(said, dict) and said.keys() <= _PERSISTED else None
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise Unclear("`persistedQuery` is not a version and a SHA-256 in hexadecimal.")
        return digest


def digest_of(text: str) -> str:
    """SHA-256 (hex) of a document, under which servers keep it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
