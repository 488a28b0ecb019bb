"""The closed list of what can be asked of a Kubernetes API server: resources times verbs, with their typed input.

The resources that come with Kubernetes, and what their verbs are (class, tier, labels), are data: resources.yaml beside
this file. Custom resources come from the upstream's catalogue file. Which call is which is `finding`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from connectors.apis.documents import Tree, tree
from policy.operation import Field, FieldType, Operation, OperationClass, Place, Tier

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
CONNECT = "connect"
"""Verb of the subresources that open a stream to somewhere else: one operation, by whatever method."""
READS = frozenset({"get", "list", "watch"})
OF_COLLECTIONS = frozenset({"list", "watch", "deletecollection"})
NEVER_DRY = frozenset({("serviceaccounts", "token")})
"""A token is issued whatever `dryRun` says."""

_FILE = Path(__file__).parent / "resources.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What can be asked of one resource or subresource."""

    group: str
    resource: str
    subresource: str
    namespaced: bool
    verbs: tuple[str, ...]
    short: str
    """How its operations begin: `pods`, `deployments.scale`, `events.events.k8s.io`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A resource as it is listed, here or in a catalogue file."""

    group: str
    resource: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What is said of a verb: by the kinds, then by the rules."""

    classes: frozenset[OperationClass]
    tier: Tier
    labels: frozenset[str]
    reversible: bool | None


def kinds(custom: Iterable[Listed] = ()) -> tuple[Kind, ...]:
    """Every resource and subresource, those of Kubernetes first."""
    return (*_shipped(), *(kind for one in custom for kind in _of_custom(one)))


@cache
def _shipped() -> tuple[Kind, ...]:
    found: list[Kind] = []
    taken: set[str] = set()
    for group, scopes in _mapping(_file()["groups"]).items():
        for scope, resources in _mapping(scopes).items():
            for resource, subresources in _mapping(resources).items():
                short = resource if resource not in taken else f"{resource}.{group}"
                taken.add(short)
                below = _texts(subresources)
                one = Listed(group=group, resource=resource, namespaced=scope == "namespaced", subresources=below)
                found += _kinds(one, short=short)
    return tuple(found)


def _of_custom(one: Listed) -> Iterator[Kind]:
    return _kinds(one, short=f"{one.resource}.{one.group}")


def _kinds(one: Listed, *, short: str) -> Iterator[Kind]:
    odd, below = _mapping(_file()["verbs"]), _mapping(_file()["subresources"])
    for subresource in ("", *one.subresources):
        own = f"{short}.{subresource}" if subresource else short
        verbs = _texts(below[subresource]) if subresource else _texts(odd[short]) if short in odd else VERBS
        yield Kind(
            group=one.group,
            resource=one.resource,
            subresource=subresource,
            namespaced=one.namespaced,
            verbs=verbs,
            short=own,
        )


def operation(kind: Kind, verb: str, *, upstream: str) -> Operation:
    """One verb of one kind."""
    told = _told(kind, verb)
    collection = verb in OF_COLLECTIONS
    fields = tuple(_fields(kind, verb))
    named = {one.name for one in fields}
    return Operation(
        name=f"{upstream}:{name(kind, verb)}",
        upstream=upstream,
        method=_METHODS[verb],
        template=_template(kind, verb),
        tier=told.tier,
        classes=told.classes,
        fields=fields,
        resource_kind=kind.short.removesuffix(f".{kind.subresource}"),
        resource_field="name" if "name" in named else "namespace" if collection and kind.namespaced else None,
        resource_scope=("namespace",) if "name" in named and kind.namespaced else (),
        reversible=told.reversible,
        labels=told.labels,
        summary=_summary(kind, verb),
    )


def name(kind: Kind, verb: str) -> str:
    """`pods.delete`, `deployments.scale.update`, `pods.exec`."""
    return kind.short if verb == CONNECT else f"{kind.short}.{verb}"


_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
    CONNECT: "POST",
}


def _template(kind: Kind, verb: str) -> str:
    parts = ["apis", kind.group, "{version}"] if kind.group else ["api", "{version}"]
    if kind.namespaced:
        parts += ["namespaces", "{namespace}"]
    parts.append(kind.resource)
    if kind.subresource:
        parts += ["{name}", kind.subresource]
    elif verb not in OF_COLLECTIONS and verb != "create":
        parts.append("{name}")
    return "/" + "/".join(parts)


_WORDS = {
    "get": "Read",
    "list": "List",
    "watch": "Watch",
    "create": "Create",
    "update": "Replace",
    "patch": "Change",
    "delete": "Delete",
    "deletecollection": "Delete every one chosen of",
    CONNECT: "Open",
}


def _summary(kind: Kind, verb: str) -> str:
    what = kind.short.removesuffix(f".{kind.subresource}")
    below = f"{kind.subresource} of " if kind.subresource else ""
    which = "" if verb in OF_COLLECTIONS else " {name}"
    where = ' in namespace "{namespace}"' if kind.namespaced else ""
    return f"{_WORDS[verb]} {below}{what}{which}{where}"


def _fields(kind: Kind, verb: str) -> Iterator[Field]:
    # The name of the operation says them too; optional, so that cases of policies need not repeat them.
    for one in ("group", "version", "resource", "subresource", "verb"):
        yield _captured(one, required=False)
    yield _captured("namespace")
    if kind.subresource or verb not in {*OF_COLLECTIONS, "create"}:
        yield _captured("name")
    elif verb == "create":
        yield Field(name="name", place=Place.BODY, path=("metadata", "name"), type=FieldType.TEXT)
    if verb in OF_COLLECTIONS:
        yield from (_asked("labelSelector"), _asked("fieldSelector"))
    if verb not in READS and verb != CONNECT:
        yield _captured("dryRun", FieldType.BOOL)
    if verb in {"create", "update", "patch"}:
        yield _asked("fieldManager")
    if kind.subresource == "scale" and verb in {"update", "patch"}:
        yield Field(name="replicas", place=Place.BODY, path=("spec", "replicas"), type=FieldType.LONG)
    if verb == CONNECT:
        yield from _of_connections(kind)


def _of_connections(kind: Kind) -> Iterator[Field]:
    if kind.subresource == "proxy":
        yield Field(name="path", place=Place.PATH, path=("path",), type=FieldType.TEXT)
    if kind.subresource in {"exec", "attach"}:
        yield _asked("container")
    if kind.subresource == "exec":
        yield _asked("command", FieldType.TEXTS)


def _captured(name: str, kind: FieldType = FieldType.TEXT, *, required: bool = True) -> Field:
    return Field(name=name, place=Place.PATH, path=(name,), type=kind, required=required)


def _asked(name: str, kind: FieldType = FieldType.TEXT) -> Field:
    return Field(name=name, place=Place.QUERY, path=(name,), type=kind)


def _told(kind: Kind, verb: str) -> _Told:
    said = dict(_mapping(_mapping(_file()["kinds"])[verb]))
    for rule in _rules():
        if verb in _texts(rule["verbs"]) or ("read" if verb in READS else "write") in _texts(rule["verbs"]):
            said |= rule if {kind.short, f"{kind.group}/"} & set(_texts(rule["of"])) else {}
    reversible = said.get("reversible")
    return _Told(
        classes=frozenset(OperationClass(one) for one in _texts(said["class"])),
        tier=Tier(str(said["tier"])),
        labels=frozenset(_texts(said.get("labels", []))),
        reversible=reversible if isinstance(reversible, bool) else None,
    )


@cache
def _file() -> Mapping[str, Tree]:
    return tree(_FILE)


@cache
def _rules() -> tuple[Mapping[str, Tree], ...]:
    listed = _file()["rules"]
    return tuple(_mapping(one) for one in listed) if isinstance(listed, list) else ()


def _mapping(value: Tree) -> Mapping[str, Tree]:
    return value if isinstance(value, dict) else {}


def _texts(value: Tree) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()
