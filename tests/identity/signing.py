"""Signed calls for tests: made by botocore's own signers, and laid out as the door lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from proxy.doors.arrival import SignedCall

ACCESS_KEY_ID = "ASSENTRYABCDEFGHJKMN"
SECRET = "nothing-but-a-test-secret-of-forty-chars"
REGION = "eu-central-1"
HOST = "gate.example.com"


def signed(
    method: str = "POST",
    target: str = "/dynamodb",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    service: str = "dynamodb",
    secret: str = SECRET,
    url: str = f"http://{HOST}",
    token: str | None = None,
) -> SignedCall:
    """The call as botocore signs it now."""
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    call = AWSRequest(method=method, url=url + target, headers=dict(headers or {}), data=body)
    kind(Credentials(ACCESS_KEY_ID, secret, token), service, REGION).add_auth(call)
    place = urlsplit(url + target)
    sent = [("host", place.netloc), *((name.lower(), value) for name, value in call.headers.items())]
    return SignedCall(
        method=method,
        path=place.path,
        query=place.query,
        headers=tuple(sent),
        region=REGION,
        service=service,
        signs_raw_paths=service == "s3",
        window_s=300,
    )


def moment(call: SignedCall) -> float:
    """When the call was signed, Unix seconds."""
    return datetime.strptime(call.header("x-amz-date") or "", "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def changed(call: SignedCall, name: str, value: str | None) -> SignedCall:
    """The call with another value of a header, at its place or at the end; None takes it away."""
    kept = tuple((key, old) for key, old in call.headers if key != name)
    return replace(call, headers=kept if value is None else (*kept, (name, value)))
