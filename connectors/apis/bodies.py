"""What stands in a body or a query: a strict reading, or a plain No.

JSON, form and multipart bodies become one kind of tree. Whatever two parsers could read differently is `Malformed`
(duplicate keys, NaN, a byte order mark, stray escapes); a type that is not read here is `Opaque`. What follows from
either is decided by `connectors.apis.naming`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from json import JSONDecodeError, JSONDecoder
from urllib.parse import unquote_to_bytes

Json = None | bool | int | Decimal | str | list["Json"] | dict[str, "Json"]
"""A JSON value; numbers with a point or an exponent keep their decimal text."""

_MOST_PAIRS = 10_000
"""Keys of one form. Larger forms are refused, as PHP and Rack do (at 1,000 and 4,096)."""
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_NO_FORM = frozenset({b"{", b"[", b"<", b'"'})
"""What an encoder of forms escapes. An upstream that guesses types by the first byte reads fields where we see none."""
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r'\s*;\s*([A-Za-z0-9_-]+)=(?:"([^"\\]*)"|([^\s;,"]+))')
_JSON = frozenset({"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"})
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_PROSE = frozenset({"application/xml", "application/yaml", "application/x-yaml", "application/x-ndjson"})
_PROSE_MORE = frozenset({"application/graphql", "application/javascript", "application/sql", "application/toml"})


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A JSON body."""

    root: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form or a query: texts in a tree by Stripe's brackets. A list is a key that stood more than once."""

    root: dict[str, Json]
    files: bool = False
    """True if there are parts that were not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prose:
    """Text whose structure nobody reads here: plain text, XML, YAML."""

    text: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """Bytes of a type, or in a charset, that is not read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """Not one well-formed value of the type it claims to be."""

    detail: str


Body = Nothing | Document | Form | Prose | Opaque | Malformed


class _Refused(Exception):
    """Stops a parser from inside one of its hooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """A Content-Type (RFC 9110 section 8.3), lower case, with its parameters."""

    name: str
    parameters: dict[str, str]


@lru_cache(maxsize=256)
def media_type(text: str | None) -> MediaType | None:
    """The media type, or None where there is none or it can be read in two ways."""
    name, _, rest = (text or "").partition(";")
    found: dict[str, str] = {}
    position, rest = 0, f";{rest}" if rest.strip() else ""
    while position < len(rest):
        one = _PARAMETER.match(rest, position)
        if one is None or one[1].lower() in found:
            return None
        found[one[1].lower()] = one[2] if one[2] is not None else one[3]
        position = one.end() if rest[one.end() :].strip() else len(rest)
    name = name.strip().lower()
    return MediaType(name=name, parameters=found) if re.fullmatch(r"[\w.+-]+/[\w.+-]+", name) else None


def may_pass_unread(content_type: str | None) -> bool:
    """Whether nobody takes a body of this type for fields; a type that can be read in two ways may be a form."""
    if content_type is None:
        return True
    media = media_type(content_type)
    return media is not None and not (media.name in _JSON | {_FORM, _MULTIPART} or media.name.endswith("+json"))


def read(content_type: str | None, body: bytes, *, json_depth: int) -> Body:
    """The body as far as its declared type lets it be read. Never guesses a type from the bytes."""
    if not body:
        return Nothing()
    media = media_type(content_type)
    if media is None or media.parameters.get("charset", "utf-8").lower() not in {"utf-8", "us-ascii"}:
        return Opaque()
    if media.name in _JSON or media.name.endswith("+json"):
        return document(body, json_depth=json_depth)
    if media.name == _FORM:
        if body.lstrip()[:1] in _NO_FORM:
            return Malformed(detail="The body claims to be a form, and begins like JSON or XML.")
        return form(body, depth=json_depth)
    if media.name == _MULTIPART:
        return _multipart(body, boundary=media.parameters.get("boundary", ""), depth=json_depth)
    if media.name.startswith("text/") or media.name.endswith("+xml") or media.name in _PROSE | _PROSE_MORE:
        return _prose(body)
    return Opaque()


def document(body: bytes, *, json_depth: int) -> Document | Malformed:
    """One JSON value (RFC 8259) and nothing beside it; policy fact 7 lists what is refused."""
    try:
        text = body.decode("utf-8")
        if text.startswith("\ufeff"):
            return Malformed(detail="The JSON body begins with a byte order mark.")
        root: Json = _DECODER.decode(text)
    except UnicodeDecodeError:
        return Malformed(detail="The JSON body is not UTF-8.")
    except _Refused as exc:
        return Malformed(detail=f"The JSON body {exc}.")
    except RecursionError:
        return Malformed(detail="The JSON body is nested too deeply.")
    except JSONDecodeError as exc:
        return Malformed(detail=f"The JSON body is not JSON at line {exc.lineno}, column {exc.colno}.")
    except ValueError:
        return Malformed(detail="The JSON body holds a number of thousands of digits.")
    # No deeper than it has opening brackets: most bodies need no second look.
    if body.count(b"{") + body.count(b"[") > json_depth and _deeper(root, json_depth):
        return Malformed(detail=f"The JSON body is nested more than {json_depth} deep.")
    if b"\\ud" in body or b"\\uD" in body:
        return _without_surrogates(root)
    return Document(root=root)


def form(encoded: bytes, *, depth: int) -> Form | Malformed:
    """Pairs of a form or a query, percent-decoded, `card[number]=4242` as {"card": {"number": "4242"}}."""
    try:
        text = encoded.decode("ascii")
    except UnicodeDecodeError:
        return Malformed(detail="The form holds bytes outside ASCII.")
    # A semicolon separates pairs for some parsers and not for others; encoders escape it.
    if ";" in text or _BAD_ESCAPE.search(text):
        return Malformed(detail="The form holds a semicolon or a broken percent escape.")
    pieces = [piece for piece in text.split("&") if piece]
    try:
        pairs = [(_decoded(key), _decoded(value)) for key, _, value in (piece.partition("=") for piece in pieces)]
    except UnicodeDecodeError:
        return Malformed(detail="The form holds escapes that are not UTF-8.")
    return _grown(pairs, depth=depth)


def _decoded(piece: str) -> str:
    plain = piece.replace("+", " ") if "+" in piece else piece
    return unquote_to_bytes(plain).decode("utf-8") if "%" in plain else plain


def _grown(pairs: Sequence[tuple[str, str | None]], *, depth: int, files: bool = False) -> Form | Malformed:
    if len(pairs) > _MOST_PAIRS:
        return Malformed(detail=f"The form has more than {_MOST_PAIRS} fields.")
    root: dict[str, Json] = {}
    for key, value in pairs:
        parts = _parts(key)
        if len(parts) > depth:
            return Malformed(detail=f"The form's brackets are nested more than {depth} deep.")
        _put(root, parts, value)
    return Form(root=root, files=files)


def _parts(key: str) -> list[str]:
    whole = _KEY.fullmatch(key) if "[" in key or "]" in key else None
    # A key with stray brackets stays as it is; the reader finds that it resembles a declared field.
    return [whole[1], *whole[2][1:-1].split("][")] if whole and whole[2] else [key]


def _put(root: dict[str, Json], parts: list[str], value: Json) -> None:
    """Adds the value. Where a text and a branch, or two texts, meet in one place, both stay, in a list."""
    node = root
    for part in parts[:-1]:
        below = node.setdefault(part, {})
        if not isinstance(below, dict):
            branches = [one for one in below if isinstance(one, dict)] if isinstance(below, list) else []
            fresh: dict[str, Json] = branches[0] if branches else {}
            if not branches:
                node[part] = [*below, fresh] if isinstance(below, list) else [below, fresh]
            below = fresh
        node = below
    last = parts[-1]
    if last not in node:
        node[last] = value
        return
    there = node[last]
    if isinstance(there, list):
        there.append(value)
    else:
        node[last] = [there, value]


def _prose(body: bytes) -> Prose | Opaque:
    try:
        return Prose(text=body.decode("utf-8"))
    except UnicodeDecodeError:
        return Opaque()


def _multipart(body: bytes, *, boundary: str, depth: int) -> Form | Malformed:
    """Text parts of a multipart/form-data body (RFC 7578); a file stands as None, which is no field's value."""
    wrong = Malformed(detail="The multipart body is not well formed.")
    if not re.fullmatch(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]", boundary):
        return wrong
    # INVARIANT: no preamble, no epilogue, no bare line feeds: nothing that one parser skips and another reads.
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("ascii"))
    if len(pieces) < 2 or pieces[0] or pieces[-1] not in {b"--", b"--\r\n"} or len(pieces) > _MOST_PAIRS:
        return wrong
    parts = [_part(piece) for piece in pieces[1:-1]]
    pairs = [part for part in parts if part is not None]
    if len(pairs) < len(parts):
        return wrong
    return _grown(pairs, depth=depth, files=any(text is None for _, text in pairs))


_DISPOSITION = re.compile(
    r'form-data; ?name="([^"\\%\r\n]*)"(?:; ?(filename)="[^"\r\n]*")?(?:; ?filename\*=[^;"\s]+)?', re.IGNORECASE
)
_AS_IT_IS = frozenset({"binary", "8bit", "7bit"})


def _part(piece: bytes) -> tuple[str, str | None] | None:
    """The part's name, and its text unless it is a file; None if it is not one well-formed part."""
    head, gap, content = piece.partition(b"\r\n\r\n")
    if not gap or not head.startswith(b"\r\n"):
        return None
    headers: dict[str, str] = {}
    for line in head[2:].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z-]+", name) or name.lower() in headers or "\n" in value:
            return None
        headers[name.lower()] = value.strip()
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if disposition is None or headers.get("content-transfer-encoding", "binary").lower() not in {
        "binary",
        "8bit",
        "7bit",
    }:
        return None
    if disposition[2] or "filename" in headers["content-disposition"].lower():
        return disposition[1], None
    media = media_type(headers.get("content-type", "text/plain"))
    if media is None or media.name != "text/plain" or media.parameters.get("charset", "utf-8").lower() != "utf-8":
        return disposition[1], None
    try:
        return disposition[1], content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    # Keys arrive unescaped, so `"a"` and `"\u0061"` are found to be one.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("has a key that stands twice")
    return found


def _constant(name: str) -> Json:
    raise _Refused(f"holds {name}, which is not JSON")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _Refused("holds a number with an exponent beyond all use") from None


_DECODER = JSONDecoder(object_pairs_hook=_object, parse_float=_decimal, parse_constant=_constant)


def _children(node: Json) -> Iterable[Json]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _deeper(root: Json, limit: int) -> bool:
    level: list[Json] = [root]
    for _ in range(limit):
        level = [child for node in level for child in _children(node) if isinstance(child, (dict, list))]
        if not level:
            return False
    return any(isinstance(node, (dict, list)) for node in level)


def _without_surrogates(root: Json) -> Document | Malformed:
    # Half a surrogate pair has no UTF-8 form: what is judged could not be what is sent.
    if any(_lone(text) for text in _texts(root)):
        return Malformed(detail="The JSON body holds half a surrogate pair.")
    return Document(root=root)


def _texts(root: Json) -> Iterable[str]:
    stack: list[Json] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            yield from node
        stack.extend(_children(node))


def _lone(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
