"""A body in `aws-chunked` coding, taken apart: what S3's clients send where the length or a digest comes last.

Decides framing only, strictly: every byte is accounted for. Whether the signatures of signed chunks are right is
`proxy.identity.sigv4`'s question; what the trailers say is for the upstream to check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.apis.aws.headers import CHECKSUMS

CODING = "aws-chunked"
_HEAD = re.compile(rb"(0|[1-9a-fA-F][0-9a-fA-F]{0,7})(?:;chunk-signature=([0-9a-f]{64}))?\r\n")
_TRAILER = re.compile(rb"([A-Za-z0-9-]{1,64}):[ \t]*([\x21-\x7e]{1,256})[ \t]*\r\n")
_SIGNATURE = "x-amz-trailer-signature"
_HEX = re.compile(r"[0-9a-f]{64}")


class BadChunks(ValueError):
    """The body is not one in this coding. Its text is for the caller, and quotes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunked:
    """What stood in the chunks."""

    content: bytes
    chunks: tuple[tuple[int, str], ...]
    """Length and signature of each chunk, the last and empty one included; signatures are empty where there is none."""
    trailers: tuple[tuple[str, str], ...]
    """Names in lower case, in order."""
    trailer_signature: str = ""


def taken_apart(body: bytes) -> Chunked:
    """The content, and what came around it. Raises BadChunks."""
    pieces: list[bytes] = []
    chunks: list[tuple[int, str]] = []
    position = 0
    while not chunks or chunks[-1][0]:
        head = _HEAD.match(body, position)
        if head is None:
            raise BadChunks("A chunk of the aws-chunked body does not begin with its size.")
        size, begin = int(head[1], 16), head.end()
        piece = body[begin : begin + size]
        position = begin + size + (2 if size else 0)
        if len(piece) < size or (size and body[position - 2 : position] != b"\r\n"):
            raise BadChunks("A chunk of the aws-chunked body is not as long as it says.")
        pieces.append(piece)
        chunks.append((size, head[2].decode() if head[2] else ""))
    if len({bool(signature) for _, signature in chunks}) > 1:
        raise BadChunks("Some chunks of the aws-chunked body are signed, and some are not.")
    trailers, signature = _trailers(body, position)
    return Chunked(content=b"".join(pieces), chunks=tuple(chunks), trailers=trailers, trailer_signature=signature)


def _trailers(body: bytes, position: int) -> tuple[tuple[tuple[str, str], ...], str]:
    found: list[tuple[str, str]] = []
    while trailer := _TRAILER.match(body, position):
        found.append((trailer[1].decode().lower(), trailer[2].decode()))
        position = trailer.end()
    if body[position:] != b"\r\n":
        raise BadChunks("The aws-chunked body does not end where its last chunk and its trailers do.")
    names = [name for name, _ in found]
    signature = found.pop()[1] if _SIGNATURE in names[-1:] else ""
    if len(set(names)) < len(names) or any(name not in CHECKSUMS for name, _ in found):
        raise BadChunks("The aws-chunked body has a trailer that is no digest, or one twice.")
    if signature and not _HEX.fullmatch(signature):
        raise BadChunks("The signature of the trailers is none.")
    return tuple(found), signature
