"""The approvers' API described in OpenAPI 3.1, made from the table of routes and the wire documents."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from proxy.doors.api import ApiRoute
from proxy.doors.documents import ProblemDocument

_REF = "#/components/schemas/{model}"
_PARAMETERS = {
    "id": {"type": "string", "maxLength": 64},
    "kind": {"type": "string", "enum": ["subject", "client", "token"]},
    "value": {"type": "string", "minLength": 1, "maxLength": 255},
}
_ALWAYS = (400, 401, 403, 421, 503)
_WITH_A_DOCUMENT = (413, 415)

Json = dict[str, Any]


def document(routes: Iterable[ApiRoute], *, server: str, version: str) -> Json:
    """The description as a JSON object (OpenAPI 3.1.0)."""
    table = tuple(routes)
    models = {model for route in table for model in (route.takes, route.gives) if model is not None} | {ProblemDocument}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "serialization") for model in ordered], ref_template=_REF)
    paths: dict[str, Json] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assentry approvers' API",
            "version": version,
            "description": "Held calls: list them, see what they would do, approve, reject or withdraw them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "security": [{"person": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "person": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Access token of a person, from a configured issuer.",
                }
            },
        },
    }


def _operation(route: ApiRoute) -> Json:
    operation: Json = {"operationId": route.id, "summary": route.summary, "responses": _answers(route)}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string", "enum": list(values)}}
        for name, values in route.query
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(route.takes)}}}
    return operation


def _answers(route: ApiRoute) -> Json:
    if route.stream:
        good: Json = {
            "200": {"description": "Records", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
        }
    elif route.gives is None:
        good = {"204": {"description": "Done"}}
    else:
        good = {"200": {"description": "OK", "content": {"application/json": {"schema": _ref(route.gives)}}}}
    problem = {"application/problem+json": {"schema": _ref(ProblemDocument)}}
    wrong = {
        str(status): {"description": HTTPStatus(status).phrase, "content": problem}
        for status in sorted({*_ALWAYS, *(_WITH_A_DOCUMENT if route.takes else ()), *route.refuses})
    }
    return good | wrong


def _ref(model: type) -> Json:
    return {"$ref": _REF.format(model=model.__name__)}
