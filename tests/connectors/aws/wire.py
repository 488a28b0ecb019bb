"""Calls as botocore writes them: the least that an operation needs, by the service's own model."""

from __future__ import annotations

import botocore.session
from botocore.model import OperationModel, Shape
from botocore.serialize import create_serializer

from connectors.apis import bodies
from connectors.apis.aws.headers import travels
from connectors.apis.finders import Asked
from policy.call import Target

_SESSION = botocore.session.get_session()


def client(service: str):
    """A client of botocore, for its models and parsers; it never calls anybody."""
    return _SESSION.create_client(
        service,
        region_name="eu-central-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        endpoint_url="http://127.0.0.1:1",
    )


def least(shape: Shape | None, *, seen: tuple[str, ...] = ()) -> object:
    """The smallest value of a shape that has all that is required."""
    if shape is None:
        return {}
    match shape.type_name:
        case "structure":
            names = shape.required_members or (list(shape.members)[:1] if shape.metadata.get("union") else [])
            return {name: least(shape.members[name], seen=(*seen, shape.name)) for name in names}
        case "list":
            return [] if shape.member.name in seen else [least(shape.member, seen=(*seen, shape.name))]
        case "map":
            return {"k": least(shape.value, seen=(*seen, shape.name))}
        case "string" | "character":
            return shape.enum[0] if getattr(shape, "enum", None) else "text" + "x" * shape.metadata.get("min", 0)
        case "integer" | "long":
            return max(1, shape.metadata.get("min", 1))
        case "double" | "float":
            return 1.0
        case "boolean":
            return True
        case "timestamp":
            return 1_700_000_000
        case "blob":
            return b"bytes"
        case other:
            raise AssertionError(other)


def asked(operation: OperationModel, given: dict[str, object] | None = None) -> Asked:
    """The call of an operation, as a finder is asked about it."""
    values = {**least(operation.input_shape), **(given or {})}
    protocol = operation.service_model.resolved_protocol
    sent = create_serializer(protocol, include_validation=False).serialize_to_request(values, operation)
    path, _, query = sent["url_path"].partition("?")
    pairs = sent["query_string"]
    listed = pairs.items() if isinstance(pairs, dict) else pairs
    more = [
        f"{key}={value}" if value else key
        for key, each in listed
        for value in (each if isinstance(each, list) else [each])
    ]
    body = sent["body"]
    if isinstance(body, dict):
        body = "&".join(f"{key}={value}" for key, value in body.items()).encode()
    elif isinstance(body, str):
        body = body.encode()
    return call(sent["method"], path, "&".join([query, *more]).strip("&"), dict(sent["headers"]), bytes(body or b""))


def call(method: str, path: str, query: str = "", headers: dict[str, str] | None = None, body: bytes = b"") -> Asked:
    """A call with those of these headers that travel."""
    told = {name.lower(): str(value) for name, value in (headers or {}).items()}
    kept = {
        name: value for name, value in told.items() if travels(name) or name in ("content-type", "range", "if-match")
    }
    return Asked(
        target=Target(method=method, path=path, query=query),
        headers=tuple(kept.items()),
        raw=body,
        body=bodies.read(kept.get("content-type"), body, json_depth=64),
    )
