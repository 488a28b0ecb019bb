"""Bodies in `aws-chunked` coding: every byte is accounted for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.apis.aws.chunked import BadChunks, taken_apart


def test_what_boto3_sends_over_tls_is_its_content_and_the_digest_behind_it() -> None:
    told = taken_apart(b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n")
    assert (told.content, told.trailers) == (b"hello", (("x-amz-checksum-crc32", "NhCmhg=="),))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5\r\nhello\r\n",
        b"5\r\nhello\r\n0\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"6\r\nhello\r\n0\r\n\r\n",
        b"05\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5;other=1\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"5\r\nhello\r\n0\r\nx-amz-acl:public-read\r\n\r\n",
        b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:b\r\n\r\n",
        b"5\r\nhello\r\n0\r\nx-amz-trailer-signature:zz\r\n\r\n",
        b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0\r\n\r\n",
        b"ffffffff\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_chunked_body_with_a_byte_out_of_place_is_refused(body: bytes) -> None:
    with pytest.raises(BadChunks):
        taken_apart(body)


@profile(max_examples=300, deadline=None)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=30), max_size=4),
    spoil=st.integers(min_value=0),
    by=st.integers(1, 255),
)
def test_no_byte_of_the_framing_can_change_unseen(pieces: list[bytes], spoil: int, by: int) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    told = taken_apart(body)
    assert told.content == b"".join(pieces)
    place = spoil % len(body)
    changed = bytearray(body)
    changed[place] ^= by
    try:
        again = taken_apart(bytes(changed))
    except BadChunks:
        return
    # What is still well formed has as many bytes, or says so: lengths are announced in a header that is signed.
    assert len(again.content) == len(told.content)
