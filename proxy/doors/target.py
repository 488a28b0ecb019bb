"""Whether a request target has one reading only (threats.md P1).

The gate judges, shows, fingerprints and sends the same string. That is worth something only if the upstream reads that
string the way the law did; so whatever two servers are known to read differently is refused, not normalised.
"""

from __future__ import annotations

import re
import unicodedata

from policy.reasons import Reason
from policy.verdict import Refused

# RFC 3986 pchar and `/`, less `;`: several servers cut a segment there (`/public/..;/admin`).
_PATH = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,=:@/%]*")
# RFC 3986 query, less `;` (a separator to some), plus brackets, braces, bar and caret, which clients send bare.
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,=:@/?%\[\]{}|^]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Encoded `.`, `/`, `%`, `\`, `;`, `?`, `#`: decoded once more by some reader, each changes which path this is.
_HIDDEN = re.compile(r"%(?:2[eEfF53]|5[cC]|3[bBfF])")
# Encoded letters, digits, `-` and `_`: equal to the bare character for a server, different for a matcher of raw text
# (RFC 3986 section 6.2.2.2). An encoded `~` is let through: old libraries encode it.
_NEEDLESS = re.compile(r"%(?:3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|2[dD]|5[fF])")
_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[fF])")
# A query may carry text of several lines; no other control has business there.
_CONTROL_IN_QUERY = re.compile(r"%(?:0[0-8BCEFbcef]|1[0-9A-Fa-f]|7[fF])")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def refuse_target(raw: str) -> Refused | None:
    """Why this raw target (latin-1 text of the bytes) is ambiguous, or None."""
    if not raw.startswith("/"):
        return _ambiguous("The target is not a path. Send `/path?query`, and the host in the Host header.")
    if "#" in raw:
        return _ambiguous("The target carries a fragment. Send it without `#`.")
    path, mark, query = raw.partition("?")
    if mark and not query:
        return _ambiguous("The target ends in a question mark. Leave it out.")
    return _refuse_path(path) or _refuse_query(query)


def _refuse_path(path: str) -> Refused | None:
    if not _PATH.fullmatch(path):
        return _ambiguous("The path contains a character that a path cannot, such as `;`, a backslash or a raw byte.")
    if "%" in path:
        refused = _refuse_escapes(path)
        if refused:
            return refused
    return _refuse_segments(path)


def _refuse_escapes(path: str) -> Refused | None:
    if _BAD_ESCAPE.search(path):
        return _ambiguous("The path contains a percent sign that begins no escape.")
    if _HIDDEN.search(path):
        return _ambiguous("The path contains an encoded dot, slash, backslash, percent, semicolon, `?` or `#`.")
    if _CONTROL.search(path):
        return _ambiguous("The path contains an encoded control character.")
    if _NEEDLESS.search(path):
        return _ambiguous("The path encodes letters or digits that need no encoding. Send them bare.")
    text = _decoded(path)
    if text is None:
        return _ambiguous("The path's escapes are not UTF-8.")
    if unicodedata.normalize("NFKC", text) != text:
        return _ambiguous("The path contains characters that have another, plainer form (Unicode NFKC). Send that one.")
    if any(unicodedata.category(letter) in _UNSEEN for letter in text):
        return _ambiguous("The path contains characters that nobody can see.")
    return None


def _refuse_segments(path: str) -> Refused | None:
    segments = path[1:].split("/")
    if "" in segments[:-1]:
        return _ambiguous("The path contains an empty segment (`//`).")
    for segment in segments:
        if segment in (".", ".."):
            return _ambiguous("The path contains a dot segment. Send the path that is meant.")
        if segment.endswith((".", "%20")):
            return _ambiguous("A segment of the path ends in a dot or a space, which some servers drop.")
    return None


def _refuse_query(query: str) -> Refused | None:
    if not _QUERY.fullmatch(query):
        return _ambiguous("The query contains a character that must be encoded there, such as `;`, `\\` or a raw byte.")
    if "%" not in query:
        return None
    if _BAD_ESCAPE.search(query):
        return _ambiguous("The query contains a percent sign that begins no escape.")
    if _CONTROL_IN_QUERY.search(query):
        return _ambiguous("The query contains an encoded control character.")
    if _decoded(query) is None:
        return _ambiguous("The query's escapes are not UTF-8.")
    return None


def _decoded(text: str) -> str | None:
    raw = re.sub(rb"%(..)", lambda escape: bytes.fromhex(escape[1].decode()), text.encode("ascii"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _ambiguous(detail: str) -> Refused:
    return Refused(reason=Reason.AMBIGUOUS_TARGET, detail=detail)
