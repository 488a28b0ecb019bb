"""The closed list of operations of one service, made from its model.

Decides which members of an input are fields, and where their values stand. What an operation does to the world is
`connectors.apis.aws.effects`' to say, which call is which operation `connectors.apis.aws.naming`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from connectors.apis.aws import effects
from connectors.apis.aws.inside import INSIDE
from connectors.apis.aws.models import Member, Model, Shape
from connectors.apis.entries import attribute
from policy.operation import Field, FieldType, Operation, Place

_SECRET = re.compile(r"Password|Passphrase|SecretString|SecretValue|CustomerKey$|PrivateKey|Token$")
_NOT_INPUT = frozenset(
    {"ContinuationToken", "ContentLength", "ContentType", "NextToken", "nextToken", "PaginationToken"}
)


def operations(model: Model, *, upstream: str) -> tuple[Operation, ...]:
    """Every operation of the service, as `<upstream>:<Operation>`: what IAM calls it, if the upstream has its name."""
    return tuple(_operation(model, shape, upstream) for shape in model.operations)


def _operation(model: Model, shape: Shape, upstream: str) -> Operation:
    fields = tuple(_fields(model, shape))
    thing = effects.about(one.name for one in fields if one.type is FieldType.TEXT)
    does = effects.effect(model.service, shape.name)
    return Operation(
        name=f"{upstream}:{shape.name}",
        upstream=upstream,
        method=shape.template.method,
        template=shape.template.path.replace("+}", "}"),
        tier=does.tier,
        classes=does.classes,
        labels=does.labels,
        fields=fields,
        resource_kind=thing.kind,
        resource_field=thing.field,
        resource_scope=thing.scope,
        summary=effects.sentence(shape.name, thing),
    )


def _fields(model: Model, shape: Shape) -> Iterator[Field]:
    inside = INSIDE.get(f"{model.service}:{shape.name}")
    if inside is not None:
        yield Field(name=inside.field, place=Place.BODY, path=(inside.field,), type=FieldType.TEXTS, required=True)
    for member in shape.members:
        place = _place(model, shape, member)
        if place is None or member.type is None or member.name in _NOT_INPUT:
            continue
        yield Field(
            name=attribute(member.name),
            place=place,
            path=(member.key,),
            type=member.type,
            required=member.required,
            labels=frozenset({"credentials"}) if _SECRET.search(member.name) else frozenset(),
        )


def _place(model: Model, shape: Shape, member: Member) -> Place | None:
    match member.location:
        case "uri" | "header":
            # What a finder captures stands as if it were a part of the path: a header's value too.
            return Place.PATH
        case "querystring":
            return Place.QUERY
        case "headers":
            return None
        case "body":
            # The members of an XML body, and of a body that is one member, are no fields.
            return None if model.protocol == "rest-xml" or shape.payload is not None else Place.BODY
