"""What a call is about where only the inside of its body tells: the keys of a deletion, the tables of a batch.

A policy that names a table must not be passed by the batch form of the same write. Whatever cannot be read for certain
is a bad body.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree import ElementTree as Xml

from connectors.apis.bodies import Document, Json

_DECLARATION = re.compile(r"^<\?xml version=[\"']1\.0[\"']( encoding=[\"']utf-8[\"'])?\s*\?>", re.IGNORECASE)
_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Unreadable(ValueError):
    """The body does not say it, or not in one way only. Its text is for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A field of texts that is read out of a body."""

    field: str
    read: Callable[[bytes, Json], Iterator[str]]
    """The texts, from the raw body and what it is as JSON. Raises Unreadable."""

    def added(self, raw: bytes, root: Json) -> Document:
        """The body as a tree with the field in it. Raises Unreadable."""
        told: list[Json] = [*sorted(set(self.read(raw, root)))]
        below = root if isinstance(root, dict) else {}
        if self.field in below:
            raise Unreadable(f'The body has a key "{self.field}", which is none of this operation.')
        return Document(root={**below, self.field: told})


def _deleted_keys(raw: bytes, _root: Json) -> Iterator[str]:
    root = _xml(raw)
    if root.tag.removeprefix(_S3) != "Delete":
        raise Unreadable("The body is not a list of objects to delete.")
    for entry in root:
        name = entry.tag.removeprefix(_S3)
        if name == "Object":
            yield _key(entry)
        elif name != "Quiet":
            raise Unreadable("The list of objects to delete holds something else than objects.")


def _xml(raw: bytes) -> Xml.Element:
    try:
        text = _DECLARATION.sub("", raw.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise Unreadable("The body is not XML in UTF-8.") from exc
    # A document type could define entities, and a second reader might not expand them.
    if "<!" in text or "<?" in text:
        raise Unreadable("The XML body holds a document type, a comment or an instruction. Send it without.")
    try:
        return Xml.fromstring(text)  # noqa: S314 - without a document type there is nothing to expand
    except Xml.ParseError as exc:
        raise Unreadable(f"The body is not XML at line {exc.position[0]}.") from exc


def _key(entry: Xml.Element) -> str:
    keys = [one for one in entry if one.tag.removeprefix(_S3) == "Key"]
    if len(keys) != 1 or len(keys[0]):
        raise Unreadable("An object to delete has not exactly one key.")
    return keys[0].text or ""


def _tables_of_batch(_raw: bytes, root: Json) -> Iterator[str]:
    listed = root.get("RequestItems") if isinstance(root, dict) else None
    if not isinstance(listed, dict):
        raise Unreadable("The batch has no RequestItems.")
    yield from listed


def _tables_of_transaction(_raw: bytes, root: Json) -> Iterator[str]:
    listed = root.get("TransactItems") if isinstance(root, dict) else None
    if not isinstance(listed, list):
        raise Unreadable("The transaction has no TransactItems.")
    for item in listed:
        acts = list(item.values()) if isinstance(item, dict) else []
        if not acts:
            raise Unreadable("An item of the transaction does nothing.")
        for act in acts:
            table = act.get("TableName") if isinstance(act, dict) else None
            if not isinstance(table, str):
                raise Unreadable("An item of the transaction names no table.")
            yield table


_NAMES = frozenset({"Bucket", "FunctionName", "SecretId", "TableName"})
_LISTS_OF_NAMES = frozenset({"TableNames"})


def other_name(captured: tuple[tuple[str, str], ...], root: Json) -> str | None:
    """The member that names a thing by its ARN where its name would do; None where there is none.

    A policy about the table `orders` must not be passed by calling it `arn:aws:dynamodb:…:table/orders`.
    """
    told: list[tuple[str, Json]] = [(name, unquote(value)) for name, value in captured]
    told += root.items() if isinstance(root, dict) else ()
    for name, value in told:
        values = value if name in _LISTS_OF_NAMES and isinstance(value, list) else [value] if name in _NAMES else []
        # Lambda takes `123456789012:function:name` as well.
        if any(isinstance(one, str) and (one.lower().startswith("arn:") or ":function:" in one) for one in values):
            return name
    return None


INSIDE: Mapping[str, Inside] = {
    "s3:DeleteObjects": Inside(field="Keys", read=_deleted_keys),
    "dynamodb:BatchGetItem": Inside(field="TableNames", read=_tables_of_batch),
    "dynamodb:BatchWriteItem": Inside(field="TableNames", read=_tables_of_batch),
    "dynamodb:TransactGetItems": Inside(field="TableNames", read=_tables_of_transaction),
    "dynamodb:TransactWriteItems": Inside(field="TableNames", read=_tables_of_transaction),
}
"""By service and operation."""
