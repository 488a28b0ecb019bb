"""Signed calls that are not what their signer meant: each is refused, and nothing of it reaches AWS."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from policy.reasons import Reason
from proxy.identity.agent_keys import AgentKey
from tests.fakes import aws
from tests.fakes.aws import FakeAws
from tests.fakes.cloud import cloudy
from tests.fakes.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")

ITEM = b'{"TableName": "notes", "Item": {"id": {"S": "1"}}}'
PUT_ITEM = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.PutItem"}
HEX = re.compile(r"Signature=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A call as it is written, to be spoilt."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def having(self, name: str, value: str | None) -> Sent:
        """With another value of a header; None takes it away."""
        kept = [(key, old) for key, old in self.headers if key != name]
        return replace(self, headers=(*kept, *([] if value is None else [(name, value)])))

    def adding(self, *headers: tuple[str, str]) -> Sent:
        """With these headers beside the others."""
        return replace(self, headers=(*self.headers, *headers))

    def rewriting(self, old: str, new: str) -> Sent:
        """With a piece of its Authorization rewritten."""
        said = dict(self.headers)["authorization"]
        assert old in said
        return self.having("authorization", said.replace(old, new))

    @property
    def wire(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, f"content-length: {len(self.body)}", "", ""]).encode() + self.body


@dataclass(slots=True, kw_only=True)
class Site:
    """A gate before AWS, and a pair that it issued."""

    home: House
    cloud: FakeAws
    pair: AgentKey

    @property
    def host(self) -> str:
        return urlsplit(self.home.gate.agents_url).netloc

    def call(
        self,
        method: str = "POST",
        target: str = "/dynamodb",
        *,
        headers: dict[str, str] | None = None,
        body: bytes = ITEM,
        service: str = "dynamodb",
        region: str = aws.REGION,
    ) -> Sent:
        """A call that is signed as it should be."""
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        told = PUT_ITEM if headers is None else headers
        made = AWSRequest(method=method, url=f"http://{self.host}{target}", headers=dict(told), data=body)
        keys = Credentials(self.pair.access_key_id, self.pair.signing_secret)
        kind(keys, service, region).add_auth(made)
        signed = [(name.lower(), str(value)) for name, value in made.headers.items()]
        return Sent(method=method, target=target, headers=(("host", self.host), *signed), body=body)

    async def answer(self, sent: Sent) -> bytes:
        """All that the gate answers, on a connection of its own."""
        host, port = self.host.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent.adding(("connection", "close")).wire)
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with cloudy(tmp_path_factory.mktemp("cloud") / "house", holds={"respond_async": True}) as (home, cloud):
        yield Site(home=home, cloud=cloud, pair=await home.agent_pair())


def status(answer: bytes) -> int:
    return int(answer[9:12])


async def test_the_call_that_is_spoilt_below_is_taken_as_it_is(site: Site) -> None:
    before = len(site.cloud.seen)
    assert status(await site.answer(site.call())) == 200
    put = site.call("PUT", "/s3/reports/k", headers={"content-type": "text/plain"}, body=b"hello", service="s3")
    assert status(await site.answer(put)) == 200
    assert len(site.cloud.seen) == before + 2


def _hour(call: Sent, hours: int) -> Sent:
    moment = dict(call.headers)["x-amz-date"]
    return call.having("x-amz-date", f"{moment[:9]}{(int(moment[9:11]) + hours) % 24:02d}{moment[11:]}")


Spoil = Callable[[Site, Sent], Sent]
SPOILT: dict[str, Spoil] = {
    "another method": lambda _, call: replace(call, method="PUT"),
    "another path": lambda _, call: replace(call, target="/dynamodb/"),
    "another service's path": lambda _, call: replace(call, target="/s3"),
    "a query": lambda _, call: replace(call, target="/dynamodb?a=1"),
    "another body": lambda _, call: replace(call, body=call.body.replace(b"notes", b"bills")),
    "no body": lambda _, call: replace(call, body=b""),
    "another operation": lambda _, call: call.having("x-amz-target", "DynamoDB_20120810.DeleteTable"),
    "a second operation": lambda _, call: call.adding(("x-amz-target", "DynamoDB_20120810.DeleteTable")),
    "a second operation before": lambda _, call: replace(
        call, headers=(("x-amz-target", "DynamoDB_20120810.DeleteTable"), *call.headers)
    ),
    "another content type": lambda _, call: call.having("content-type", "application/json"),
    "another host": lambda site, call: call.having("host", f"localhost:{site.host.partition(':')[2]}"),
    "another time": lambda _, call: _hour(call, 1),
    "an old time": lambda _, call: _hour(call, -1),
    "a header that is not signed": lambda _, call: call.adding(("x-amz-expected-bucket-owner", "1")),
    "a range that is not signed": lambda _, call: call.adding(("range", "bytes=0-1")),
    "no signature": lambda _, call: call.having("authorization", None),
    "an empty signature": lambda _, call: call.having("authorization", ""),
    "half a signature": lambda _, call: call.having("authorization", dict(call.headers)["authorization"][:-1]),
    "a capital in the signature": lambda _, call: call.having(
        "authorization", HEX.sub(lambda found: found[0].upper(), dict(call.headers)["authorization"])
    ),
    "a null signature": lambda _, call: call.having(
        "authorization", HEX.sub("Signature=" + "0" * 64, dict(call.headers)["authorization"])
    ),
    "two signatures": lambda _, call: call.adding(("authorization", dict(call.headers)["authorization"])),
    "two signatures in one": lambda _, call: call.having(
        "authorization", f"{dict(call.headers)['authorization']}, {dict(call.headers)['authorization']}"
    ),
    "another part behind": lambda _, call: call.rewriting("Signature=", "Extra=1, Signature="),
    "another day in the scope": lambda _, call: call.rewriting("/20", "/19"),
    "another region": lambda _, call: call.rewriting(aws.REGION, "us-east-1"),
    "another service": lambda _, call: call.rewriting("/dynamodb/", "/s3/"),
    "another key": lambda _, call: call.rewriting("ASSENTRY", "ASSENTRX"),
    "AWS's own key": lambda site, call: call.rewriting(site.pair.access_key_id, aws.ACCESS_KEY_ID),
    "host not signed": lambda _, call: call.rewriting("host;", ""),
    "date not signed": lambda _, call: call.rewriting(";x-amz-date", ""),
    "operation not signed": lambda _, call: call.rewriting(";x-amz-target", ""),
    "content type not signed": lambda _, call: call.rewriting("content-type;", ""),
    "headers unsorted": lambda _, call: call.rewriting("content-type;host", "host;content-type"),
    "a header signed twice": lambda _, call: call.rewriting("host;", "host;host;"),
    "a header signed that is not there": lambda _, call: call.rewriting("host;", "host;nothing;"),
    "a signed header nominated away": lambda _, call: call.adding(("connection", "x-amz-target")),
    "a key beside it": lambda _, call: call.adding(("x-api-key", "ask_something")),
    "version 4A": lambda _, call: call.rewriting("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    "version 2": lambda site, call: call.having("authorization", f"AWS {site.pair.access_key_id}:c2lnbmF0dXJl"),
    "version 4 in small letters": lambda _, call: call.rewriting("AWS4-HMAC-SHA256", "aws4-hmac-sha256"),
    "the secret as a bearer": lambda site, call: call.having("authorization", f"Bearer {site.pair.signing_secret}"),
    "the key as a bearer": lambda site, call: call.having("authorization", f"Bearer {site.pair.access_key_id}"),
    "a query that holds a signature too": lambda _, call: replace(call, target="/dynamodb?X-Amz-Signature=00"),
    "the body left out": lambda _, call: call.having("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    "a body of another digest": lambda _, call: call.having("x-amz-content-sha256", hashlib.sha256(b"").hexdigest()),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_a_signed_call_that_was_changed_is_refused_and_never_sent(site: Site, name: str) -> None:
    before = len(site.cloud.seen)
    answer = await site.answer(SPOILT[name](site, site.call()))
    assert status(answer) in (400, 401, 421), answer
    assert len(site.cloud.seen) == before
    for secret in (site.pair.signing_secret, aws.SECRET):
        assert secret.encode() not in answer


@pytest.mark.parametrize("service", ["s3", "dynamodb"])
async def test_a_presigned_url_is_refused(site: Site, service: str) -> None:
    before = len(site.cloud.seen)
    made = AWSRequest(method="GET", url=f"http://{site.host}/{service}/reports/k")
    keys = Credentials(site.pair.access_key_id, site.pair.signing_secret)
    SigV4QueryAuth(keys, service, aws.REGION).add_auth(made)
    place = urlsplit(made.url)
    bare = Sent(method="GET", target=f"{place.path}?{place.query}", headers=(("host", site.host),), body=b"")
    for call in (bare, bare.adding(("authorization", f"Bearer {site.home.agent_token()}"))):
        answer = await site.answer(call)
        assert (status(answer), b"Presigned" in answer) == (401, True), answer
    assert len(site.cloud.seen) == before


async def test_a_signature_opens_no_other_upstreams_path_and_no_status(site: Site) -> None:
    before = len(site.cloud.seen)
    elsewhere = site.call("GET", "/s3/reports/k", headers={}, body=b"", service="dynamodb")
    assert status(await site.answer(elsewhere)) == 401
    asked = site.call("GET", "/v1/calls/call_00000000000000000000000000", headers={}, body=b"")
    assert status(await site.answer(asked)) == 401
    assert len(site.cloud.seen) == before


def chunked(site: Site, body: bytes, *, kind: str, trailer: str = "", length: int | None = None) -> Sent:
    """An upload in `aws-chunked` coding whose head is signed as it should be."""
    told = {
        "content-encoding": "aws-chunked",
        "content-type": "text/plain",
        "x-amz-content-sha256": kind,
        "x-amz-decoded-content-length": str(5 if length is None else length),
        **({"x-amz-trailer": trailer} if trailer else {}),
    }

    class Streaming(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return kind

    made = AWSRequest(method="PUT", url=f"http://{site.host}/s3/reports/k", headers=told)
    Streaming(Credentials(site.pair.access_key_id, site.pair.signing_secret), "s3", aws.REGION).add_auth(made)
    headers = (("host", site.host), *((name.lower(), str(value)) for name, value in made.headers.items()))
    return Sent(method="PUT", target="/s3/reports/k", headers=headers, body=body)


PLAIN = b"5\r\nhello\r\n0\r\n\r\n"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        # Without TLS nobody vouches for a body that is not signed.
        (UNSIGNED, PLAIN),
        ("UNSIGNED-PAYLOAD", PLAIN),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PLAIN),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PLAIN),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", PLAIN),
        (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            b"5;chunk-signature=%b\r\nhello\r\n0;chunk-signature=%b\r\n\r\n" % (b"0" * 64, b"0" * 64),
        ),
        (hashlib.sha256(PLAIN).hexdigest(), PLAIN),
    ],
)
async def test_a_body_in_chunks_counts_only_with_signatures_of_its_own(site: Site, kind: str, body: bytes) -> None:
    before = len(site.cloud.seen)
    assert status(await site.answer(chunked(site, body, kind=kind))) in (400, 401)
    assert len(site.cloud.seen) == before


async def test_a_call_that_came_with_a_token_is_signed_each_time_it_comes(site: Site) -> None:
    before = len(site.cloud.seen)
    told = {**PUT_ITEM, "authorization": f"Bearer {site.home.agent_token()}"}
    call = Sent(method="POST", target="/dynamodb", headers=(("host", site.host), *told.items()), body=ITEM)
    for _ in range(4):
        assert status(await site.answer(call)) == 200
    assert len(site.cloud.seen) == before + 4
    assert not [one for one in site.cloud.seen if one.header("authorization") == told["authorization"]]


async def test_a_body_in_chunks_that_came_with_a_token_is_judged_and_sent_without_them(site: Site) -> None:
    told = {
        "authorization": f"Bearer {site.home.agent_token()}",
        "content-type": "text/plain",
        "content-encoding": "aws-chunked",
        "x-amz-content-sha256": UNSIGNED,
        "x-amz-decoded-content-length": "5",
    }
    call = Sent(method="PUT", target="/s3/reports/k", headers=(("host", site.host), *told.items()), body=PLAIN)
    for _ in range(3):
        assert status(await site.answer(call)) == 200
        assert site.cloud.seen[-1].body == b"hello"


async def test_a_call_that_is_refused_is_on_the_ledger_without_what_it_showed(site: Site) -> None:
    answer = await site.answer(SPOILT["another body"](site, site.call()))
    call = re.search(rb"[Aa]ssentry-[Cc]all: (call_\w+)", answer)
    assert call is not None
    [told] = site.home.ledger_records(call[1].decode())
    assert (told["kind"], told["reason"]) == ("refused", Reason.IDENTITY_INVALID)
    assert site.pair.access_key_id not in str(told)
