"""Whether a call carries a signature that a key of ours made: AWS Signature Version 4, checked as AWS documents it.

Decides forms (one signature, in the header, over everything that matters, of our region and service, of now) and
whether the digest is right. Whose key it is, is `proxy.identity.agent_keys`' to say. Nothing is normalised: a call that
another reader could canonicalise otherwise than its signer did is refused. A call repeated within the window is, like
any repeat, one call by its likeness and its invocation id.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from policy.reasons import Reason
from proxy.doors.arrival import SignedCall
from proxy.errors import IdentityFault

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]{16,128})/([0-9]{8})/([a-z0-9-]{1,63})/([a-z0-9-]{1,63})/aws4_request"
    r", ?SignedHeaders=([a-z0-9-]+(?:;[a-z0-9-]+)*), ?Signature=([0-9a-f]{64})"
)
_MOMENT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EMPTY = hashlib.sha256(b"").hexdigest()
_ALWAYS_SIGNED = frozenset({"host", "x-amz-date"})
_SIGNED_IF_THERE = frozenset({"content-md5", "content-type", "range"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a signature says of itself: good for finding the key, and for nothing else."""

    access_key_id: str
    moment: str
    """`X-Amz-Date`."""
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str

    @property
    def scope(self) -> str:
        """The credential scope without the key's id."""
        return f"{self.moment[:8]}/{self.region}/{self.service}/aws4_request"


def read_claim(call: SignedCall, *, now: float) -> Claim:
    """The claim of a signed call, if it is one that may be checked at all. `now` in Unix seconds.

    Raises IdentityFault.
    """
    form = _AUTHORIZATION.fullmatch(call.header("authorization") or "")
    if form is None:
        raise _refused("the Authorization header is not one AWS4-HMAC-SHA256 signature")
    access_key_id, day, region, service, names, signature = form.groups()
    if (region, service) != (call.region, call.service):
        raise _refused(f"it is for another place; sign for the region {call.region} and the service {call.service}")
    signed = tuple(names.split(";"))
    _check_headers(call, signed)
    moment = call.header("x-amz-date") or ""
    if not _MOMENT.fullmatch(moment) or not moment.startswith(day):
        raise _refused("X-Amz-Date is not a time, or not on the day of the credential scope")
    _check_time(moment, now, window_s=call.window_s)
    return Claim(
        access_key_id=access_key_id,
        moment=moment,
        region=region,
        service=service,
        signed_headers=signed,
        signature=signature,
    )


def check(claim: Claim, call: SignedCall, content: bytes, *, secret: str) -> None:
    """Returns if the key's owner signed this call and this content (chunks taken apart). Raises IdentityFault."""
    key = signing_key(secret, claim)
    payload = _payload(call, content)
    canonical = canonical_request(call, claim.signed_headers, payload=payload)
    told = "\n".join((ALGORITHM, claim.moment, claim.scope, _sha256(canonical.encode())))
    if not hmac.compare_digest(_sign(key, told), claim.signature):
        raise _refused("it is not the one that this key makes of this call")
    if payload in (SIGNED_CHUNKS, SIGNED_TRAILER):
        _check_chunks(claim, call, content, key=key)


def signing_key(secret: str, claim: Claim) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_request(call: SignedCall, signed_headers: tuple[str, ...], *, payload: str) -> str:
    """The text that is signed: "Create a canonical request" of the AWS documentation. Raises IdentityFault."""
    path = call.path if call.signs_raw_paths else quote(call.path, safe="/-_.~")
    headers = "".join(f"{name}:{' '.join((call.header(name) or '').split())}\n" for name in signed_headers)
    return "\n".join((call.method, path, _canonical_query(call.query), headers, ";".join(signed_headers), payload))


def _canonical_query(query: str) -> str:
    pairs = []
    for piece in query.split("&") if query else ():
        # S3 reads a bare plus as a space and others do not; an empty piece is a pair to some.
        if "+" in piece or not piece:
            raise _refused("the query has a bare plus or an empty pair, which is canonicalised in two ways")
        key, _, value = piece.partition("=")
        pairs.append((_encoded(key), _encoded(value)))
    return "&".join(f"{key}={value}" for key, value in sorted(pairs))


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def _check_headers(call: SignedCall, signed: tuple[str, ...]) -> None:
    if list(signed) != sorted(set(signed)):
        raise _refused("SignedHeaders is not sorted, or names a header twice")
    names = [name for name, _ in call.headers]
    if any(names.count(name) != 1 for name in signed):
        raise _refused("a header that it covers is not there exactly once")
    due = {name for name in names if name.startswith("x-amz-") or name in _SIGNED_IF_THERE} | _ALWAYS_SIGNED
    if not due <= set(signed):
        raise _refused(f"it does not cover {', '.join(sorted(due - set(signed)))}")


def _check_time(moment: str, now: float, *, window_s: int) -> None:
    try:
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise _refused("X-Amz-Date is not a time") from exc
    if abs(now - signed_at) > window_s:
        detail = f"The signature was made more than {window_s} seconds from now. Set the clock right and sign again."
        raise IdentityFault(Reason.IDENTITY_EXPIRED, detail)


def _payload(call: SignedCall, content: bytes) -> str:
    """What stands for the body in the canonical request, once it is true of the body."""
    said = call.header("x-amz-content-sha256")
    chunked = call.chunks is not None
    match said:
        case "STREAMING-UNSIGNED-PAYLOAD-TRAILER" | "UNSIGNED-PAYLOAD":
            if not call.unsigned_payloads:
                raise _refused("it leaves the body out. Call over https, or have the client sign payloads")
            if chunked is not (said == UNSIGNED_TRAILER):
                raise _refused("its body is not in the coding that it says")
            return said
        case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
            if not chunked:
                raise _refused("its body is not in the coding that it says")
            return said
        case None if not chunked and not call.signs_raw_paths:
            return _sha256(content)
        case str() if _DIGEST.fullmatch(said) and not chunked:
            if not hmac.compare_digest(said, _sha256(content)):
                raise _refused("the body is not the one that was signed")
            return said
        case _:
            raise _refused("X-Amz-Content-SHA256 is missing, or is none that is taken here")


def _check_chunks(claim: Claim, call: SignedCall, content: bytes, *, key: bytes) -> None:
    """Returns if the chunks and trailers are those that were signed (S3, "Signature calculations": chunked uploads)."""
    begin, before = 0, claim.signature
    for size, signature in call.chunks or ():
        told = (
            f"{ALGORITHM}-PAYLOAD",
            claim.moment,
            claim.scope,
            before,
            _EMPTY,
            _sha256(content[begin : begin + size]),
        )
        if not hmac.compare_digest(_sign(key, "\n".join(told)), signature):
            raise _refused("a chunk of the body is not the one that was signed")
        begin, before = begin + size, signature
    trailing = "".join(f"{name}:{value}\n" for name, value in call.trailers)
    last = "\n".join((f"{ALGORITHM}-TRAILER", claim.moment, claim.scope, before, _sha256(trailing.encode())))
    has_signature = bool(call.trailer_signature)
    if has_signature is not (call.header("x-amz-content-sha256") == SIGNED_TRAILER) or (trailing and not has_signature):
        raise _refused("the trailers of the body are not signed as it says")
    if has_signature and not hmac.compare_digest(_sign(key, last), call.trailer_signature):
        raise _refused("the trailers of the body are not those that were signed")


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refused(why: str) -> IdentityFault:
    return IdentityFault(Reason.IDENTITY_INVALID, f"The signature of the call was refused: {why}.")
