"""What botocore's model of a service says, as far as calls are named and signed by it.

Decides how the model is read and nothing else. botocore is the extra `assentry[aws]`; it is imported when the first
model is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from policy.operation import FieldType

Protocol = Literal["rest-xml", "rest-json", "json", "query", "ec2", "smithy-rpc-v2-cbor"]
PROTOCOLS: tuple[Protocol, ...] = ("rest-xml", "rest-json", "json", "query", "ec2", "smithy-rpc-v2-cbor")
NEEDED = "this needs botocore: install 'assentry[aws]'"

Location = Literal["uri", "querystring", "header", "headers", "body"]
_SCALARS = {
    "string": FieldType.TEXT,
    "character": FieldType.TEXT,
    "integer": FieldType.LONG,
    "long": FieldType.LONG,
    "boolean": FieldType.BOOL,
}
_ELSEWHERE = frozenset({"s3:ListDirectoryBuckets", "s3:WriteGetObjectResponse"})
"""Operations that are sent to hosts of their own, where they look like others."""
_PARAMETER = re.compile(r"\{([^{}+]+)(\+?)\}")


class NoBotocore(Exception):
    """botocore is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of an operation's input."""

    name: str
    """As boto3 calls it: `Bucket`."""
    key: str
    """As it stands on the wire: `x-amz-acl`, in lower case for headers."""
    location: Location
    type: FieldType | None
    """None for what is no scalar and no list of texts: structures, maps, times, bytes."""
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Where a REST operation is found."""

    method: str
    path: str
    """Without the query: `/{Bucket}/{Key+}`."""
    literals: tuple[tuple[str, str], ...]
    """Query keys and values that belong to the address: `list-type=2`, `acl`."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in order."""
        return tuple(name for name, _ in _PARAMETER.findall(self.path))

    def pattern(self) -> str:
        """A regular expression for the raw path."""
        pieces = _PARAMETER.split(self.path)
        texts = [re.escape(text) for text in pieces[::3]]
        takes = ["(.+)" if greedy else "([^/]+)" for greedy in pieces[2::3]]
        return "".join(text + take for text, take in zip(texts, [*takes, ""], strict=True))

    @property
    def literal_segments(self) -> int:
        """How many segments of the path are literals."""
        return sum("{" not in segment for segment in self.path.split("/") if segment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One operation of a service."""

    name: str
    template: Template
    members: tuple[Member, ...]
    payload: str | None
    """The member that is the body as a whole."""
    deprecated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One service."""

    service: str
    """botocore's name: `cloudwatch`."""
    signing_name: str
    """What stands in a credential scope: `monitoring`."""
    signs_raw_paths: bool
    """True for S3: the path is signed as it is sent, not encoded once more."""
    protocol: Protocol
    """What botocore speaks."""
    protocols: frozenset[str]
    target_prefix: str
    """Before the dot of `X-Amz-Target`; empty where the service has none."""
    version: str
    operations: tuple[Shape, ...]


@cache
def load(service: str) -> Model | None:
    """The model of a service by botocore's name; None where there is none. Raises NoBotocore."""
    try:
        from botocore.exceptions import UnknownServiceError
        from botocore.loaders import Loader
        from botocore.model import ServiceModel
    except ImportError as exc:
        raise NoBotocore(NEEDED) from exc
    try:
        read = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    except UnknownServiceError:
        return None
    metadata: dict[str, str] = read.metadata
    protocol = next((one for one in PROTOCOLS if one == read.resolved_protocol), None)
    if protocol is None:
        return None
    return Model(
        service=service,
        signing_name=str(read.signing_name),
        signs_raw_paths=str(read.signature_version).startswith("s3"),
        protocol=protocol,
        protocols=frozenset({protocol, *metadata.get("protocols", ())}),
        target_prefix=metadata.get("targetPrefix", ""),
        version=str(read.api_version),
        operations=_nameable(
            [
                _shape(read.operation_model(name), protocol)
                for name in read.operation_names
                if f"{service}:{name}" not in _ELSEWHERE
            ]
        ),
    )


def _nameable(shapes: list[Shape]) -> tuple[Shape, ...]:
    """The operations that a call can be told to be: of two that look alike on the wire, not the deprecated one."""
    current = {_look(shape) for shape in shapes if not shape.deprecated}
    return tuple(shape for shape in shapes if not (shape.deprecated and _look(shape) in current and _is_rest(shape)))


def _is_rest(shape: Shape) -> bool:
    return shape.template.path != "/" or bool(shape.template.literals)


def _look(shape: Shape) -> tuple[object, ...]:
    told = [member.key for member in shape.members if member.required and member.location in ("querystring", "header")]
    return shape.template.method, shape.template.path, shape.template.literals, *sorted(told)


def _shape(read: object, protocol: Protocol) -> Shape:
    from botocore.model import OperationModel, StructureShape

    operation: OperationModel = read
    structure: StructureShape | None = operation.input_shape
    uri = str(operation.http.get("requestUri", "/"))
    path, _, query = uri.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    required = frozenset[str](structure.required_members) if structure else frozenset[str]()
    members = structure.members.items() if structure else ()
    payload = structure.serialization.get("payload") if structure else None
    return Shape(
        name=str(operation.name),
        template=Template(
            method=str(operation.http.get("method", "POST")),
            path=path or "/",
            literals=tuple((key, value) for key, _, value in pairs),
        ),
        members=tuple(_member(name, one, protocol=protocol, required=name in required) for name, one in members),
        payload=str(payload) if payload else None,
        deprecated=bool(operation.deprecated),
    )


def _member(name: str, read: object, *, protocol: Protocol, required: bool) -> Member:
    from botocore.model import Shape as Read

    shape: Read = read
    said: dict[str, str] = shape.serialization
    location = _location(said.get("location"))
    key = _query_key(name, said, protocol) if location == "body" else said.get("name", name)
    return Member(
        name=name,
        key=key.lower() if location in ("header", "headers") else key,
        location=location,
        type=_type(shape, protocol=protocol, location=location),
        required=required,
    )


def _location(said: str | None) -> Location:
    match said:
        case "uri" | "querystring" | "header" | "headers":
            return said
        case _:
            return "body"


def _query_key(name: str, said: dict[str, str], protocol: Protocol) -> str:
    if protocol == "ec2":
        # botocore's EC2Serializer: its own name, else the common one with a capital.
        other = said.get("name", name)
        return said.get("queryName", other[:1].upper() + other[1:])
    return said.get("name", name)


def _type(read: object, *, protocol: Protocol, location: Location) -> FieldType | None:
    from botocore.model import Shape as Read

    shape: Read = read
    if shape.type_name == "list" and location in ("body", "querystring"):
        # A list of a query is spread over numbered keys, which are no one field.
        spread = location == "body" and protocol in ("query", "ec2")
        return FieldType.TEXTS if shape.member.type_name == "string" and not spread else None
    if location == "headers":
        return None
    return _SCALARS.get(shape.type_name)
