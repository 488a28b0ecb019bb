"""Operations as the text of a catalogue file: what `connectors.apis.catalogue` reads back as the same operations.

Leaves out what goes without saying: the defaults of a method, and path parameters that are plain texts.
"""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from connectors.apis import entries
from connectors.apis.documents import Tree
from policy.operation import Field, FieldType, Operation, Place

_WORDS = {kind: word for word, kind in entries.TYPES.items()}


def written(operations: Iterable[Operation]) -> str:
    """The operations as YAML, in their order."""
    listed: Tree = {one.name.partition(":")[2]: _entry(one) for one in operations}
    return yaml.dump({"operations": listed}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000)


class _Short(dict[str, Tree]):
    """A mapping that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Block style for entries, one line for each field; no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        """Never an alias: the file is for people to edit."""
        return data is not self


_Dumper.add_representer(
    _Short, lambda dumper, mapping: dumper.represent_mapping("tag:yaml.org,2002:map", mapping, flow_style=True)
)


def _entry(one: Operation) -> dict[str, Tree]:
    plain = entries.fresh(one.upstream, "", method=one.method, template=one.template)
    entry: dict[str, Tree] = {"call": f"{one.method} {one.template}"}
    if one.tier is not plain.tier:
        entry["tier"] = one.tier.value
    if one.classes != plain.classes:
        entry["class"] = [each.value for each in sorted(one.classes)]
    if one.opaque:
        entry["body"] = entries.OPAQUE
    if labels := one.labels - ({entries.OPAQUE} if one.opaque else set()):
        entry["labels"] = [*sorted(labels)]
    fields: dict[str, Tree] = {field.name: _field(field) for field in one.fields if field not in plain.fields}
    gone = {field.name for field in plain.fields} - {field.name for field in one.fields}
    fields |= {name: _Short(ignore=True) for name in sorted(gone)}
    if fields:
        entry["fields"] = fields
    return entry | _about(one)


def _about(one: Operation) -> dict[str, Tree]:
    about: dict[str, Tree] = {}
    if one.resource_kind != "resource" or one.resource_field:
        scope: Tree = [*one.resource_scope]
        about["resource"] = _filled(kind=one.resource_kind, field=one.resource_field, scope=scope or None)
    if one.money:
        money = one.money
        about["money"] = _filled(amount=money.amount, currency=money.currency, currency_field=money.currency_field)
    rest = _filled(
        owner=one.owner_field,
        reversible=one.reversible,
        idempotency_header=one.idempotency_header,
        summary=one.summary or None,
    )
    return about | dict(rest)


def _field(field: Field) -> Tree:
    return _filled(
        **{"in": field.place.value},
        path=_path(field) if field.path != (field.name,) else None,
        type=_WORDS[field.type] if field.type is not FieldType.TEXT else None,
        required=field.required if field.required != (field.place is Place.PATH) else None,
        labels=[*sorted(field.labels)] or None,
        ignores_case=field.ignores_case or None,
        read_as=field.read_as,
    )


def _path(field: Field) -> Tree:
    dots = field.place is not Place.BODY or any("." in key for key in field.path)
    return [*field.path] if dots else ".".join(field.path)


def _filled(**keys: Tree) -> _Short:
    return _Short({key: value for key, value in keys.items() if value is not None})
