"""Names GraphQL calls: `<upstream>:query.repository`, `<upstream>:mutation.deleteIssue`.

One root field is one operation. A document with several, and a list of queries, is `query.several` or
`mutation.several`, and beside it each of its fields; the strictest verdict on any of them wins. What is not in the
schema is unknown, what could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from connectors.apis.bodies import Document, Json
from connectors.apis.entries import Section, section_keys
from connectors.apis.finders import Asked, BadBody, Found, Spoken
from connectors.apis.graphql import schemas
from connectors.apis.graphql.asking import Endpoint, Query, Unclear, digest_of
from connectors.apis.graphql.parsing import Limits, parsed
from connectors.apis.graphql.schemas import INTROSPECTION, MUTATION, QUERY, SEVERAL, NoSchema, Schema
from connectors.apis.graphql.selecting import TYPENAME, Root, Selected, selected

_NAME = re.compile(r"[A-Za-z][_0-9A-Za-z]*")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?|/")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INTROSPECTION = frozenset({"__schema", "__type"})
_LIMITS = frozenset(one.name for one in fields(Limits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is known of one GraphQL server; as a function, it names calls."""

    upstream: str
    endpoint: Endpoint
    schema: Schema
    limits: Limits

    def __call__(self, asked: Asked) -> Found | BadBody | None:
        """The operation of a call; BadBody for what servers could take for different things."""
        queries = self.endpoint.queries(asked)
        if queries is None or isinstance(queries, BadBody):
            return queries
        try:
            runs = [self._run(query) for query in queries]
        except Unclear as unclear:
            return BadBody(detail=str(unclear))
        found = [one for run in runs for one in run.found]
        if len(found) == 1:
            return found[0]
        kind = MUTATION if any(run.kind == MUTATION for run in runs) else QUERY
        if len(found) > self.limits.root_fields:
            return BadBody(detail=f"The call runs more than {self.limits.root_fields} GraphQL fields at once.")
        about: Json = {
            "depth": max(run.depth for run in runs),
            "fields": [name for run in runs for name in run.names],
            "width": len(found),
        }
        whole = Document(root={schemas.ABOUT: about})
        return Found(name=f"{self.upstream}:{kind}.{SEVERAL}", body=whole, parts=tuple(found))

    def _run(self, query: Query) -> _Run:
        document = parsed(query.text, self.limits)
        if query.name is not None and query.name != document.name:
            raise Unclear("`operationName` is not the name of the operation in the GraphQL document.")
        if query.safely and document.kind == MUTATION:
            raise Unclear("A mutation is not sent by GET. Send it by POST.")
        grammar = self.schema.grammars.get(document.kind)
        if grammar is None:
            raise Unclear(f"The schema of this upstream has no {document.kind}.")
        what = selected(document, query.variables, grammar=grammar, limits=self.limits)
        found = tuple(self._found(document.kind, document.name, root, what) for root in what.roots)
        return _Run(kind=document.kind, depth=what.depth, names=tuple(root.name for root in what.roots), found=found)

    def _found(self, kind: str, name: str | None, root: Root, what: Selected) -> Found:
        known = root.name in self.schema.fields[kind]
        about: dict[str, Json] = {
            "depth": what.depth,
            "fields": [one.name for one in what.roots],
            "width": len(what.roots),
            **({"name": name} if name else {}),
        }
        arguments: Json = self.schema.completed(kind, root) if known else dict(root.arguments)
        body = Document(root={schemas.ARGUMENTS: arguments, schemas.ABOUT: about})
        return Found(name=f"{self.upstream}:{self._ident(kind, root.name)}", body=body)

    def _ident(self, kind: str, root: str) -> str:
        if root == TYPENAME or (kind == QUERY and root in _INTROSPECTION):
            return INTROSPECTION
        # `several` is no field's name here: a schema that has such a field is refused.
        return f"{kind}.{root}" if root in self.schema.fields[kind] else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    kind: str
    depth: int
    names: tuple[str, ...]
    found: tuple[Found, ...]


def spoken(section: Section, *, upstream: str) -> Spoken:
    """The operations of the upstream's schema, and what names its calls."""
    limits = _limits(section)
    schema = _schema(section)
    path = section.text("path") or "/graphql"
    if not _PATH.fullmatch(path):
        section.fault("path", f'"{path}" is not the path of an endpoint')
    endpoint = Endpoint(
        path=path,
        batches=section.flag("batches") or False,
        ignored=frozenset(section.texts("ignored") or ()),
        persisted=_persisted(section, limits),
    )
    return Spoken(
        operations=schemas.operations(schema, upstream=upstream, path=path),
        find=Server(upstream=upstream, endpoint=endpoint, schema=schema, limits=limits),
    )


def _schema(section: Section) -> Schema:
    file = section.text("schema")
    names = {key: section.texts(key) or () for key in ("queries", "mutations")}
    for key, listed in names.items():
        for name in listed:
            if not _NAME.fullmatch(name) or name == SEVERAL:
                section.fault(key, f'"{name}" is not the name of a field')
    if file is None:
        return schemas.named(names["queries"], names["mutations"])
    if any(names.values()):
        section.fault("schema", "says which queries and mutations there are; leave out the lists of names")
    try:
        found = schemas.read((Path(section.faults.file).parent / file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as unread:
        section.fault("schema", f'"{file}" cannot be read ({type(unread).__name__})')
    except NoSchema as wrong:
        section.fault("schema", f'"{file}" {wrong}')
    else:
        if any(SEVERAL in known for known in found.fields.values()):
            section.fault(
                "schema", f"has a root field `{SEVERAL}`, which is what several fields at once are called here"
            )
        return found
    return schemas.named((), ())


def _persisted(section: Section, limits: Limits) -> Mapping[str, str]:
    listed = section.below("persisted", frozenset(section_keys(section, "persisted")))
    known: dict[str, str] = {}
    for digest in listed.keys() if listed else ():
        text = listed.text(digest) if listed else None
        if listed is None or text is None:
            continue
        if not _SHA256.fullmatch(digest) or digest_of(text) != digest:
            listed.fault(digest, f"is not the SHA-256 of its document, which is {digest_of(text)}")
            continue
        try:
            parsed(text, limits)
        except Unclear as unclear:
            listed.fault(digest, str(unclear))
        known[digest] = text
    return known


def _limits(section: Section) -> Limits:
    below = section.below("limits", _LIMITS)
    said: dict[str, int] = {}
    for name, value in (below.keys() if below else {}).items():
        if name in _LIMITS and isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1_000_000:
            said[name] = value
        elif name in _LIMITS and below is not None:
            below.fault(name, "must be a whole number above zero")
    return replace(Limits(), **said)
