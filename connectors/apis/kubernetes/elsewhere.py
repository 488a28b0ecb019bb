"""Calls that are on no resource: discovery, health, metrics.

RBAC calls them non-resource URLs. Only those that tools need are named; logs, profiles and whatever else a server has
there stay unknown.
"""

from __future__ import annotations

import re

from connectors.apis.matcher import UNRESERVED_ESCAPE
from policy.call import Target
from policy.operation import Field, FieldType, Operation, OperationClass, Place, Tier

_PATHS = {
    # The lists of groups, versions and resources, their schemas, and the server's version.
    "discovery.get": re.compile(
        r"/api/?|/api/v1/?|/apis/?|/apis/[a-z0-9.-]+/?|/apis/[a-z0-9.-]+/v[a-z0-9]+/?|/version/?"
        r"|/openapi/v2|/openapi/v3/?|/openapi/v3/(?:api|apis|version|logs|openid|\.well-known)(?:/[a-z0-9.-]+)*/?"
    ),
    "health.get": re.compile(r"/(?:healthz|livez|readyz)(?:/[A-Za-z0-9_/-]*[A-Za-z0-9])?"),
    "metrics.get": re.compile(r"/metrics(?:/slis)?"),
    "openid.get": re.compile(r"/\.well-known/openid-configuration/?|/openid/v1/jwks/?"),
}


def named(target: Target) -> str | None:
    """The name of a call on no resource, without its upstream; None for all others."""
    if target.method not in {"GET", "HEAD"} or UNRESERVED_ESCAPE.search(target.path):
        return None
    return next((name for name, path in _PATHS.items() if path.fullmatch(target.path)), None)


def operations(upstream: str) -> tuple[Operation, ...]:
    """One operation for each name: reads, told apart by `path` where a policy cares."""
    return tuple(
        Operation(
            name=f"{upstream}:{name}",
            upstream=upstream,
            method="GET",
            template=f"/({name.removesuffix('.get')})",
            tier=Tier.LOW,
            classes=frozenset({OperationClass.READ}),
            fields=(Field(name="path", place=Place.PATH, path=("path",), type=FieldType.TEXT, required=True),),
            resource_kind=name.removesuffix(".get"),
            summary="Read {path}",
        )
        for name in _PATHS
    )
