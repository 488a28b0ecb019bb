"""Calls to AWS are signed as they are sent: over the very message, each time anew, with the operator's keys alone."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import Aws, AwsCredential, Upstream
from proxy.errors import BrokenPromise
from proxy.upstream.credentials import Credentials
from proxy.upstream.pool import Outgoing
from proxy.upstream.signing import signer
from tests.fakes import aws
from tests.fakes.aws import verified
from tests.fakes.upstream import Received

TOKEN = "a-session-token-of-the-operator"
KEYS = AwsCredential(kind="aws", access_key_id=aws.ACCESS_KEY_ID, secret_access_key=aws.SECRET)


def place(
    service: str = "s3", *, url: str = "https://s3.eu-central-1.amazonaws.com", keys: AwsCredential = KEYS
) -> Upstream:
    where = Aws(service=service, region=aws.REGION)
    return Upstream(name=service, url=url, connector="aws", aws=where, credential=keys)


def message(
    method: str = "PUT", target: str = "/bucket/key", *headers: tuple[bytes, bytes], body: bytes = b"hello"
) -> Outgoing:
    length = ((b"content-length", b"%d" % len(body)),) if body else ()
    host = (b"host", b"s3.eu-central-1.amazonaws.com")
    return Outgoing(
        method=method, target=target, headers=(host, *headers, *length, (b"via", b"1.1 assentry")), body=body
    )


def signed(upstream: Upstream, one: Outgoing, *, keys: AwsCredential = KEYS) -> Outgoing:
    assert upstream.aws is not None
    return signer(upstream, upstream.aws, keys)(one)


def arrived(one: Outgoing) -> Received:
    """The message as the upstream gets it."""
    headers = tuple((name.decode(), value.decode()) for name, value in one.headers)
    return Received(raw=one.wire(), method=one.method, target=one.target, headers=headers, body=one.body, connection=1)


@settings(max_examples=100, deadline=None)
@given(
    service=st.sampled_from(["s3", "dynamodb", "iam"]),
    path=st.lists(st.text("abc%20", min_size=1, max_size=6).filter(lambda text: "%" not in text), max_size=3),
    query=st.sampled_from(["", "acl", "list-type=2&prefix=a%2Fb%20c", "b=2&a=1&a=0", "x=%C3%A9~-_."]),
    body=st.binary(max_size=30),
)
def test_botocore_itself_finds_the_signature_right(service: str, path: list[str], query: str, body: bytes) -> None:
    target = "/" + "/".join(path) + (f"?{query}" if query else "")
    sent = signed(place(service), message("POST", target, (b"content-type", b"text/plain"), body=body))
    assert verified(arrived(sent)) == service
    assert verified(arrived(replace(sent, target=f"{sent.target}x"))) is None
    assert verified(replace(arrived(sent), body=body + b"x")) is None


def test_the_body_is_signed_over_tls_too() -> None:
    sent = arrived(signed(place(), message()))
    assert sent.header("x-amz-content-sha256") == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_what_others_may_add_on_the_way_is_not_signed() -> None:
    extra = ((b"user-agent", b"Boto3"), (b"accept-encoding", b"identity"), (b"x-amz-acl", b"private"))
    names = (arrived(signed(place(), message("PUT", "/b/k", *extra))).header("authorization") or "").partition(
        "SignedHeaders="
    )[2]
    assert names.partition(",")[0] == "host;x-amz-acl;x-amz-content-sha256;x-amz-date"


def test_a_session_token_goes_along_signed() -> None:
    keys = KEYS.model_copy(
        update={"session_token": AwsCredential.model_validate({**_dumped(), "session_token": TOKEN}).session_token}
    )
    sent = arrived(signed(place(keys=keys), message(), keys=keys))
    assert sent.header("x-amz-security-token") == TOKEN
    assert verified(sent) == "s3"


def _dumped() -> dict[str, str]:
    return {"kind": "aws", "access_key_id": aws.ACCESS_KEY_ID, "secret_access_key": aws.SECRET}


def test_a_message_whose_body_comes_later_is_not_signed() -> None:
    from proxy.upstream.connection import Upload

    async def nothing():
        yield b""

    later = replace(message(body=b""), upload=Upload(length=5, pieces=nothing()))
    with pytest.raises(BrokenPromise):
        signed(place(), later)


async def test_the_secrets_are_blotted_out_of_answers_and_never_printed_or_logged(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    attached = await Credentials().resolve(place())
    assert attached.sign is not None
    attached.sign(message())
    assert aws.SECRET.encode() in attached.hidden
    assert aws.SECRET not in repr(attached)
    assert "AWS4-HMAC-SHA256" not in caplog.text


def test_without_botocore_the_settings_are_refused_with_what_to_install() -> None:
    program = """
import sys
sys.modules["botocore"] = None
from connectors.apis.catalogue import load
from connectors.apis.errors import CatalogueRefused
try:
    load(None, upstream="s3", connector="aws", settings={"service": "s3"})
except CatalogueRefused as no:
    print(no)
import proxy.wiring
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "install 'assentry[aws]'" in ran.stdout
