"""What holds, bodies and responses look like in the store: sealed bytes, bound to the call they belong to.

Which key they lie under and when they may be replaced is `proxy.holds.store`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from policy.call import CallId
from policy.hold import Hold
from policy.reasons import Reason
from proxy.errors import BrokenPromise, CallerFault
from proxy.holds.sealing import Sealer

_HOLD = TypeAdapter(Hold)
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResponse:
    """The upstream's response to a released call, kept for repeats of it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    truncated: bool = False
    """True when the response was too large to keep whole; the body is then empty."""


def to_json(hold: Hold) -> bytes:
    """The hold as JSON. Raises CallerFault when the agent's text is not Unicode (a lone surrogate in a JSON escape)."""
    try:
        return _HOLD.dump_json(hold, fallback=_as_dict, warnings="none")
    except PydanticSerializationError as exc:
        raise CallerFault(
            Reason.INPUT_UNREADABLE, "The call holds text that is not Unicode (half of a surrogate pair)."
        ) from exc


def _as_dict(value: object) -> dict[object, object]:
    # Mappings that are not dicts, such as read-only views.
    if isinstance(value, Mapping):
        return dict(value)
    raise BrokenPromise(Reason.INTERNAL, f"A hold contains a {type(value).__name__}, which cannot be stored.")


def from_json(document: bytes) -> Hold:
    """The hold of that JSON; fields that later versions added are left out."""
    try:
        return _HOLD.validate_json(document)
    except ValidationError:
        # Without its cause, which quotes the document.
        raise BrokenPromise(Reason.INTERNAL, "A hold in the store is not one this version can read.") from None


@dataclass(frozen=True, slots=True)
class Documents:
    """Seals and opens. Each seal names its call, so nothing can be moved from one hold to another in the store."""

    sealer: Sealer

    def hold(self, hold: Hold) -> bytes:
        """The hold, sealed to its revision and state."""
        return self.sealer.seal(to_json(hold), bound_to=_place(hold.call.id, hold.revision, hold.state))

    def read_hold(self, call: CallId, sealed: bytes, *, revision: int, state: str) -> Hold:
        """The hold again. Raises OperatorFault when anybody changed it, its revision or its state."""
        return from_json(self.sealer.open(sealed, bound_to=_place(call, revision, state)))

    def body(self, call: CallId, body: bytes) -> bytes:
        """The call's body, sealed."""
        return self.sealer.seal(body, bound_to=f"{call}:body")

    def read_body(self, call: CallId, sealed: bytes) -> bytes:
        """The call's body again."""
        return self.sealer.open(sealed, bound_to=f"{call}:body")

    def response(self, call: CallId, response: KeptResponse) -> bytes:
        """The response, sealed."""
        # ASCII-only JSON: header values may hold bytes that are not UTF-8, as surrogates.
        head = json.dumps([response.status, response.headers, response.truncated]).encode("ascii")
        framed = len(head).to_bytes(_LENGTH_BYTES, "big") + head + response.body
        return self.sealer.seal(framed, bound_to=f"{call}:response")

    def read_response(self, call: CallId, sealed: bytes) -> KeptResponse:
        """The response again."""
        framed = self.sealer.open(sealed, bound_to=f"{call}:response")
        start = _LENGTH_BYTES + int.from_bytes(framed[:_LENGTH_BYTES], "big")
        status, headers, truncated = json.loads(framed[_LENGTH_BYTES:start])
        return KeptResponse(
            status=status,
            headers=tuple((name, value) for name, value in headers),
            body=framed[start:],
            truncated=truncated,
        )


def _place(call: CallId, revision: int, state: str) -> str:
    return f"{call}:hold:{revision}:{state}"
