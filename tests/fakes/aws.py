"""S3 and DynamoDB on a real socket, as small as boto3 bears, behind signatures that botocore itself checks.

    async with upstream() as api:
        aws = FakeAws()
        api.default = aws.answer

`aws.seen` are the calls whose signature was right; a call whose signature is not is answered as AWS does.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.upstream import Answer, Received, reply

ACCESS_KEY_ID = "AKIAUPSTREAMEXAMPLE1"
SECRET = "an-upstream-secret-that-no-agent-may-see"
REGION = "eu-central-1"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([\w-]+)/([\w-]+)/aws4_request, SignedHeaders=([\w;-]+), "
    r"Signature=([0-9a-f]{64})"
)
Items = dict[str, list[dict[str, object]]]


@dataclass(slots=True, kw_only=True)
class FakeAws:
    """What is stored, and what was asked."""

    objects: dict[str, bytes] = field(default_factory=dict)
    """By `bucket/key`."""
    tables: Items = field(default_factory=dict)
    seen: list[Received] = field(default_factory=list)
    hang: asyncio.Event | None = None
    """Answers wait for it, where there is one."""

    async def answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        """Answers one call, as `FakeUpstream.default`."""
        service = verified(received)
        if service is None:
            said = _xml(403, "<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message></Error>")
        else:
            self.seen.append(received)
            said = self._s3(received) if service == "s3" else self._dynamodb(received)
        if self.hang is not None:
            await self.hang.wait()
        await said(received, writer)

    def _s3(self, received: Received) -> Answer:
        place = urlsplit(received.target)
        path, asked = unquote(place.path).removeprefix("/"), parse_qs(place.query, keep_blank_values=True)
        match received.method:
            case "PUT":
                self.objects[path] = received.body
                return reply(200, b"", ("ETag", f'"{hashlib.md5(received.body, usedforsecurity=False).hexdigest()}"'))
            case "GET" if "list-type" in asked:
                return _xml(200, self._listed(path, asked.get("prefix", [""])[0]))
            case "GET" | "HEAD" if path in self.objects:
                return reply(200, self.objects[path], ("Content-Type", "binary/octet-stream"))
            case "DELETE":
                self.objects.pop(path, None)
                return reply(204, b"")
            case _:
                return _xml(404, "<Error><Code>NoSuchKey</Code><Message>There is none.</Message></Error>")

    def _listed(self, bucket: str, prefix: str) -> str:
        start = f"{bucket}/{prefix}"
        keys = [path.removeprefix(f"{bucket}/") for path in sorted(self.objects) if path.startswith(start)]
        content = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in keys)
        return f"<ListBucketResult><KeyCount>{len(keys)}</KeyCount>{content}</ListBucketResult>"

    def _dynamodb(self, received: Received) -> Answer:
        asked = json.loads(received.body)
        items = self.tables.setdefault(asked["TableName"], [])
        if (received.header("x-amz-target") or "").endswith(".PutItem"):
            items.append(asked["Item"])
            return _json({})
        wanted = next(iter(asked["ExpressionAttributeValues"].values()))
        found = [item for item in items if item["id"] == wanted]
        return _json({"Count": len(found), "ScannedCount": len(items), "Items": found})


def verified(received: Received) -> str | None:
    """The service that a call is signed for with the operator's key, by botocore's own arithmetic; None: it is not."""
    form = _AUTHORIZATION.fullmatch(received.header("authorization") or "")
    if form is None or (form[1], form[3]) != (ACCESS_KEY_ID, REGION):
        return None
    headers = {name: received.header(name) or "" for name in form[5].split(";")}
    host = headers.pop("host")
    kind = S3SigV4Auth if form[4] == "s3" else SigV4Auth
    auth = kind(Credentials(ACCESS_KEY_ID, SECRET), form[4], REGION)
    call = AWSRequest(
        method=received.method, url=f"http://{host}{received.target}", headers=headers, data=received.body
    )
    call.context["timestamp"] = headers["x-amz-date"]
    digest = hashlib.sha256(received.body).hexdigest()
    if headers.get("x-amz-content-sha256", digest) != digest:
        return None
    told = auth.string_to_sign(call, auth.canonical_request(call))
    return form[4] if auth.signature(told, call) == form[6] else None


def _xml(status: int, inner: str) -> Answer:
    return reply(status, f'<?xml version="1.0" encoding="UTF-8"?>{inner}'.encode(), ("Content-Type", "application/xml"))


def _json(document: Mapping[str, object]) -> Answer:
    return reply(200, json.dumps(document).encode(), ("Content-Type", "application/x-amz-json-1.0"))
