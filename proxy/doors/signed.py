"""A call that an AWS client signed, as far as head and framing tell: what is to be verified, and the body plain.

Decides which forms of signing are taken at all: one, in the Authorization header. Whether the signature is right is
`proxy.identity.sigv4`'s question.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote

from config.settings import Upstream
from connectors.apis.aws.chunked import CODING, BadChunks, Chunked, taken_apart
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.arrival import SignedCall
from proxy.doors.hygiene import Head
from proxy.upstream.signing import place_of

_SCHEME = "AWS4-HMAC-SHA256"
_OTHER_SLOTS = ("x-api-key", "api-key")
_STREAMING = "STREAMING-"
Header = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A body without the coding it came in."""

    content: bytes
    chunked: Chunked | None = None

    def described(self, headers: tuple[Header, ...]) -> tuple[Header, ...]:
        """The headers of the call that carries it so: without the coding, and with what came behind it."""
        if self.chunked is None:
            return headers
        kept = (header for header in headers if header[0] != "content-encoding")
        return (*kept, *self.chunked.trailers)


def read_signed(head: Head, upstream: Upstream, *, encrypted: bool) -> SignedCall | Refused | None:
    """What a call to AWS was signed with; None where it was not; or why its signature is none that is taken.

    `encrypted`: agents reach this gate by TLS.
    """
    if upstream.aws is None:
        return None
    scheme = head.fields.get("authorization", "").partition(" ")[0]
    refused = _refuse_query(head.query) or _refuse_scheme(scheme)
    if refused or not scheme.upper().startswith("AWS"):
        return refused
    if any(head.fields.get(slot) for slot in _OTHER_SLOTS):
        return Refused(
            reason=Reason.MALFORMED, detail="The call is signed and carries a key as well. Send one of them."
        )
    place = place_of(upstream.aws)
    return SignedCall(
        method=head.method,
        path=head.path,
        query=head.query,
        headers=head.headers,
        region=upstream.aws.region,
        service=place.signing_name,
        signs_raw_paths=place.signs_raw_paths,
        unsigned_payloads=encrypted or upstream.aws.unsigned_payloads,
        window_s=upstream.aws.clock_window_s,
    )


def plain(head: Head, body: bytes, upstream: Upstream) -> Plain | Refused:
    """The body as it is judged and sent, or why it cannot be told."""
    coded = head.fields.get("content-encoding") == CODING
    streaming = upstream.aws is not None and head.fields.get("x-amz-content-sha256", "").startswith(_STREAMING)
    if coded and upstream.aws is None:
        detail = "The body is in aws-chunked coding, which only AWS takes. Send it without Content-Encoding."
        return Refused(reason=Reason.ENCODING_NOT_ALLOWED, detail=detail)
    if coded is not streaming:
        detail = "Content-Encoding and X-Amz-Content-SHA256 do not agree whether the body is in aws-chunked coding."
        return Refused(reason=Reason.BODY_MALFORMED, detail=detail)
    if not coded:
        return Plain(content=body)
    try:
        chunked = taken_apart(body)
    except BadChunks as exc:
        return Refused(reason=Reason.BODY_MALFORMED, detail=str(exc))
    return _refuse_promises(head, chunked) or Plain(content=chunked.content, chunked=chunked)


def with_chunks(call: SignedCall, body: Plain) -> SignedCall:
    """The call with the signatures that stood in its body."""
    if body.chunked is None:
        return call
    chunked = body.chunked
    return replace(call, chunks=chunked.chunks, trailers=chunked.trailers, trailer_signature=chunked.trailer_signature)


def _refuse_query(query: str) -> Refused | None:
    for piece in query.split("&") if query else ():
        key = unquote(piece.partition("=")[0]).lower()
        if key.startswith("x-amz-") or key == "awsaccesskeyid":
            detail = (
                "The query holds a signature, or a header in disguise. Presigned URLs are not taken: sign the call."
            )
            return Refused(reason=Reason.IDENTITY_INVALID, detail=detail)
    return None


def _refuse_scheme(scheme: str) -> Refused | None:
    if not scheme.upper().startswith("AWS") or scheme == _SCHEME:
        return None
    detail = "Of AWS's signatures only version 4 (AWS4-HMAC-SHA256) is taken, for one region. Configure the client so."
    return Refused(reason=Reason.IDENTITY_INVALID, detail=detail)


def _refuse_promises(head: Head, chunked: Chunked) -> Refused | None:
    """Why the head announced another body than came."""
    length, trailer = head.fields.get("x-amz-decoded-content-length"), head.fields.get("x-amz-trailer", "")
    announced = sorted(name.strip().lower() for name in trailer.split(",") if name.strip())
    if length != str(len(chunked.content)):
        detail = "X-Amz-Decoded-Content-Length is not the length of the body."
    elif announced != sorted(name for name, _ in chunked.trailers):
        detail = "X-Amz-Trailer does not name the trailers of the body."
    elif any(name in head.fields for name, _ in chunked.trailers):
        detail = "A trailer of the body stands in the head as well."
    else:
        return None
    return Refused(reason=Reason.BODY_MALFORMED, detail=detail)
