"""Signatures of AWS's clients: what botocore signs is taken, and AWS's published examples come out as published."""

from __future__ import annotations

import string
from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.reasons import Reason
from proxy.doors.arrival import SignedCall
from proxy.errors import IdentityFault
from proxy.identity import sigv4
from tests.identity.signing import ACCESS_KEY_ID, REGION, SECRET, changed, moment, signed

EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
VALUES = st.text(string.ascii_letters + string.digits + " .,;=/-", max_size=20).map(str.strip)


def check(call: SignedCall, body: bytes = b"", *, secret: str = SECRET, now: float | None = None) -> sigv4.Claim:
    """The claim of a call whose signature is right."""
    claim = sigv4.read_claim(call, now=moment(call) if now is None else now)
    sigv4.check(claim, call, body, secret=secret)
    return claim


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    segments=st.lists(TEXTS.filter(lambda text: text not in ("", ".", "..")), max_size=3),
    pairs=st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=4),
    headers=st.dictionaries(NAMES.map(lambda name: f"x-amz-meta-{name}"), VALUES, max_size=3),
    body=st.binary(max_size=40),
    service=st.sampled_from(["s3", "dynamodb", "iam"]),
)
def test_whatever_botocore_signs_is_taken_and_no_byte_of_it_may_change(
    method, segments, pairs, headers, body, service
) -> None:
    path = "/gate/" + "/".join(quote(segment, safe="-_.~") for segment in segments)
    query = urlencode(pairs, quote_via=quote, safe="-_.~")
    call = signed(method, f"{path}?{query}" if query else path, headers=headers, body=body, service=service)
    claim = check(call, body)
    assert (claim.access_key_id, claim.region, claim.service) == (ACCESS_KEY_ID, REGION, service)
    for other in (
        replace(call, method="PATCH"),
        replace(call, path=f"{call.path}x"),
        replace(call, query=f"{call.query}&more=1" if call.query else "more=1"),
        changed(call, "host", "other.example.com"),
        *(changed(call, name, f"{value}x") for name, value in headers.items()),
    ):
        with pytest.raises(IdentityFault):
            check(other, body)
    with pytest.raises(IdentityFault):
        check(call, body + b"x")
    with pytest.raises(IdentityFault):
        check(call, body, secret=f"{SECRET}x")


def example(method: str, target: str, headers: dict[str, str], *, signature: str, names: str) -> SignedCall:
    """One of the examples of the S3 documentation, "Signature calculations"."""
    path, _, query = target.partition("?")
    scope = "20130524/us-east-1/s3/aws4_request"
    credential = f"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope},SignedHeaders={names},Signature={signature}"
    told = {
        "host": "examplebucket.s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "authorization": credential,
        **headers,
    }
    return SignedCall(
        method=method,
        path=path,
        query=query,
        headers=tuple(told.items()),
        region="us-east-1",
        service="s3",
        signs_raw_paths=True,
        window_s=300,
    )


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
PLAIN = "host;x-amz-content-sha256;x-amz-date"


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "names", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
            b"",
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
                "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            },
            b"Welcome to Amazon S3.",
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            {"x-amz-content-sha256": EMPTY},
            b"",
            PLAIN,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            {"x-amz-content-sha256": EMPTY},
            b"",
            PLAIN,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get-object", "put-object", "get-lifecycle", "list-objects"],
)
def test_the_examples_of_the_s3_documentation_are_taken(method, target, headers, body, names, signature) -> None:
    call = example(method, target, headers, signature=signature, names=names)
    check(call, body, secret=EXAMPLE_SECRET)


def chunked_example() -> tuple[SignedCall, bytes]:
    """ "Example: PUT an object in chunks" of the same documentation: 65 KiB of `a`, in chunks of 64 KiB."""
    call = example(
        "PUT",
        "/examplebucket/chunkObject.txt",
        {
            "host": "s3.amazonaws.com",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": sigv4.SIGNED_CHUNKS,
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": "66560",
            "content-length": "66824",
        },
        names=(
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
            "x-amz-storage-class"
        ),
        signature="4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    )
    chunks = (
        (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    )
    return replace(call, chunks=chunks), b"a" * 66560


def test_the_chunked_example_of_the_s3_documentation_is_taken() -> None:
    call, body = chunked_example()
    check(call, body, secret=EXAMPLE_SECRET)


@pytest.mark.parametrize("spoilt", ["a byte", "a signature", "no last chunk", "a trailer"])
def test_a_chunk_that_was_changed_is_refused(spoilt: str) -> None:
    call, body = chunked_example()
    chunks = call.chunks or ()
    match spoilt:
        case "a byte":
            body = body[:-1] + b"b"
        case "a signature":
            call = replace(call, chunks=(chunks[0], chunks[1], (0, "0" * 64)))
        case "no last chunk":
            call = replace(call, chunks=((65536, chunks[0][1]), (0, chunks[1][1])))
        case "a trailer":
            call = replace(call, trailers=(("x-amz-checksum-crc32", "AAAAAA=="),))
    with pytest.raises(IdentityFault):
        check(call, body, secret=EXAMPLE_SECRET)


def test_the_get_vanilla_example_of_the_test_suite_is_taken() -> None:
    scope = "20150830/us-east-1/service/aws4_request"
    signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    names = "SignedHeaders=host;x-amz-date"
    call = SignedCall(
        method="GET",
        path="/",
        query="",
        headers=(
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLE/{scope}, {names}, Signature={signature}",
            ),
        ),
        region="us-east-1",
        service="service",
        window_s=300,
    )
    # The suite's key id is shorter than any that is issued; it is no part of what is signed.
    check(call, secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(("after_s", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_signature_counts_within_its_window_only(after_s: int, taken: bool) -> None:
    call = signed()
    if taken:
        check(call, now=moment(call) + after_s)
        return
    with pytest.raises(IdentityFault) as refused:
        check(call, now=moment(call) + after_s)
    assert refused.value.reason is Reason.IDENTITY_EXPIRED
