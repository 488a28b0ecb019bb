"""One operation as a catalogue file writes it, applied to what is known of it already.

Reads keys and nothing else: every key is known or a fault with a did-you-mean, every name that is referred to exists.
Which entries there are, and what they extend, is `connectors.apis.catalogue`'s.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from connectors.apis import matcher
from connectors.apis.derived import DERIVATIONS
from connectors.apis.documents import Tree, did_you_mean
from connectors.apis.errors import Fault
from policy.operation import Field, FieldType, Money, Operation, OperationClass, Place, Tier

TYPES: dict[str, FieldType] = {
    "text": FieldType.TEXT,
    "long": FieldType.LONG,
    "bool": FieldType.BOOL,
    "decimal": FieldType.DECIMAL,
    "texts": FieldType.TEXTS,
}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
KEYS = frozenset(
    {"call", "name", "tier", "class", "labels", "fields", "resource", "owner", "money", "reversible", "ignore"}
    | {"idempotency_header", "summary", "body"}
)
FIELD_KEYS = frozenset({"in", "path", "type", "required", "labels", "ignores_case", "read_as", "ignore"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[a-z][a-z0-9-]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
RESERVED = frozenset("true false if then else in is like has __cedar".split())  # noqa: SIM905
"""Words that Cedar does not take as attribute names."""

OPAQUE = "opaque"
"""The label of operations whose body nobody reads."""

_Word = TypeVar("_Word", bound=StrEnum)


class _Body(StrEnum):
    """What may be said of a body as a whole."""

    OPAQUE = "opaque"


@dataclass(slots=True, kw_only=True)
class Faults:
    """The faults of one file, as they are found."""

    file: str
    found: list[Fault] = field(default_factory=list)

    def add(self, where: str, message: str) -> None:
        """Notes one."""
        self.found.append(Fault(file=self.file, where=where, message=message))


class Section:
    """A mapping of the file: typed access to its keys; each wrong one is a fault, and reads as absent."""

    def __init__(self, tree: Tree, *, where: str, faults: Faults, known: frozenset[str]) -> None:
        self._tree = tree if isinstance(tree, dict) else {}
        self.where = where
        self.faults = faults
        if not isinstance(tree, dict) and tree is not None:
            faults.add(where, "must be a mapping")
        for key in self._tree:
            if key not in known:
                faults.add(self._at(key), f"unknown key{did_you_mean(key, known)}")

    def fault(self, key: str, message: str) -> None:
        """Notes a fault at one of the section's keys."""
        self.faults.add(self._at(key), message)

    def has(self, key: str) -> bool:
        """Whether the key is there, with whatever value."""
        return key in self._tree

    def text(self, key: str) -> str | None:
        """The key's text."""
        value = self._tree.get(key)
        if value is None or isinstance(value, str):
            return value
        self.fault(key, "must be a text")
        return None

    def flag(self, key: str) -> bool | None:
        """The key's truth value."""
        value = self._tree.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.fault(key, "must be true or false")
        return None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """One text, or a list of them."""
        value = self._tree.get(key)
        if value is None:
            return None
        items = value if isinstance(value, list) else [value]
        found = tuple(item for item in items if isinstance(item, str))
        if len(found) < len(items):
            self.fault(key, "must be a text or a list of texts")
        return found

    def words(self, key: str, among: Mapping[str, _Word]) -> tuple[_Word, ...] | None:
        """One word of a closed list, or a list of them."""
        found = self.texts(key)
        if found is None:
            return None
        for word in found:
            if word not in among:
                self.fault(key, f'"{word}" is not one of {", ".join(among)}{did_you_mean(word, dict(among))}')
        return tuple(among[word] for word in found if word in among)

    def labels(self, key: str) -> frozenset[str] | None:
        """Sensitivity labels."""
        found = self.texts(key)
        for label in found or ():
            if not _WORD.fullmatch(label):
                self.fault(key, f'"{label}" is not a label: lower-case letters, digits and dashes')
        return None if found is None else frozenset(found)

    def below(self, key: str, known: frozenset[str]) -> Section | None:
        """The section at a key."""
        if key not in self._tree:
            return None
        return Section(self._tree[key], where=self._at(key), faults=self.faults, known=known)

    def keys(self) -> dict[str, Tree]:
        """The raw mapping, for sections whose keys are the author's own."""
        return dict(self._tree)

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def entry(tree: Tree, *, where: str, faults: Faults) -> Section:
    """An operation's section, its keys checked."""
    return Section(tree, where=where, faults=faults, known=KEYS)


def call(text: str) -> tuple[str, str] | None:
    """`POST /v1/refunds` as method and template; None if it is not of that form."""
    method, space, template = text.partition(" ")
    return (method, template) if space and method in METHODS and template.startswith("/") else None


def fresh(upstream: str, ident: str, *, method: str, template: str) -> Operation:
    """An operation of which only the call is known, with the defaults of its method."""
    tier, classes = DEFAULTS.get(method, (Tier.MEDIUM, frozenset({OperationClass.WRITE})))
    fields = tuple(
        Field(name=attribute(name), place=Place.PATH, path=(name,), type=FieldType.TEXT, required=True)
        for name in matcher.parameters(template)
    )
    return Operation(
        name=f"{upstream}:{ident}",
        upstream=upstream,
        method=method,
        template=template,
        tier=tier,
        classes=classes,
        fields=fields,
    )


DEFAULTS: Mapping[str, tuple[Tier, frozenset[OperationClass]]] = {
    "GET": (Tier.LOW, frozenset({OperationClass.READ})),
    "HEAD": (Tier.LOW, frozenset({OperationClass.READ})),
    "OPTIONS": (Tier.LOW, frozenset({OperationClass.READ})),
    "DELETE": (Tier.HIGH, frozenset({OperationClass.DESTRUCTIVE})),
}
"""What a method says of an operation nobody described; every other method writes, at medium tier."""


def attribute(name: str) -> str:
    """The name as a Cedar attribute: `issue-number` gives `issue_number`, `in` gives `in_`."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", name) or "_"
    safe = f"_{safe}" if safe[0].isdigit() else safe
    return f"{safe}_" if safe in RESERVED else safe


def applied(known: Operation, section: Section) -> Operation:
    """The operation with everything the section says of it. Faults are noted; the result is then of no use."""
    labels, summary, reversible = section.labels("labels"), section.text("summary"), section.flag("reversible")
    classes = section.words("class", {one.value: one for one in OperationClass})
    tiers = section.words("tier", {one.value: one for one in Tier})
    header = section.text("idempotency_header")
    opaque = known.opaque or bool(section.words("body", {one.value: one for one in _Body}))
    changed = replace(
        known,
        name=_name(known, section),
        tier=tiers[0] if tiers else known.tier,
        classes=frozenset(classes) if classes else known.classes,
        opaque=opaque,
        labels=(known.labels if labels is None else labels) | ({OPAQUE} if opaque else set()),
        fields=_fields(known, section),
        owner_field=section.text("owner") or known.owner_field,
        reversible=known.reversible if reversible is None else reversible,
        idempotency_header=header.lower() if header else known.idempotency_header,
        summary=known.summary if summary is None else summary,
    )
    changed = _with_money(_with_resource(changed, section), section)
    # A connector that names calls by code has path fields that no template shows.
    given = {*matcher.parameters(known.template), *(one.path[0] for one in known.fields if one.place is Place.PATH)}
    _check_references(changed, section, given=given)
    return changed


def _name(known: Operation, section: Section) -> str:
    name = section.text("name")
    if name is None:
        return known.name
    if not _ID.fullmatch(name) or name == "unknown":
        section.fault("name", f'"{name}" is not a name: letters, digits, dots, dashes and slashes, and not "unknown"')
        return known.name
    return f"{known.upstream}:{name}"


def _fields(known: Operation, section: Section) -> tuple[Field, ...]:
    fields = {one.name: one for one in known.fields}
    listed = section.below("fields", frozenset(section_keys(section, "fields")))
    for name in listed.keys() if listed else ():
        one = listed.below(name, FIELD_KEYS) if listed else None
        if one is None:
            continue
        if one.flag("ignore"):
            if fields.pop(name, None) is None:
                one.fault("ignore", f"there is no such field{did_you_mean(name, fields)}")
        elif not _IDENTIFIER.fullmatch(name) or name in RESERVED:
            one.faults.add(one.where, f'is not a field name in Cedar; call it "{attribute(name)}"')
        elif (made := _field(name, fields.get(name), one)) is not None:
            fields[name] = made
    return tuple(fields.values())


def section_keys(section: Section, key: str) -> tuple[str, ...]:
    """The keys of the mapping at a key of the section, if it is one."""
    value = section.keys().get(key)
    return tuple(value) if isinstance(value, dict) else ()


def _field(name: str, known: Field | None, one: Section) -> Field | None:
    places = one.words("in", {place.value: place for place in Place})
    types = one.words("type", TYPES)
    path, labels = one.texts("path"), one.labels("labels")
    required, ignores_case = one.flag("required"), one.flag("ignores_case")
    place = places[0] if places else known.place if known else None
    read_as = _read_as(known, one)
    if read_as and place is Place.PATH:
        one.fault("read_as", "is for fields of query and body")
    if place is None:
        one.fault("in", "must say where a new field stands: path, query or body")
        return None
    # One text is dotted; keys that hold dots themselves are given as a list.
    dotted = path is not None and len(path) == 1 and isinstance(one.keys()["path"], str) and place is Place.BODY
    keys = tuple(path[0].split(".")) if path and dotted else path
    return Field(
        name=name,
        place=place,
        path=keys or (known.path if known else (name,)),
        type=_type(types[0] if types else None, known, one, read_as=read_as),
        required=required if required is not None else known.required if known else place is Place.PATH,
        labels=labels if labels is not None else known.labels if known else frozenset(),
        ignores_case=ignores_case if ignores_case is not None else known.ignores_case if known else False,
        read_as=read_as,
    )


def _read_as(known: Field | None, one: Section) -> str | None:
    said = one.text("read_as")
    if said is not None and said not in DERIVATIONS:
        one.fault("read_as", f'"{said}" is not one of {", ".join(DERIVATIONS)}{did_you_mean(said, DERIVATIONS)}')
        return None
    return said or (known.read_as if known else None)


def _type(said: FieldType | None, known: Field | None, one: Section, *, read_as: str | None) -> FieldType:
    if read_as is None:
        return said or (known.type if known else FieldType.TEXT)
    derived = DERIVATIONS[read_as].type
    if said not in {None, derived}:
        one.fault("type", f"must be {next(word for word, kind in TYPES.items() if kind is derived)}, or left out")
    return derived


def _with_resource(operation: Operation, section: Section) -> Operation:
    resource = section.below("resource", frozenset({"kind", "field", "scope"}))
    if resource is None:
        return operation
    kind = resource.text("kind") or operation.resource_kind
    if not _WORD.fullmatch(kind):
        resource.fault("kind", f'"{kind}" is not a kind: lower-case letters, digits and dashes')
    scope = resource.texts("scope")
    return replace(
        operation,
        resource_kind=kind,
        resource_field=resource.text("field") if resource.has("field") else operation.resource_field,
        resource_scope=operation.resource_scope if scope is None else scope,
    )


def _with_money(operation: Operation, section: Section) -> Operation:
    money = section.below("money", frozenset({"amount", "currency", "currency_field"}))
    if money is None:
        return operation
    amount, code, code_field = money.text("amount"), money.text("currency"), money.text("currency_field")
    if not amount:
        money.fault("amount", "must name the field that holds the amount")
        return operation
    if code and code_field:
        money.fault("currency", "is either fixed or in a field, not both")
    kinds = {one.name: one.type for one in operation.fields}
    if kinds.get(amount, FieldType.LONG) is not FieldType.LONG:
        money.fault("amount", f'field "{amount}" must be of type long: whole minor units')
    return replace(operation, money=Money(amount=amount, currency=code, currency_field=code_field))


def _check_references(operation: Operation, section: Section, *, given: Container[str]) -> None:
    names = {one.name: one for one in operation.fields}
    money = operation.money
    referred = {
        "resource": (operation.resource_field, *operation.resource_scope),
        "owner": (operation.owner_field,),
        "money": (money.amount, money.currency_field) if money else (),
    }
    for key, wanted in referred.items():
        for name in wanted:
            if name is not None and name not in names:
                section.fault(key, f'there is no field "{name}"{did_you_mean(name, names)}')
    if operation.opaque and any(one.place is Place.BODY for one in operation.fields):
        section.fault("body", "is opaque, so it has no fields; leave one or the other out")
    for one in operation.fields:
        if one.place is Place.PATH and one.path[0] not in given:
            section.fault(f"fields.{one.name}", f"{operation.template} has no parameter {{{one.path[0]}}}")
    for inner in _PLACEHOLDER.findall(operation.summary):
        name, _, form = inner.partition(":")
        if form not in {"", "money"} or name not in {*names, "method", "path", "upstream"}:
            section.fault("summary", f"cannot fill {{{inner}}}{did_you_mean(name, names)}")
