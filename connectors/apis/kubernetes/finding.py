"""Which operation a Kubernetes call is; and what a catalogue file may say of custom resources.

A call is known when its attributes are certain, its resource is listed, and it stands where that resource is served: in
a namespace or in the cluster. Everything else is unknown, and the law holds or refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from connectors.apis.bodies import Document, Nothing
from connectors.apis.entries import Section, section_keys
from connectors.apis.finders import Asked, Found, Spoken
from connectors.apis.kubernetes import elsewhere
from connectors.apis.kubernetes.attributes import Attributes, attributes
from connectors.apis.kubernetes.operations import (
    CONNECT,
    NEVER_DRY,
    READS,
    Kind,
    Listed,
    kinds,
    name,
    operation,
)

KEYS = frozenset({"resources"})
_RESOURCE = re.compile(r"(?P<resource>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.(?P<group>[a-z0-9-]+(?:\.[a-z0-9-]+)+)")
"""`<plural>.<group>`, which is the name of the resource's definition."""
_OF_CUSTOMS = ("status", "scale")


def spoken(section: Section, *, upstream: str) -> Spoken:
    """Everything that this API server serves. `resources` of the section names custom resources."""
    known = kinds(_customs(section))
    operations = {
        one.name: one for kind in known for verb in kind.verbs for one in [operation(kind, verb, upstream=upstream)]
    }
    table = {(kind.group, kind.resource, kind.subresource): kind for kind in known}
    return Spoken(
        operations=(*operations.values(), *elsewhere.operations(upstream)),
        find=_Finder(upstream=upstream, table=table),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finder:
    upstream: str
    table: Mapping[tuple[str, str, str], Kind]

    def __call__(self, asked: Asked) -> Found | None:
        """The call's operation."""
        path = elsewhere.named(asked.target)
        if path is not None:
            return Found(name=f"{self.upstream}:{path}", captured=(("path", asked.target.path),))
        read = attributes(asked.target)
        kind = self.table.get((read.group, read.resource, read.subresource)) if read else None
        if read is None or kind is None or not _is_served(kind, read):
            return None
        verb = CONNECT if CONNECT in kind.verbs else read.verb
        if verb not in kind.verbs:
            return None
        captured = tuple((key, quote(value, safe="")) for key, value in _captured(kind, read, asked))
        return Found(name=f"{self.upstream}:{name(kind, verb)}", captured=captured)


def _is_served(kind: Kind, read: Attributes) -> bool:
    if read.scoped:
        return kind.namespaced
    # Without a namespace, what is in one can only be listed and watched, everywhere at once.
    return not kind.namespaced or (read.verb in READS and not read.name)


def _captured(kind: Kind, read: Attributes, asked: Asked) -> Iterator[tuple[str, str]]:
    yield from (("group", read.group), ("version", read.version), ("resource", read.resource))
    yield from (("subresource", read.subresource), ("namespace", read.namespace), ("verb", read.verb))
    if read.name:
        yield "name", read.name
    if read.path is not None:
        yield "path", read.path
    dry = (kind.resource, kind.subresource) not in NEVER_DRY and _is_dry(read, asked)
    yield "dryRun", "true" if dry else "false"


def _is_dry(read: Attributes, asked: Asked) -> bool:
    """Whether the server is certain to change nothing.

    Options of a deletion are read from its body, and from the query only where there is no body: an empty object in
    the body of `DELETE …?dryRun=All` deletes.
    """
    if read.verb in {"delete", "deletecollection"} and not isinstance(asked.body, Nothing):
        return isinstance(asked.body, Document) and _only_all(asked.body.root)
    said = [value for key, value in parse_qsl(asked.target.query, keep_blank_values=True) if key == "dryRun"]
    return bool(said) and set(said) == {"All"}


def _only_all(options: object) -> bool:
    return isinstance(options, dict) and options.get("dryRun") == ["All"]


def _customs(section: Section) -> tuple[Listed, ...]:
    listed = section.below("resources", frozenset(section_keys(section, "resources")))
    shipped = {(kind.group, kind.resource) for kind in kinds()}
    found = []
    for key in listed.keys() if listed else ():
        one = listed.below(key, frozenset({"namespaced", "subresources"})) if listed else None
        split = _RESOURCE.fullmatch(key)
        if split is None or one is None:
            section.fault(f"resources.{key}", "must be the name of a definition: widgets.example.com")
        elif (split["group"], split["resource"]) in shipped:
            section.fault(f"resources.{key}", "comes with Kubernetes and is known already")
        else:
            found.append(_custom(one, group=split["group"], resource=split["resource"]))
    return tuple(found)


def _custom(one: Section, *, group: str, resource: str) -> Listed:
    subresources = one.texts("subresources") or ()
    for subresource in subresources:
        if subresource not in _OF_CUSTOMS:
            one.fault("subresources", f'"{subresource}" is not one that a definition can have: status, scale')
    return Listed(
        group=group,
        resource=resource,
        namespaced=one.flag("namespaced") is not False,
        subresources=tuple(each for each in _OF_CUSTOMS if each in subresources),
    )
