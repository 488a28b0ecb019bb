"""Names a call: which operation, with what input, about which object, carrying what kinds of data.

Decides nothing about who may; what cannot be named is `<upstream>:unknown`, what cannot be read is unreadable, what
was not scanned says so. Only a body that breaks its own declared format is refused here, for a known operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from connectors.apis import bodies
from connectors.apis.bodies import Body, Document, Form, Json, Malformed
from connectors.apis.catalogue import Catalogue
from connectors.apis.detectors import UNSCANNED
from connectors.apis.matcher import Match, Matcher
from connectors.apis.reading import Reader, decoded, loose
from connectors.apis.sensitivity import scannable, sensitivity
from policy.call import Input, InputValue, Resource, Sensitivity, Target
from policy.operation import Operation, unknown

_NO_QUERY = Form(root={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the law may look at of a call, beside who makes it."""

    operation: Operation
    input: Input
    resource: Resource
    sensitivity: Sensitivity
    method_override: bool
    """True when query or form carries `_method`: some upstreams would obey it (threats P3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadBody:
    """The body is not well formed in the type it claims to have: 400, and nobody judges it."""

    detail: str


class Namer:
    """Names the calls of one upstream. Pure but for the readers it compiles and keeps, one per operation."""

    def __init__(self, catalogue: Catalogue, *, scan_bytes: int, json_depth: int) -> None:
        self._upstream = catalogue.upstream
        self._matcher = Matcher(catalogue.operations)
        self._scan_bytes = scan_bytes
        self._json_depth = json_depth
        self._readers: dict[str, Reader] = {}

    def name(self, target: Target, content_type: str | None, body: bytes) -> Named | BadBody:
        """The name and reading of a call. `content_type` is the header's text, `body` the bytes that will be sent."""
        found = self._matcher.match(target.method, target.path)
        match = found or Match(operation=unknown(self._upstream, target.method))
        operation = match.operation
        read = bodies.read(content_type, body, json_depth=self._json_depth)
        if isinstance(read, Malformed) and operation.known:
            return BadBody(detail=read.detail)
        query = self._query(target.query)
        typed = self._reader(operation).read(match.captured, query, read)
        return Named(
            operation=operation,
            input=typed,
            resource=_resource(operation, typed, target),
            sensitivity=self._labels(match, target, typed, query, read),
            method_override=(
                (bool(target.query) and _overrides(query, target.query.encode("utf-8", "replace")))
                or _overrides(read, body)
            ),
        )

    def _query(self, raw: str) -> Form | Malformed:
        return bodies.form(raw.encode("utf-8", "replace"), depth=self._json_depth) if raw else _NO_QUERY

    def _reader(self, operation: Operation) -> Reader:
        reader = self._readers.get(operation.name)
        if reader is None:
            reader = self._readers[operation.name] = Reader(operation)
        return reader

    def _labels(self, match: Match, target: Target, typed: Input, query: Form | Malformed, read: Body) -> Sensitivity:
        body, body_whole = scannable(read)
        asked, query_whole = scannable(query)
        path: dict[str, Json] = {name: decoded(raw) for name, raw in match.captured}
        # Of an unknown call every segment is looked at: none of them is known to be harmless.
        where: Json = path if match.operation.known else decoded(target.path)
        values: tuple[tuple[str, Json], ...] = (("path", where), ("query", asked), ("body", body))
        found = sensitivity(match.operation, typed, values, scan_bytes=self._scan_bytes)
        if body_whole and query_whole:
            return found
        return Sensitivity(labels=found.labels | {UNSCANNED}, counts=found.counts, paths=found.paths)


def _resource(operation: Operation, typed: Input, target: Target) -> Resource:
    """The object; the collection (its template, or the path of an unknown call) where no field names one."""
    values = typed.values
    owner = _text(values.get(operation.owner_field)) if operation.owner_field else ""
    within = _within(operation, values) or operation.template or target.path
    kind = operation.resource_kind
    return Resource(kind=kind, id=f"{operation.upstream}/{kind}/{within}", owner=owner or None)


def _within(operation: Operation, values: Mapping[str, InputValue]) -> str:
    """What the object is called among its kind; empty where the call does not say so, or not wholly."""
    if operation.resource_field is None:
        return ""
    name = _text(values.get(operation.resource_field))
    if not operation.resource_scope:
        return name
    parts = [*(_text(values.get(scope)) for scope in operation.resource_scope), name]
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts) if all(parts) else ""


def _text(value: InputValue | None) -> str:
    if value is None or isinstance(value, tuple):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _overrides(read: Body, raw: bytes) -> bool:
    """True if there is a key that some framework takes as the method instead (Rack, Laravel, Symfony)."""
    match read:
        case Form(root=root) | Document(root=dict() as root):
            return "_method" in map(loose, root)
        case Malformed():
            # What nobody can read surely is read for the word alone.
            return b"_method" in unquote_to_bytes(raw).lower()
        case _:
            return False
