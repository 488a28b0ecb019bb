"""What kube-apiserver takes a request line for: verb, group, version, resource, subresource, namespace, name.

Follows RequestInfo of k8s.io/apiserver (pkg/endpoints/request/requestinfo.go), which is what RBAC authorizes, with one
difference: where RequestInfo trims, guesses or takes the first of two, this says that it does not know. Whether a
resource exists is not asked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from connectors.apis.matcher import UNRESERVED_ESCAPE
from connectors.apis.reading import decoded, loose
from policy.call import Target

VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1123 label: namespaces, versions, and the parts of groups."""
_GROUP = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")
_NAME = re.compile(r"[!-$&-.0-~]{1,253}")
"""No slash, no percent sign (IsValidPathSegmentName), nothing outside visible ASCII."""
_OF_NAMESPACES = frozenset({"status", "finalize"})
"""RequestInfo's namespaceSubresources: any other third part is a resource in the namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """A call on a resource."""

    verb: str
    """get, list, watch, create, update, patch, delete or deletecollection, as in RBAC."""
    group: str
    """Empty for the core group."""
    version: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    """Empty: of the cluster, or of all namespaces."""
    name: str = ""
    path: str | None = None
    """What follows the `proxy` subresource, decoded, with its slash; None for calls that go no further."""
    scoped: bool = False
    """Whether the path goes through a namespace to get to the resource."""


def attributes(target: Target) -> Attributes | None:
    """The attributes of a call on a resource. None: not one, or not for certain."""
    parts = _parts(target.path)
    if parts is None or target.method not in VERBS:
        return None
    match parts:
        case ["api", version, first, *rest]:
            group = ""
        case ["apis", group, version, first, *rest] if _GROUP.fullmatch(group):
            pass
        case _:
            return None
    # `/api/v1/watch/…` is the older form of `?watch=1`; its calls are reads (specialVerbs in RequestInfo).
    special = first == "watch"
    found = _placed(rest if special else [first, *rest])
    if found is None or not _LABEL.fullmatch(version):
        return None
    verb = _special_verb(target, found) if special else _verb(target, found)
    if verb is None:
        return None
    return Attributes(
        verb=verb,
        group=group,
        version=version,
        resource=found.resource,
        subresource=found.subresource,
        namespace=found.namespace,
        name=found.name,
        path=found.path,
        scoped=found.scoped,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """The parts of a path after group and version."""

    scoped: bool
    namespace: str
    resource: str
    name: str = ""
    subresource: str = ""
    path: str | None = None


def _parts(path: str) -> list[str] | None:
    """The segments, decoded; None where one of them has no certain reading."""
    if not path.startswith("/") or UNRESERVED_ESCAPE.search(path):
        return None
    parts = [decoded(raw) for raw in path[1:].split("/")]
    return None if None in parts else [part for part in parts if part is not None]


def _placed(parts: list[str]) -> _Placed | None:
    namespace, scoped = "", False
    match parts:
        case ["namespaces", namespace, third, *_] if third not in _OF_NAMESPACES:
            scoped, parts = True, parts[2:]
        case ["namespaces", namespace, *_]:
            pass
    if namespace and not _LABEL.fullmatch(namespace):
        return None
    match parts:
        case [resource]:
            placed = _Placed(scoped=scoped, namespace=namespace, resource=resource)
        case [resource, name]:
            placed = _Placed(scoped=scoped, namespace=namespace, resource=resource, name=name)
        case [resource, name, subresource, *rest] if not rest or subresource == "proxy":
            placed = _Placed(
                scoped=scoped,
                namespace=namespace,
                resource=resource,
                name=name,
                subresource=subresource,
                path="/" + "/".join(rest) if rest else None,
            )
        case _:
            return None
    return placed if len(parts) == 1 or (_NAME.fullmatch(placed.name) and placed.name not in (".", "..")) else None


def _verb(target: Target, found: _Placed) -> str | None:
    verb = VERBS[target.method]
    if found.subresource:
        return verb
    if found.name:
        # RequestInfo has a name for `POST /pods/x` too; nothing is served there.
        return verb if verb != "create" else None
    match verb:
        case "get":
            watches = _watches(target.query)
            return None if watches is None else "watch" if watches else "list"
        case "delete":
            return "deletecollection"
        case "create":
            return verb
        case _:
            return None


def _special_verb(target: Target, found: _Placed) -> str | None:
    return "watch" if VERBS[target.method] == "get" and not found.subresource else None


def _watches(query: str) -> bool | None:
    """Whether a list is a watch, read as apimachinery reads a boolean: anything but `false` and `0`, also nothing.

    None where it stands twice, or nearly: the server takes the first, and nobody else has to know that.
    """
    said = [(key, value) for key, value in parse_qsl(query, keep_blank_values=True) if loose(key) == "watch"]
    if not said:
        return False
    if len(said) > 1 or said[0][0] != "watch":
        return None
    return said[0][1].lower() not in {"false", "0"}
