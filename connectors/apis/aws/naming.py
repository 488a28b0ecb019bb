"""Which operation of a service a call is: by `X-Amz-Target`, by `Action`, or by method, path, query and headers.

Each service is told by the protocols that its model has, and a call that speaks two of them at once is unknown. A query
key or an `x-amz-*` header that the operation does not declare makes a call unknown too: S3 chooses among operations by
such words (`?acl`, `x-amz-copy-source`), so one that was overlooked could make another operation of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_to_bytes

from connectors.apis import bodies
from connectors.apis.aws.headers import ALWAYS, is_of_aws
from connectors.apis.aws.inside import INSIDE, Unreadable, other_name
from connectors.apis.aws.models import NEEDED, Model, NoBotocore, Shape, load
from connectors.apis.aws.operations import operations
from connectors.apis.bodies import Body, Document, Form, Malformed, Nothing
from connectors.apis.entries import Section
from connectors.apis.finders import Asked, BadBody, Finder, Found, Spoken

KEYS = frozenset({"service"})
JSON_DEPTH = 64
"""DynamoDB takes 32 levels of attributes, each two levels of JSON."""
_TARGET = re.compile(r"([A-Za-z0-9_]+)\.([A-Za-z0-9]+)")
_CBOR_PATH = re.compile(r"/service/([A-Za-z0-9_]+)/operation/([A-Za-z0-9]+)")

Recognise = Callable[[Asked], "_Named | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    shape: Shape
    captured: tuple[tuple[str, str], ...] = ()


def spoken(section: Section, *, upstream: str) -> Spoken:
    """The operations of the section's `service`, which is the upstream's own name where nothing is said."""
    service = section.text("service") or upstream
    try:
        model = load(service)
    except NoBotocore:
        section.fault("service", NEEDED)
        return Spoken(operations=(), find=lambda _: None)
    if model is None:
        section.fault("service", f'botocore has no service "{service}" that can be named here')
        return Spoken(operations=(), find=lambda _: None)
    return Spoken(operations=operations(model, upstream=upstream), find=finder(model, upstream=upstream))


def finder(model: Model, *, upstream: str) -> Finder:
    """Names the calls of one service."""
    recognise = _Recogniser(model).recognise

    def find(asked: Asked) -> Found | BadBody | None:
        named = recognise(asked)
        return None if named is None else _found(model, named, asked, upstream=upstream)

    return find


def _found(model: Model, named: _Named, asked: Asked, *, upstream: str) -> Found | BadBody:
    body: Body = asked.body
    if model.protocol in ("json", "rest-json") and _says_json(asked):
        body = bodies.document(asked.raw, json_depth=JSON_DEPTH) if asked.raw else Nothing()
        if isinstance(body, Malformed):
            return BadBody(detail=body.detail)
    inside = INSIDE.get(f"{model.service}:{named.shape.name}")
    if inside is not None:
        try:
            body = inside.added(asked.raw, body.root if isinstance(body, Document) else None)
        except Unreadable as exc:
            return BadBody(detail=str(exc))
    alias = other_name(named.captured, body.root if isinstance(body, Document) else None)
    if alias is not None:
        return BadBody(detail=f"{alias} is an ARN here. Call it by its name, as policies do.")
    return Found(name=f"{upstream}:{named.shape.name}", captured=named.captured, body=body)


def _says_json(asked: Asked) -> bool:
    media = bodies.media_type(_header(asked, "content-type"))
    return media is not None and media.name in (
        "application/json",
        "application/x-amz-json-1.0",
        "application/x-amz-json-1.1",
    )


def _header(asked: Asked, name: str) -> str | None:
    return next((value for each, value in asked.headers if each == name), None)


class _Recogniser:
    """Tells the operations of one service apart."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._by_name = {shape.name: shape for shape in model.operations}
        rest = model.protocol in ("rest-xml", "rest-json")
        self._addresses = tuple(_Address(shape) for shape in model.operations) if rest else ()

    def recognise(self, asked: Asked) -> _Named | None:
        """The operation, and what its address says."""
        said = [name for name, _ in asked.headers if is_of_aws(name)]
        names = {name for name, _ in asked.headers}
        if len(set(said)) < len(said):
            return None
        if self._addresses:
            return None if {"x-amz-target", "smithy-protocol"} & names else self._by_address(asked)
        # Only one of a service's protocols may be spoken, or two readers hear two operations.
        ways = [self._by_target(asked), self._by_action(asked), self._by_cbor(asked)]
        heard = [named for speaks, named in ways if speaks]
        return heard[0] if len(heard) == 1 and not self._unheard_of(names) else None

    def _unheard_of(self, names: set[str]) -> bool:
        return any(is_of_aws(name) and name not in ALWAYS for name in names)

    def _by_target(self, asked: Asked) -> tuple[bool, _Named | None]:
        target = _header(asked, "x-amz-target")
        if target is None:
            return False, None
        said = _TARGET.fullmatch(target)
        at_root = asked.target.method == "POST" and asked.target.path == "/" and not asked.target.query
        takes = "json" in self._model.protocols and _says_json(asked) and at_root
        if said is None or not takes or said[1] != self._model.target_prefix:
            return True, None
        return True, self._named(said[2])

    def _by_action(self, asked: Asked) -> tuple[bool, _Named | None]:
        in_query = _pairs(asked.target.query)
        in_body = asked.body.root if isinstance(asked.body, Form) else {}
        if not ({"Action", "Version"} & (in_query.keys() | in_body.keys())):
            return False, None
        takes = bool({"query", "ec2"} & self._model.protocols) and asked.target.path == "/"
        # A GET with a query is understood by AWS as well, but no SDK sends it, and fields are read from the body.
        told = not in_query and asked.target.method == "POST" and in_body.get("Version") == self._model.version
        action = in_body.get("Action")
        return True, self._named(action) if takes and told and isinstance(action, str) else None

    def _by_cbor(self, asked: Asked) -> tuple[bool, _Named | None]:
        said = _CBOR_PATH.fullmatch(asked.target.path)
        protocol = _header(asked, "smithy-protocol")
        if said is None and protocol is None:
            return False, None
        whole = said is not None and protocol == "rpc-v2-cbor" and asked.target.method == "POST"
        takes = "smithy-rpc-v2-cbor" in self._model.protocols and whole and not asked.target.query
        return True, self._named(said[2]) if takes and said and said[1] == self._model.target_prefix else None

    def _named(self, name: str) -> _Named | None:
        shape = self._by_name.get(name)
        return None if shape is None else _Named(shape=shape)

    def _by_address(self, asked: Asked) -> _Named | None:
        pairs = _pairs(asked.target.query)
        path = _trimmed(asked.target.path) if self._model.signs_raw_paths else asked.target.path
        near = [one for one in self._addresses if one.is_near(asked.target.method, path)]
        fits = [(one, taken) for one in near if (taken := one.fit(path, pairs, asked.headers)) is not None]
        if not fits:
            return None
        most = max(one.weight for one, _ in fits)
        best = [(one, taken) for one, taken in fits if one.weight == most]
        # Another router could take a parameter's value for a literal of a longer address.
        doubtful = any(one.shape.template.literal_segments > best[0][0].shape.template.literal_segments for one in near)
        if len(best) > 1 or doubtful:
            return None
        one, taken = best[0]
        return _Named(shape=one.shape, captured=taken) if pairs.get("x-id", one.shape.name) == one.shape.name else None


class _Address:
    """Where one REST operation is found, compiled."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._path = re.compile(shape.template.pattern())
        self._near = re.compile(shape.template.pattern(), re.IGNORECASE)
        self._literals = dict(shape.template.literals)
        members = {
            place: [one for one in shape.members if one.location == place] for place in ("querystring", "header")
        }
        self._may_ask = {one.key for one in members["querystring"]} | self._literals.keys() | {"x-id"}
        self._must_ask = {one.key for one in members["querystring"] if one.required}
        self._may_say = {one.key for one in members["header"]} | ALWAYS
        self._must_say = {one.key for one in members["header"] if one.required}
        self._families = tuple(one.key for one in shape.members if one.location == "headers")
        self._heard = {one.key for one in members["header"]}
        discerning = len(self._literals) + len(self._must_ask) + len(self._must_say)
        self.weight = (shape.template.literal_segments, discerning)

    def is_near(self, method: str, path: str) -> bool:
        """Whether a lenient router could take the path for this address."""
        return method == self.shape.template.method and self._near.fullmatch(unquote(path)) is not None

    def fit(
        self, path: str, pairs: Mapping[str, str | None], headers: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...] | None:
        """What the address takes out of a call that fits it in every part."""
        taken = self._path.fullmatch(path)
        names = {name for name, _ in headers}
        if taken is None or not (self._must_ask <= pairs.keys() and self._must_say <= names):
            return None
        if any(pairs.get(key, "") != value for key, value in self._literals.items() if value):
            return None
        if not self._literals.keys() <= pairs.keys() or not pairs.keys() <= self._may_ask or None in pairs.values():
            return None
        if any(is_of_aws(name) and not self._declares(name) for name in names):
            return None
        said = ((name, quote(value, safe="")) for name, value in headers if name in self._heard)
        return (*zip(self.shape.template.parameters, taken.groups(), strict=True), *said)

    def _declares(self, header: str) -> bool:
        return header in self._may_say or any(family and header.startswith(family) for family in self._families)


def _trimmed(path: str) -> str:
    """`/bucket/` is the bucket for S3, and older SDKs write it so."""
    return path[:-1] if path.count("/") == 2 and path.endswith("/") else path


def _pairs(query: str) -> dict[str, str | None]:
    """The query's keys and values; None for a key that stands twice or cannot be read."""
    found: dict[str, str | None] = {}
    for key, value in _split(query):
        found[key] = None if key in found else value
    return found


def _split(query: str) -> Iterator[tuple[str, str | None]]:
    for piece in query.split("&") if query else ():
        key, _, value = piece.partition("=")
        try:
            yield unquote_to_bytes(key).decode(), unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            yield key, None
