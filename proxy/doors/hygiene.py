"""Whether the head of a request is one that every reader reads alike; if so, its parts.

Pure functions over raw bytes, called before aiohttp's parser sees them, because that parser lets through (3.14.5) what
an upstream may read differently: doubled spaces, an empty Transfer-Encoding, two credentials, HTTP/0.9. What the target
may look like is `proxy.doors.target`'s, which hosts are ours is `proxy.doors.addresses`'. Nothing here repeats a byte
of what came in: a sentence may end up in a log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from config.settings import Limits
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.target import refuse_target

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_REQUEST_LINE = re.compile(rb"([^ ]+) ([^ ]+) HTTP/([0-9])\.([0-9])")
_LINE_OF_HTTP_09 = re.compile(rb"[A-Z]+ [^ ]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^`|~0-9A-Za-z_]+")
# RFC 9110 section 5: a token, a colon at once, then visible characters, spaces and tabs between them. obs-fold (a line
# that begins with white space) has no name and so does not match.
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff][\x20-\x7e\x80-\xff\t]*)?)")
# What nearly every head is, in one pass: a target without escapes whose segments are neither empty nor end in a dot
# (`proxy.doors.target` has the whole rule), and fields in ASCII. INVARIANT: it takes no head that the longer way
# refuses for its form, and reads none otherwise; tests/doors/test_head.py compares the two.
_USUAL = re.compile(
    rb"((?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS)) "
    rb"((?=/)(?:/[A-Za-z0-9\-._~!$&'()*+,=:@]*+(?<![./]))*+/?(?:\?[A-Za-z0-9\-._~!$&'()*+,=:@/?\[\]{}|^]++)?) "
    rb"HTTP/1\.([01])\r\n"
    rb"((?:[!#$%&'*+\-.^`|~0-9A-Za-z]++:[\t\x20-\x7e]*+\r\n)*+)\r\n"
)
# One digit string, no sign, no leading zero (some readers take it for octal).
_LENGTH = re.compile(r"0|[1-9][0-9]*")

_ONCE = frozenset({"authorization", "host", "expect", "idempotency-key", "transfer-encoding", "x-api-key", "api-key"})
# RFC 9110 section 7.6.1 lets Connection nominate any field. Nominating one of these would change what the call is.
# X-Forwarded-For among them: dropped on the word of the agent, a trusted proxy's own address would stand in its place.
_NEVER_NOMINATED = _ONCE - {"transfer-encoding"} | {"x-forwarded-for"}
_NOBODY = frozenset[str]()
_USUALLY_NOMINATED = {option: frozenset({option.lower()}) for option in ("keep-alive", "Keep-Alive", "close")}
# The request line's fixed parts: the longest method, two spaces, the version.
_AROUND_TARGET_BYTES = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of one well-formed request."""

    method: str
    path: str
    """Raw, without the query."""
    query: str
    """Raw, without the question mark."""
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""
    headers: tuple[tuple[str, str], ...]
    """End-to-end fields, names in lower case, in order. Those that Connection nominates are left out."""
    fields: Mapping[str, str]
    """The same by name; a repeated field's values joined by a comma (RFC 9110 section 5.3)."""
    host: str
    """The Host field, lower case."""
    chunked: bool
    length: int
    """Content-Length; 0 where there is none, and where the body is chunked."""
    keep_alive: bool
    expects_continue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRefused(Refused):
    """The refusal of a call that asks for the connection itself (RFC 9110 section 7.8) and is well-formed otherwise."""

    head: Head
    """What it asked of whom: its sender is answered in the words of that API."""


def refuse_start(held: bytes, *, limits: Limits) -> Refused | None:
    """Why the beginning of a head, as far as it has come, can no longer become one that is taken."""
    if not 0x41 <= held[0] <= 0x5A:
        return _malformed("The connection does not begin with an HTTP method. Send plain HTTP/1.1 to this address.")
    if _has_bare_lf(held):
        return _malformed("A line of the request head ends without CR. End each with CR LF.")
    line_end = held.find(b"\r\n")
    if line_end < 0:
        too_long = len(held) > limits.target_bytes + _AROUND_TARGET_BYTES
        return _target_too_long(limits) if too_long else None
    line = read_request_line(held[:line_end], limits=limits)
    if isinstance(line, Refused):
        return line
    return _headers_too_large(limits) if len(held) - line_end > limits.header_bytes else None


def read_request_line(line: bytes, *, limits: Limits) -> tuple[str, str, int] | Refused:
    """Method, raw target and minor version of a request line (RFC 9112 section 3), or why it is refused."""
    parts = _REQUEST_LINE.fullmatch(line)
    if parts is None:
        if _LINE_OF_HTTP_09.fullmatch(line):
            return _version()
        if len(line) > limits.target_bytes + _AROUND_TARGET_BYTES:
            return _target_too_long(limits)
        return _malformed("The request line is not method, target and version with one space between them.")
    method, target, major, minor = parts.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        return _version()
    if not _METHOD.fullmatch(method):
        return _malformed("The method is not an HTTP token.")
    if method.decode() not in METHODS:
        listed = ", ".join(sorted(METHODS))
        return Refused(reason=Reason.METHOD_NOT_ALLOWED, detail=f"This method is not taken here. Use one of: {listed}.")
    if len(target) > limits.target_bytes:
        return _target_too_long(limits)
    raw = target.decode("latin-1")
    return refuse_target(raw) or (method.decode(), raw, int(minor))


def read_head(raw: bytes, *, limits: Limits) -> Head | Refused:
    """The parts of a whole head (first line to the empty line), or why it is refused."""
    usual = _USUAL.fullmatch(raw)
    return _read_unusual(raw, limits) if usual is None else _read_usual(usual, limits)


def _read_usual(usual: re.Match[bytes], limits: Limits) -> Head | Refused:
    method, target, minor, block = usual.groups()
    if len(target) > limits.target_bytes:
        return _target_too_long(limits)
    headers = []
    for line in block.decode("ascii").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip(" \t")))
    # From the end of the first line on.
    size = usual.end() - usual.start(4) + 2
    if len(headers) > limits.headers or size > limits.header_bytes:
        return _headers_too_large(limits)
    return _assemble((method.decode("ascii"), target.decode("ascii"), int(minor)), headers, limits)


def _read_unusual(raw: bytes, limits: Limits) -> Head | Refused:
    if _has_bare_lf(raw):
        return _malformed("A line of the request head ends without CR. End each with CR LF.")
    first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = read_request_line(first, limits=limits)
    if isinstance(line, Refused):
        return line
    if len(lines) > limits.headers or len(raw) - len(first) > limits.header_bytes:
        return _headers_too_large(limits)
    headers = _read_fields(lines)
    if isinstance(headers, Refused):
        return headers
    return _assemble(line, headers, limits)


def _has_bare_lf(raw: bytes) -> bool:
    return raw.count(b"\n") != raw.count(b"\r\n")


def _read_fields(lines: list[bytes]) -> list[tuple[str, str]] | Refused:
    headers: list[tuple[str, str]] = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            return _malformed("A header line is not a name, a colon and a value of visible characters.")
        name = field[1].decode().lower()
        if "_" in name:
            # Many servers read `_` as `-`: X_Forwarded_User would pass a list that names X-Forwarded-User.
            return _malformed("A header name contains an underscore. Use a hyphen.")
        raw = field[2].rstrip(b" \t")
        if not raw.isascii() and not name.startswith("assentry-"):
            return _malformed("A header value contains bytes outside ASCII. Encode them.")
        headers.append((name, raw.decode("utf-8", "replace")))
    return headers


def _assemble(line: tuple[str, str, int], headers: list[tuple[str, str]], limits: Limits) -> Head | Refused:
    fields = dict(headers)
    if len(fields) < len(headers):
        joined = _joined(headers)
        if isinstance(joined, Refused):
            return joined
        fields = joined
    nominated = _nominated(fields["connection"]) if "connection" in fields else _NOBODY
    refused = (
        _refuse_nomination(nominated)
        or _refuse_framing(fields, line[2], limits)
        or _refuse_coding(fields)
        or _refuse_meeting(fields)
    )
    if refused:
        return refused
    method, raw, minor = line
    path, _, query = raw.partition("?")
    kept = nominated.isdisjoint(fields)
    head = Head(
        method=method,
        path=path,
        query=query,
        minor=minor,
        headers=tuple(headers if kept else [(name, value) for name, value in headers if name not in nominated]),
        fields=fields if kept else {name: value for name, value in fields.items() if name not in nominated},
        host=fields["host"].lower(),
        chunked="transfer-encoding" in fields,
        length=int(fields.get("content-length", "0")),
        keep_alive=minor == 1 and "close" not in nominated,
        expects_continue=minor == 1 and "expect" in fields,
    )
    return _upgrade_refused(head) if "upgrade" in fields or "upgrade" in nominated else head


def _upgrade_refused(head: Head) -> UpgradeRefused:
    return UpgradeRefused(
        reason=Reason.UPGRADE_NOT_ALLOWED,
        detail=(
            "The connection cannot be upgraded here: WebSockets, and streams such as exec, attach and port-forward, do"
            " not pass. Send the call as plain HTTP/1.1, without Upgrade."
        ),
        head=head,
    )


def _joined(headers: list[tuple[str, str]]) -> dict[str, str] | Refused:
    fields: dict[str, str] = {}
    for name, value in headers:
        if name not in fields:
            fields[name] = value
        elif name in _ONCE or name.startswith("content-"):
            return _malformed("A header that may stand there once, such as Authorization or Content-Type, is repeated.")
        else:
            fields[name] = f"{fields[name]}, {value}"
    return fields


def _nominated(connection: str) -> frozenset[str]:
    usual = _USUALLY_NOMINATED.get(connection)
    if usual is not None:
        return usual
    return frozenset(option.strip().lower() for option in connection.split(",") if option.strip())


def _refuse_nomination(nominated: frozenset[str]) -> Refused | None:
    for name in nominated:
        if name in _NEVER_NOMINATED or name.startswith("content-"):
            return _malformed(
                "Connection nominates a header that the call cannot do without. Name hop-by-hop headers only."
            )
    return None


def _refuse_framing(fields: Mapping[str, str], minor: int, limits: Limits) -> Refused | None:
    """RFC 9112 section 6: one way, and one only, to tell where the body ends."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        if coding != "chunked":
            return _malformed(
                "Transfer-Encoding is something else than `chunked`. Send the body chunked or with a length."
            )
        if length is not None:
            return _malformed("Both Transfer-Encoding and Content-Length are there. Send one of them.")
        if minor == 0:
            return _malformed("HTTP/1.0 has no Transfer-Encoding. Use HTTP/1.1 or send a Content-Length.")
    if length is None:
        return None
    if not _LENGTH.fullmatch(length):
        return _malformed("Content-Length is not one decimal number.")
    # Compared by digits first: int() refuses thousands of them with an error of its own.
    if len(length) > 18 or int(length) > max(limits.body_bytes, limits.upload_bytes):
        return body_too_large(limits)
    return None


def _refuse_coding(fields: Mapping[str, str]) -> Refused | None:
    # `aws-chunked` is framing, not compression. Only a route that leads to AWS takes it: `proxy.doors.signed`.
    if fields.get("content-encoding", "identity") not in ("identity", "aws-chunked"):
        return Refused(
            reason=Reason.ENCODING_NOT_ALLOWED,
            detail="The body is compressed, and policies must be able to read it. Send it without Content-Encoding.",
        )
    return None


def _refuse_meeting(fields: Mapping[str, str]) -> Refused | None:
    if not fields.get("host"):
        return _malformed("There is no Host header. Send one, with the name of this gate.")
    if "expect" in fields and fields["expect"].lower() != "100-continue":
        return Refused(
            reason=Reason.EXPECTATION_FAILED,
            detail="The only expectation met here is 100-continue. Send the call without Expect.",
        )
    return None


def body_too_large(limits: Limits) -> Refused:
    """The refusal of a body over the limit."""
    return Refused(
        reason=Reason.BODY_TOO_LARGE,
        detail=f"The body is larger than the {limits.body_bytes} bytes taken here. Send less at once.",
    )


def _malformed(detail: str) -> Refused:
    return Refused(reason=Reason.MALFORMED, detail=detail)


def _version() -> Refused:
    return Refused(reason=Reason.VERSION_NOT_SUPPORTED, detail="Only HTTP/1.1 and HTTP/1.0 are spoken here.")


def _target_too_long(limits: Limits) -> Refused:
    return Refused(
        reason=Reason.TARGET_TOO_LONG,
        detail=f"The target is longer than the {limits.target_bytes} bytes taken here. Move parameters to the body.",
    )


def _headers_too_large(limits: Limits) -> Refused:
    return Refused(
        reason=Reason.HEADERS_TOO_LARGE,
        detail=f"The head has more than {limits.headers} headers or {limits.header_bytes} bytes of them. Send fewer.",
    )
