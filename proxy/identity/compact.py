"""Reads a compact JWS without believing it: three segments, a header we know, claims that are one JSON object.

Decides which forms are read at all (RFC 7515 section 3.1, RFC 8725); whether anything in it is true is decided by
`tokens`, with the keys and algorithms of the issuer that the claims name.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault
from proxy.identity.jsontext import JsonObject, NotJson, json_object

LIMIT_CHARACTERS = 16 * 1024
"""Longest token read (threat J8)."""

_SEGMENTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_REFUSED_HEADERS: Final = ("crit", "b64", "zip", "cty", "enc", "epk", "p2c", "p2s")
"""Members that change what the token is: extensions that must be understood (we understand none), unencoded or
compressed payloads, nested tokens, encryption. `jku`, `x5u`, `x5c` and `jwk` are not among them: real issuers send
them, and here nobody reads them (threats J2, J3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """What a token says of itself. Good for finding the issuer and the key, and for nothing else."""

    text: BearerText
    algorithm: str
    key_id: str | None
    type: str
    """`typ`, lower case, without `application/` (RFC 7515 section 4.1.9); `jwt` when absent."""
    issuer: str
    payload: bytes
    claims: JsonObject


def read_compact(text: BearerText) -> Unproven:
    """The parts of a compact JWS. Raises IdentityFault for every other form."""
    if len(text) > LIMIT_CHARACTERS:
        raise refused("it is longer than 16 KiB")
    match = _SEGMENTS.fullmatch(text)
    if match is None:
        raise refused("it is not a signed JWT in compact form")
    header, payload = _object(match[1], "header")[1], _object(match[2], "payload")
    if any(name in header for name in _REFUSED_HEADERS):
        raise refused("its header asks for something that is not supported here")
    issuer = payload[1].get("iss")
    if not isinstance(issuer, str):
        raise refused("it does not name its issuer")
    return Unproven(
        text=text,
        algorithm=_text_member(header, "alg", absent=None),
        key_id=_key_id(header),
        type=_type(header),
        issuer=issuer,
        payload=payload[0],
        claims=payload[1],
    )


def refused(what: str) -> IdentityFault:
    """The fault for a token that cannot be taken. `what` is ours: no byte of the token ever goes into it."""
    return IdentityFault(Reason.IDENTITY_INVALID, f"The bearer token was refused: {what}.")


def _object(segment: str, name: str) -> tuple[bytes, JsonObject]:
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != segment:
            # Spare bits at the end: one token could be written in several ways.
            raise refused(f"its {name} is not canonical base64url")
        return raw, json_object(raw)
    except (binascii.Error, NotJson) as exc:
        raise refused(f"its {name} is not one unambiguous JSON object") from exc


def _text_member(header: JsonObject, name: str, *, absent: str | None) -> str:
    value = header.get(name, absent)
    if not isinstance(value, str):
        raise refused(f"its header has no usable {name}")
    return value


def _key_id(header: JsonObject) -> str | None:
    return _text_member(header, "kid", absent=None) if "kid" in header else None


def _type(header: JsonObject) -> str:
    typ = _text_member(header, "typ", absent="jwt")
    if not typ.isascii():
        # The Kelvin sign, for one, is a `k` in lower case.
        raise refused("its header has no usable typ")
    return typ.lower().removeprefix("application/")
