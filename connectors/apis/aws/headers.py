"""Which headers of a call to AWS travel on, and which end here because they are made anew for each sending."""

from __future__ import annotations

ENDS_HERE = frozenset({
    # Of a signature, of the framing of a signed body, of a session of S3 Express, and of what a client says of itself.
    "x-amz-content-sha256", "x-amz-date", "x-amz-decoded-content-length", "x-amz-region-set", "x-amz-s3session-token",
    "x-amz-security-token", "x-amz-trailer", "x-amz-user-agent", "x-amzn-trace-id",
})  # fmt: skip
_PLAIN = frozenset({"cache-control", "content-md5", "expires", "smithy-protocol"})
CHECKSUMS = frozenset(
    f"x-amz-checksum-{name}"
    for name in ("crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256", "sha512", "xxhash64", "xxhash3", "xxhash128")
)
ALWAYS = CHECKSUMS | {"x-amz-target", "x-amzn-query-mode", "x-amz-sdk-checksum-algorithm"}
"""Headers that say nothing of what is asked beyond what every operation may say: digests, and the operation's name."""


def is_of_aws(name: str) -> bool:
    """Whether a header (in lower case) may change what AWS does."""
    return name.startswith(("x-amz-", "x-amzn-"))


def travels(name: str) -> bool:
    """Whether a header (in lower case) of an agent's call goes on to AWS, beside those that go on to everyone."""
    return (is_of_aws(name) and name not in ENDS_HERE) or name in _PLAIN
