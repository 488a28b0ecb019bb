"""boto3, with a pair of keys that the gate issued, against S3 and DynamoDB that check every signature."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError

from tests.clients.matrix.asking import Client, Meanwhile, Site, Surroundings
from tests.clients.matrix.sdks import in_thread
from tests.fakes import aws
from tests.fakes.aws import FakeAws
from tests.fakes.house import House

_SESSION = boto3.session.Session()
_MAKING = threading.Lock()
"""boto3 makes clients in one thread at a time; a client may be used in any."""


def _client(service: str, site: Site) -> Any:
    key_id, _, secret = site.credential.partition(":")
    with _MAKING:
        return _SESSION.client(
            service,
            endpoint_url=site.url,
            region_name=aws.REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(read_timeout=site.timeout_s),
        )


def _s3(site: Site) -> str:
    client, body = _client("s3", site), site.mark.encode()
    try:
        made = client.put_object(Bucket="payroll", Key=site.mark, Body=body)
    finally:
        client.close()
    right = made["ETag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
    return f"PutObjectOutput {site.mark if right else made['ETag']}"


def _dynamodb(site: Site) -> str:
    client = _client("dynamodb", site)
    try:
        made = client.put_item(TableName="orders", Item={"id": {"S": site.mark}})
    finally:
        client.close()
    return f"PutItemOutput {site.mark if made['ResponseMetadata']['HTTPStatusCode'] == 200 else ''}"


async def _pair(home: House, agent: str) -> str:
    key = await home.agent_pair(agent)
    return f"{key.access_key_id}:{key.signing_secret}"


def _around(service: str) -> Callable[[Path, str], Any]:
    @asynccontextmanager
    async def around(folder: Path, url: str) -> AsyncIterator[Surroundings]:
        for name, text in (("aws-id", aws.ACCESS_KEY_ID), ("aws-secret", aws.SECRET)):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text, "ascii")
        keys = {"access_key_id": f"file:{folder}/aws-id", "secret_access_key": f"file:{folder}/aws-secret"}
        told = {"service": service, "region": aws.REGION}
        settings = {"url": url, "connector": "aws", "aws": told, "credential": {"kind": "aws", **keys}}
        yield Surroundings(settings=settings)

    return around


ROWS = tuple(
    Client(
        name=f"boto3, {title}",
        version=version("boto3"),
        upstream=service,
        around=_around(service),
        ask=in_thread(ask),
        answer=FakeAws().answer,
        returns=returns,
        refusal=ClientError,
        gives_up=(HTTPClientError,),
        default_timeout="60 s",
        meanwhile=Meanwhile.WAITS_ON,
        unheard=Meanwhile.OWN_RETRY,
        credential=_pair,
    )
    for title, service, ask, returns in (
        ("S3", "s3", _s3, "PutObjectOutput {mark}"),
        ("DynamoDB", "dynamodb", _dynamodb, "PutItemOutput {mark}"),
    )
)
