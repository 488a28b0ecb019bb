"""What an upstream can be asked to do, from one file: its own entries over what it extends.

A file is a catalogue, or an OpenAPI document as published; where the upstream's connector names calls by code, the file
lies over the connector's own list. Decides which entries there are and which files they build on; what one entry says
is `connectors.apis.entries`' to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from connectors.apis import entries, finders, matcher, openapi
from connectors.apis.detectors import LABELS, UNSCANNED
from connectors.apis.documents import Tree, did_you_mean, refusal, tree
from connectors.apis.entries import Faults, Section
from connectors.apis.errors import CatalogueRefused
from connectors.apis.finders import Finder
from policy.operation import Operation

BUILTIN = "builtin:"
_SHIPPED = Path(__file__).parent
_KEYS = frozenset({"extends", "base", "operations", "refuses"})
_MOST_FILES = 5
"""How many catalogues may stand on one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Every operation of one upstream that has a name."""

    upstream: str
    operations: tuple[Operation, ...] = ()
    labels: frozenset[str] = LABELS | {UNSCANNED}
    """Every label that a call may carry: the operations', the fields', the detectors' and `unscanned`."""
    notes: tuple[str, ...] = ()
    """What was left out of an imported document, and why."""
    refuses: frozenset[str] = frozenset()
    """Names of fields that no call may carry in query or body: the upstream would take them for a credential."""
    find: Finder | None = None
    """What names the calls, where the operations' templates do not."""


@dataclass(frozen=True, slots=True)
class _Stock:
    operations: tuple[Operation, ...] = ()
    notes: tuple[str, ...] = ()
    refuses: frozenset[str] = frozenset()


def empty(upstream: str) -> Catalogue:
    """The catalogue of an upstream nobody described: every call is its unknown operation."""
    return Catalogue(upstream=upstream)


def load(
    path: Path | None, *, upstream: str, connector: str = "generic", settings: Mapping[str, Tree] = MappingProxyType({})
) -> Catalogue:
    """The catalogue in a file, or a shipped one as `builtin:stripe`. Raises CatalogueRefused with every fault.

    Where `connector` names calls by code, its own list with what the file says of it; no file is needed then.
    `settings` are what its section says where the file does not.
    """
    if finders.names_by_code(connector):
        return _by_code(path, upstream=upstream, connector=connector, settings=settings)
    if path is None:
        return empty(upstream)
    stock = _stock(path, upstream=upstream, left=_MOST_FILES, base=None)
    return Catalogue(
        upstream=upstream,
        operations=stock.operations,
        labels=_labels(stock.operations),
        notes=stock.notes,
        refuses=stock.refuses,
    )


def shipped() -> tuple[str, ...]:
    """Names of the catalogues that come with the program."""
    return tuple(sorted(file.parent.name for file in _SHIPPED.glob("*/catalogue.yaml")))


def _labels(operations: tuple[Operation, ...]) -> frozenset[str]:
    said = {label for one in operations for label in one.labels}
    return LABELS | {UNSCANNED} | said | {label for one in operations for each in one.fields for label in each.labels}


def _by_code(path: Path | None, *, upstream: str, connector: str, settings: Mapping[str, Tree]) -> Catalogue:
    if path is not None and path.name == f"{BUILTIN}{connector}":
        path = None  # The connector's own list, as said of others.
    faults = Faults(file=str(path or f"{BUILTIN}{connector}"))
    content = tree(path) if path is not None else {}
    said = content.get(connector, {})
    if settings and isinstance(said, dict):
        content = {**content, connector: {**settings, **said}}
    top = Section(content, where="", faults=faults, known=frozenset({connector, "operations"}))
    keys = finders.keys_of(connector)
    told = top.below(connector, keys) or Section({}, where=connector, faults=faults, known=keys)
    spoken = finders.spoken(connector, told, upstream=upstream)
    operations = _amended(spoken.operations, top, upstream=upstream)
    if faults.found:
        raise CatalogueRefused(tuple(faults.found))
    labels = _labels(operations) | spoken.labels
    return Catalogue(upstream=upstream, operations=operations, labels=labels, find=spoken.find)


def _amended(under: tuple[Operation, ...], top: Section, *, upstream: str) -> tuple[Operation, ...]:
    """A connector's operations with this file's entries applied. Which calls they are is the connector's to say."""
    listed = top.below("operations", frozenset(entries.section_keys(top, "operations")))
    short = {one.name.removeprefix(f"{upstream}:"): one for one in under}
    for key, content in (listed.keys() if listed else {}).items():
        section = entries.entry(content, where=f"operations.{key}", faults=top.faults)
        if key not in short:
            section.faults.add(section.where, f"no such operation of this connector{did_you_mean(key, short)}")
            continue
        for word in ("call", "name"):
            if section.has(word):
                section.fault(word, "is the connector's to say")
        if section.flag("ignore"):
            del short[key]
        else:
            short[key] = entries.applied(short[key], section)
    return tuple(short.values())


def _stock(path: Path, *, upstream: str, left: int, base: str | None) -> _Stock:
    file = _file(path)
    if left == 0:
        raise refusal(path, f"stands on more than {_MOST_FILES} other catalogues, or on itself")
    content = tree(file)
    if "openapi" in content or "swagger" in content:
        imported = openapi.operations(content, upstream=upstream, file=str(path), base=base)
        return _Stock(imported.operations, imported.notes)
    faults = Faults(file=str(path))
    top = Section(content, where="", faults=faults, known=_KEYS)
    extends = top.text("extends")
    under = _Stock()
    if extends is not None:
        below = Path(extends) if extends.startswith(BUILTIN) else file.parent / extends
        under = _stock(below, upstream=upstream, left=left - 1, base=_base(top))
    elif top.has("base"):
        top.fault("base", "goes with `extends`; the calls of this file are written in full")
    refuses = under.refuses.union(top.texts("refuses") or ())
    stock = _Stock(_overlaid(under.operations, top, upstream=upstream), under.notes, refuses)
    if faults.found:
        raise CatalogueRefused(tuple(faults.found))
    return replace(stock, operations=_based(stock.operations, base))


def _file(path: Path) -> Path:
    # Settings may have made the path absolute; then only its last part says `builtin:`.
    written = str(path) if str(path).startswith(BUILTIN) else path.name
    if not written.startswith(BUILTIN):
        return path
    name = written.removeprefix(BUILTIN)
    if name not in shipped():
        raise refusal(path, f"there is no such catalogue{did_you_mean(name, frozenset(shipped()))}")
    return _SHIPPED / name / "catalogue.yaml"


def _base(top: Section) -> str | None:
    base = top.text("base")
    if base and (matcher.fault(base) or base.endswith("/") or "{" in base):
        top.fault("base", "must be a path that begins with a slash and does not end with one, or empty")
        return None
    return base


def _based(operations: tuple[Operation, ...], base: str | None) -> tuple[Operation, ...]:
    return tuple(openapi.below(base, one) for one in operations) if base else operations


def _overlaid(under: tuple[Operation, ...], top: Section, *, upstream: str) -> tuple[Operation, ...]:
    """The operations below with this file's entries applied, ignored ones gone, new ones at the end."""
    listed = top.below("operations", frozenset(entries.section_keys(top, "operations")))
    known = {one.name: one for one in under}
    by_call = {(one.method, one.template): one.name for one in under}
    result: dict[str, Operation | None] = dict(known)
    for key, content in (listed.keys() if listed else {}).items():
        section = entries.entry(content, where=f"operations.{key}", faults=top.faults)
        found = _addressed(key, section, upstream=upstream, known=known, by_call=by_call)
        if found is not None:
            result[found.name] = None if section.flag("ignore") else entries.applied(found, section)
    operations = tuple(one for one in result.values() if one is not None)
    _check_apart(operations, top)
    return operations


def _addressed(
    key: str, section: Section, *, upstream: str, known: dict[str, Operation], by_call: dict[tuple[str, str], str]
) -> Operation | None:
    """The operation that an entry is about: one from below, by its id or its call, or a new one."""
    ident = f"{upstream}:{key}"
    if ident in known:
        if section.has("call"):
            section.fault("call", "stands in the catalogue below already; `ignore` that operation and add another")
        return known[ident]
    written = key if " " in key else section.text("call")
    if written is None:
        short = {name.partition(":")[2]: one for name, one in known.items()}
        section.faults.add(section.where, f"no such operation, and no `call` to make it{did_you_mean(key, short)}")
        return None
    named = entries.call(written)
    wrong = matcher.fault(named[1]) if named else "must be a method and a path: POST /v1/refunds"
    if named is None or wrong is not None:
        section.faults.add(section.where, f'"{written}" {wrong}')
        return None
    method, template = named
    if (method, template) in by_call:
        return known[by_call[method, template]]
    made = openapi.identifier("" if " " in key else key, method=method, template=template)
    if (" " not in key and made != key) or made == "unknown":
        section.faults.add(section.where, "is not a name: letters, digits, dots, dashes, slashes, and not `unknown`")
        return None
    return entries.fresh(upstream, made, method=method, template=template)


def _check_apart(operations: tuple[Operation, ...], top: Section) -> None:
    seen: set[str] = set()
    for one in operations:
        if one.name in seen:
            top.fault("operations", f"two operations are called {one.name}")
        seen.add(one.name)
    for conflict in matcher.Matcher(operations).conflicts:
        top.fault("operations", f"{conflict.dropped} takes the same calls as {conflict.kept}: {conflict.call}")
