"""Names a call: which operation, with what input, about which object, carrying what kinds of data.

Decides nothing about who may; what cannot be named is `<upstream>:unknown`, what cannot be read is unreadable, what
was not scanned says so. Only a body that breaks its own declared format is refused here, for a known operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from connectors.apis import bodies
from connectors.apis.bodies import Body, Document, Form, Json, Malformed, Nothing
from connectors.apis.catalogue import Catalogue
from connectors.apis.detectors import UNSCANNED
from connectors.apis.finders import Asked, BadBody, Finder, Found
from connectors.apis.matcher import Match, Matcher
from connectors.apis.reading import Reader, decoded, loose
from connectors.apis.sensitivity import scannable, sensitivity
from policy.call import Input, InputValue, Part, Resource, Sensitivity, Target
from policy.operation import Operation, Tier, unknown
from policy.reasons import Reason

Headers = tuple[tuple[str, str], ...]
"""Names in lower case, in the order of arrival."""

_NO_QUERY = Form(root={})
_TIERS = tuple(Tier)
"""From the least grave on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the law may look at of a call, beside who makes it."""

    operation: Operation
    input: Input
    resource: Resource
    sensitivity: Sensitivity
    method_override: bool
    """True when query or form carries `_method`: some upstreams would obey it (threats P3)."""
    meaning: str = ""
    """As of what was found."""
    parts: tuple[Part, ...] = ()
    """As of a call: where it asks for several things, each of them."""


class _Bodies(NamedTuple):
    """A body twice: as it is sent, and as the operation's fields read it."""

    sent: Body
    meant: Body


class Namer:
    """Names the calls of one upstream. Pure but for the readers it compiles and keeps, one per operation."""

    def __init__(self, catalogue: Catalogue, *, scan_bytes: int, json_depth: int) -> None:
        self._upstream = catalogue.upstream
        self._matcher = Matcher(() if catalogue.find else catalogue.operations)
        self._find = catalogue.find
        self._refuses = frozenset(map(loose, catalogue.refuses))
        self._named = {one.name: one for one in catalogue.operations}
        self._scan_bytes = scan_bytes
        self._json_depth = json_depth
        self._readers: dict[str, Reader] = {}

    @property
    def find(self) -> Finder | None:
        """What names the calls, where no templates do."""
        return self._find

    def name_call(self, target: Target, headers: Headers, body: bytes) -> Named | BadBody:
        """The name and reading of a call. `headers` are those that reach the upstream, names in lower case."""
        content_type = _content_type(headers)
        if self._find is None:
            return self.name(target, content_type, body)
        read = bodies.read(content_type, body, json_depth=self._json_depth)
        found = self._find(Asked(target=target, headers=headers, raw=body, body=read))
        if isinstance(found, BadBody):
            return found
        # Whoever asks for one thing that nobody knows beside others asks for something that nobody knows.
        if found is None or any(one.name not in self._named for one in (found, *found.parts)):
            unnamed = Match(operation=unknown(self._upstream, target.method))
            return _alike(self._read(unnamed, target, body, _Bodies(read, read)), found)
        parts = tuple(self._part(one, target, read) for one in found.parts)
        match = Match(operation=_whole(self._named[found.name], parts), captured=found.captured)
        named = self._read(match, target, body, _Bodies(read, read if found.body is None else found.body))
        return _alike(named if isinstance(named, BadBody) or not parts else _in_parts(named, parts), found)

    def _part(self, found: Found, target: Target, read: Body) -> Part:
        operation, meant = self._named[found.name], read if found.body is None else found.body
        typed = self._reader(operation).read(found.captured, self._query(target.query), meant)
        return Part(operation=operation, input=typed, resource=_resource(operation, typed, target))

    def name(self, target: Target, content_type: str | None, body: bytes) -> Named | BadBody:
        """The same by templates alone. `content_type` is the header's text, `body` the bytes that will be sent."""
        found = self._matcher.match(target.method, target.path)
        match = found or Match(operation=unknown(self._upstream, target.method))
        if self._unread(match.operation, content_type):
            return self._read(match, target, b"", _Bodies(Nothing(), Nothing()))
        read = bodies.read(content_type, body, json_depth=self._json_depth)
        return self._read(match, target, body, _Bodies(read, read))

    def passes_unread(self, target: Target, headers: Headers) -> bool:
        """Whether the name of such a call, and all that is read of it, is the same whatever its body holds."""
        found = self._matcher.match(target.method, target.path)
        return found is not None and self._unread(found.operation, _content_type(headers))

    def _unread(self, operation: Operation, content_type: str | None) -> bool:
        # An upstream that takes credentials out of bodies may take one out of any.
        return operation.opaque and not self._refuses and bodies.may_pass_unread(content_type)

    def _read(self, match: Match, target: Target, raw: bytes, body: _Bodies) -> Named | BadBody:
        operation = match.operation
        if isinstance(body.sent, Malformed) and operation.known:
            return BadBody(detail=body.sent.detail)
        query = self._query(target.query)
        if self._refuses and (bad := _foreign(query, self._refuses) or _foreign(body.sent, self._refuses)):
            return bad
        typed = self._reader(operation).read(match.captured, query, body.meant)
        return Named(
            operation=operation,
            input=typed,
            resource=_resource(operation, typed, target),
            sensitivity=self._labels(match, target, typed, query, body),
            method_override=(
                (bool(target.query) and _overrides(query, target.query.encode("utf-8", "replace")))
                or _overrides(body.sent, raw)
            ),
        )

    def _query(self, raw: str) -> Form | Malformed:
        return bodies.form(raw.encode("utf-8", "replace"), depth=self._json_depth) if raw else _NO_QUERY

    def _reader(self, operation: Operation) -> Reader:
        reader = self._readers.get(operation.name)
        if reader is None:
            reader = self._readers[operation.name] = Reader(operation)
        return reader

    def _labels(
        self, match: Match, target: Target, typed: Input, query: Form | Malformed, read: _Bodies
    ) -> Sensitivity:
        body, body_whole = scannable(read.sent)
        asked, query_whole = scannable(query)
        path: dict[str, Json] = {name: decoded(raw) for name, raw in match.captured}
        # Of an unknown call every segment is looked at: none of them is known to be harmless.
        where: Json = path if match.operation.known else decoded(target.path)
        values: tuple[tuple[str, Json], ...] = (("path", where), ("query", asked), ("body", body))
        found = sensitivity(match.operation, typed, values, scan_bytes=self._scan_bytes)
        if read.meant is not read.sent:
            found = _anywhere(found)
        if body_whole and query_whole:
            return found
        return Sensitivity(labels=found.labels | {UNSCANNED}, counts=found.counts, paths=found.paths)


def _content_type(headers: Headers) -> str | None:
    return next((value for name, value in headers if name == "content-type"), None)


def _anywhere(found: Sensitivity) -> Sensitivity:
    """The same, with the whole call (the empty pointer) among the places of whatever was found.

    Fields that are read from something else than the body are not where the pointers into the body say.
    """
    return replace(found, paths={label: (*pointers, "") for label, pointers in found.paths.items()})


def _alike(named: Named | BadBody, found: Found | None) -> Named | BadBody:
    if isinstance(named, BadBody) or found is None or not found.meaning:
        return named
    return replace(named, meaning=found.meaning)


def _whole(operation: Operation, parts: tuple[Part, ...]) -> Operation:
    """The operation that stands for all parts, as grave as the gravest of them."""
    if not parts:
        return operation
    under = [operation, *(part.operation for part in parts)]
    return replace(
        operation,
        tier=max((one.tier for one in under), key=_TIERS.index),
        classes=frozenset().union(*(one.classes for one in under)),
        labels=frozenset().union(*(one.labels for one in under)),
    )


def _in_parts(named: Named, parts: tuple[Part, ...]) -> Named:
    """The name of the whole, with its parts and the labels of their fields."""
    labels = {
        label
        for part in parts
        for one in part.operation.fields
        if one.name in part.input.values or one.name in part.input.unreadable
        for label in one.labels
    }
    carried = replace(named.sensitivity, labels=named.sensitivity.labels | labels)
    return replace(named, parts=parts, sensitivity=carried)


def _foreign(read: Body | Form | Malformed, refused: frozenset[str]) -> BadBody | None:
    """What is wrong with a query or a body of an upstream that would take a credential out of it."""
    match read:
        case Nothing():
            return None
        case Form(root=root) | Document(root=dict() as root):
            carried = next((key for key in root if loose(key) in refused), None)
            if carried is None:
                return None
            name = loose(carried)
            detail = f"The call carries `{name}`, which the upstream would take for a credential. Leave it out."
            return BadBody(detail=detail, reason=Reason.FOREIGN_CREDENTIAL)
        case _:
            # What nobody can read surely may hold one: known or unknown, it is not sent.
            return BadBody(detail="This upstream takes credentials in bodies, and what is sent cannot be read for one.")


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
