"""The credential of a call, from wherever its SDK puts a key. Whether it is any good is `proxy.identity`'s question."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.arrival import BearerText

_KEY_SLOTS = ("x-api-key", "api-key")
# RFC 6750 section 2.1, `b64token`: what an access token may consist of.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def read_bearer(fields: Mapping[str, str]) -> BearerText | Refused | None:
    """The one credential among the headers (names in lower case), None where there is none, or why it is refused.

    Slots: `Authorization` as Bearer, `token` (PyGithub) or Basic (Stripe's user, git's password), `x-api-key`,
    `api-key`. Never query, cookie or body (threats.md J12).
    """
    filled = [name for name in ("authorization", *_KEY_SLOTS) if fields.get(name)]
    if not filled:
        return None
    if len(filled) > 1:
        return Refused(
            reason=Reason.MALFORMED,
            detail=f"Credentials stand in {' and '.join(filled)}. Send the one that this gate issued, once.",
        )
    value = fields[filled[0]]
    text = _from_authorization(value) if filled[0] == "authorization" else value
    if text is None or not _TOKEN.fullmatch(text):
        return Refused(
            reason=Reason.IDENTITY_INVALID,
            detail="The credential is not an access token. Put the token where the SDK puts its key.",
        )
    return BearerText(text)


def _from_authorization(value: str) -> str | None:
    scheme, _, rest = value.partition(" ")
    match scheme.lower():
        case "bearer" | "token":
            return rest.strip()
        case "basic":
            return _from_basic(rest.strip())
        case _:
            return None


def _from_basic(encoded: str) -> str | None:
    try:
        text = base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    user, _, password = text.partition(":")
    return password or user
