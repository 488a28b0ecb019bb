"""Which forms of signing and of signed bodies are taken at all."""

from __future__ import annotations

import pytest

from config.settings import Aws, Limits, Upstream
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.hygiene import Head, read_head
from proxy.doors.signed import Plain, plain, read_signed

S3 = Upstream(name="s3", url="https://s3.example.com", connector="aws", aws=Aws(service="s3", region="eu-central-1"))
OTHER = Upstream(name="pay", url="https://pay.example.com")
CHUNKS = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=x"}
CODED = {
    "Content-Encoding": "aws-chunked",
    "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "X-Amz-Decoded-Content-Length": "5",
    "X-Amz-Trailer": "x-amz-checksum-crc32",
}


def head(fields: dict[str, str], target: str = "/s3/b/k") -> Head:
    lines = [f"PUT {target} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in fields.items())]
    read = read_head("\r\n".join([*lines, "", ""]).encode(), limits=Limits())
    assert isinstance(read, Head)
    return read


def test_a_body_in_chunks_is_its_content_with_the_digest_among_the_headers() -> None:
    body = plain(head(CODED), CHUNKS, S3)
    assert isinstance(body, Plain)
    assert body.content == b"hello"
    assert body.described((("content-encoding", "aws-chunked"), ("x-amz-acl", "private"))) == (
        ("x-amz-acl", "private"),
        ("x-amz-checksum-crc32", "NhCmhg=="),
    )


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, Reason.BODY_MALFORMED),
        ({"X-Amz-Content-SHA256": None}, Reason.BODY_MALFORMED),
        ({"Content-Encoding": None}, Reason.BODY_MALFORMED),
        ({"X-Amz-Decoded-Content-Length": "6"}, Reason.BODY_MALFORMED),
        ({"X-Amz-Decoded-Content-Length": None}, Reason.BODY_MALFORMED),
        ({"X-Amz-Trailer": None}, Reason.BODY_MALFORMED),
        ({"X-Amz-Trailer": "x-amz-checksum-sha256"}, Reason.BODY_MALFORMED),
        ({"X-Amz-Checksum-Crc32": "AAAAAA=="}, Reason.BODY_MALFORMED),
    ],
)
def test_a_body_that_is_not_what_its_head_announced_is_refused(changed: dict[str, str | None], reason: Reason) -> None:
    fields = {name: value for name, value in {**CODED, **changed}.items() if value is not None}
    body = plain(head(fields), CHUNKS, S3)
    assert isinstance(body, Refused)
    assert body.reason is reason


def test_no_other_upstream_takes_a_body_in_chunks() -> None:
    body = plain(head(CODED), CHUNKS, OTHER)
    assert isinstance(body, Refused)
    assert body.reason is Reason.ENCODING_NOT_ALLOWED


def test_a_signature_is_read_only_where_it_leads_to_aws() -> None:
    assert read_signed(head(SIGNED), OTHER, encrypted=False) is None
    found = read_signed(head(SIGNED), S3, encrypted=False)
    assert found is not None
    assert not isinstance(found, Refused)
    assert (found.path, found.service, found.region, found.unsigned_payloads) == (
        "/s3/b/k",
        "s3",
        "eu-central-1",
        False,
    )
    encrypted = read_signed(head(SIGNED), S3, encrypted=True)
    assert encrypted is not None
    assert not isinstance(encrypted, Refused)
    assert encrypted.unsigned_payloads


@pytest.mark.parametrize("key", ["X-Amz-Signature", "x-amz-signature", "AWSAccessKeyId", "X-Amz-Acl"])
def test_a_query_that_holds_a_signature_or_a_header_is_refused(key: str) -> None:
    found = read_signed(head({}, target=f"/s3/b/k?{key}=1"), S3, encrypted=True)
    assert isinstance(found, Refused)
    assert found.reason is Reason.IDENTITY_INVALID
