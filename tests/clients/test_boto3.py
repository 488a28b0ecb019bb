"""boto3, unmodified: S3 and DynamoDB through the gate. A held call is slow, and a No is botocore's own ClientError."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from policy.hold import State
from proxy.identity.agent_keys import AgentKey
from tests.fakes import aws
from tests.fakes.aws import FakeAws
from tests.fakes.certificates import authority
from tests.fakes.cloud import cloudy
from tests.fakes.house import House, eventually

WORDS = "Not before the invoice is checked"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[House, FakeAws]]:
    async with cloudy(tmp_path / "house") as both:
        yield both


@pytest.fixture
def home(place: tuple[House, FakeAws]) -> House:
    return place[0]


@pytest.fixture
def cloud(place: tuple[House, FakeAws]) -> FakeAws:
    return place[1]


@pytest.fixture
async def pair(home: House) -> AgentKey:
    return await home.agent_pair()


def client(home: House, service: str, pair: AgentKey, *, verify: str | None = None, **options: Any) -> Any:
    """boto3's client of a service, with nothing set but the base URL and the keys that were issued."""
    return boto3.client(
        service,
        endpoint_url=f"{home.gate.agents_url}/{service}",
        region_name=aws.REGION,
        aws_access_key_id=pair.access_key_id,
        aws_secret_access_key=pair.signing_secret,
        verify=verify,
        config=Config(**options) if options else None,
    )


async def ask(home: House, service: str, pair: AgentKey, act: Callable[[Any], Any], **options: Any) -> Any:
    """What boto3 gives for an act, in a thread of its own."""

    def acting() -> Any:
        one = client(home, service, pair, **options)
        try:
            return act(one)
        finally:
            one.close()

    return await asyncio.to_thread(acting)


def put(bucket: str) -> Callable[[Any], Any]:
    about = {"Key": "2026/müller & co.csv", "ContentType": "text/csv", "Metadata": {"by": "bot"}}
    return lambda s3: s3.put_object(Bucket=bucket, Body=b"a;b\n", **about)


async def test_s3_objects_are_put_listed_read_and_deleted(home: House, cloud: FakeAws, pair: AgentKey) -> None:
    key = "2026/müller & co.csv"

    def act(s3: Any) -> tuple[Any, ...]:
        s3.put_object(Bucket="reports", Key=key, Body=io.BytesIO(b"a;b\n"), ContentType="text/csv")
        listed = s3.list_objects_v2(Bucket="reports", Prefix="2026/m")
        read = s3.get_object(Bucket="reports", Key=key)["Body"].read()
        s3.delete_object(Bucket="reports", Key=key)
        return [one["Key"] for one in listed["Contents"]], read, s3.list_objects_v2(Bucket="reports")["KeyCount"]

    assert await ask(home, "s3", pair, act) == ([key], b"a;b\n", 0)
    assert [one.method for one in cloud.seen] == ["PUT", "GET", "GET", "DELETE", "GET"]
    sent = cloud.seen[0]
    assert aws.ACCESS_KEY_ID in (sent.header("authorization") or "")
    assert sent.header("x-amz-checksum-crc32")
    assert sent.header("x-amz-sdk-checksum-algorithm") == "CRC32"
    assert pair.access_key_id.encode() not in b"".join(one.raw for one in cloud.seen)


async def test_dynamodb_items_are_put_and_queried(home: House, cloud: FakeAws, pair: AgentKey) -> None:
    def act(dynamodb: Any) -> Any:
        dynamodb.put_item(TableName="notes", Item={"id": {"S": "1"}, "text": {"S": "hello"}})
        return dynamodb.query(
            TableName="notes", KeyConditionExpression="id = :id", ExpressionAttributeValues={":id": {"S": "1"}}
        )

    answer = await ask(home, "dynamodb", pair, act)
    assert answer["Items"] == [{"id": {"S": "1"}, "text": {"S": "hello"}}]
    assert [(one.header("x-amz-target") or "").partition(".")[2] for one in cloud.seen] == ["PutItem", "Query"]


@pytest.mark.parametrize(
    ("service", "act", "operation"),
    [
        ("s3", put("payroll"), "s3:PutObject"),
        (
            "dynamodb",
            lambda db: db.put_item(TableName="orders", Item={"id": {"S": "1"}}),
            "dynamodb:PutItem",
        ),
    ],
    ids=["s3", "dynamodb"],
)
async def test_an_approved_call_returns_its_typed_result_and_is_sent_once(
    home: House, cloud: FakeAws, pair: AgentKey, service: str, act: Callable[[Any], Any], operation: str
) -> None:
    asking = home.begin(ask(home, service, pair, act))
    held = await home.wait_for_hold()
    assert held.call.operation.name == operation
    assert cloud.seen == []
    await home.person("ann").approve(held)
    answer = await asking
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["ResponseMetadata"]["HTTPHeaders"]["assentry-call"] == held.call.id
    assert len(cloud.seen) == 1


@pytest.mark.parametrize(
    ("service", "act", "name"),
    [
        ("s3", put("payroll"), "PutObject"),
        ("dynamodb", lambda db: db.put_item(TableName="orders", Item={"id": {"S": "1"}}), "PutItem"),
    ],
    ids=["s3", "dynamodb"],
)
async def test_a_rejected_call_raises_a_client_error_with_the_persons_sentence_once(
    home: House, cloud: FakeAws, pair: AgentKey, service: str, act: Callable[[Any], Any], name: str
) -> None:
    asking = home.begin(ask(home, service, pair, act))
    await home.person("ann").reject(await home.wait_for_hold(), WORDS)
    with pytest.raises(ClientError) as raised:
        await asking
    error = raised.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException")
    assert WORDS in error["Message"]
    assert "Ann rejected" in error["Message"]
    assert raised.value.operation_name == name
    assert cloud.seen == []
    assert len(await home.holds()) == 1


async def test_what_a_policy_forbids_raises_a_client_error_with_its_reason(
    home: House, cloud: FakeAws, pair: AgentKey
) -> None:
    listed = {"Objects": [{"Key": "a"}, {"Key": "b"}]}
    with pytest.raises(ClientError, match="Agents delete nothing in payroll") as raised:
        await ask(home, "s3", pair, lambda s3: s3.delete_objects(Bucket="payroll", Delete=listed))
    assert raised.value.response["Error"]["Code"] == "AccessDenied"
    assert cloud.seen == []


async def test_boto3s_own_retries_join_the_hold_and_are_answered_by_one_call_upstream(
    home: House, cloud: FakeAws, pair: AgentKey
) -> None:
    patience = {"read_timeout": 1, "retries": {"max_attempts": 20, "mode": "standard"}}
    asking = home.begin(ask(home, "s3", pair, put("payroll"), **patience))
    held = await home.wait_for_hold()

    async def tried_again() -> list[str] | None:
        told = [record["kind"] for record in home.ledger_records()]
        return told if told.count("attached") >= 2 else None

    await eventually(tried_again)
    assert len(await home.holds()) == 1
    await home.person("ann").approve(held)
    assert (await asking)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert len(cloud.seen) == 1
    await home.wait_until(held, State.EXECUTED)


async def test_a_call_signed_with_another_secret_is_refused_and_nothing_is_sent(
    home: House, cloud: FakeAws, pair: AgentKey
) -> None:
    def act() -> None:
        one = boto3.client(
            "dynamodb",
            endpoint_url=f"{home.gate.agents_url}/dynamodb",
            region_name=aws.REGION,
            aws_access_key_id=pair.access_key_id,
            aws_secret_access_key="guessed",
        )
        try:
            one.put_item(TableName="notes", Item={"id": {"S": "1"}})
        finally:
            one.close()

    with pytest.raises(ClientError, match="not the one that this key makes") as raised:
        await asyncio.to_thread(act)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401
    assert cloud.seen == []


async def test_a_revoked_pair_is_refused(home: House, cloud: FakeAws, pair: AgentKey) -> None:
    await ask(home, "s3", pair, put("reports"))
    assert await home.gate.agent_keys.revoke(pair.id)
    with pytest.raises(ClientError, match="not in force"):
        await ask(home, "s3", pair, put("reports"))
    assert len(cloud.seen) == 1


@pytest.mark.parametrize("body", [b"a;b\n", b""], ids=["some", "none"])
async def test_over_tls_uploads_in_chunks_with_a_digest_behind_are_judged_and_sent_plain(
    tmp_path: Path, body: bytes
) -> None:
    trusted = authority(tmp_path)
    certificate, key = map(str, trusted.issue("127.0.0.1"))
    async with cloudy(tmp_path / "tls", agents={"tls": {"certificate": certificate, "key": key}}) as (home, cloud):
        pair = await home.agent_pair()

        def act() -> Any:
            s3 = client(home, "s3", pair, verify=str(trusted.ca_file))
            try:
                return s3.put_object(Bucket="payroll", Key="k", Body=io.BytesIO(body), ContentType="text/csv")
            finally:
                s3.close()

        asking = home.begin(asyncio.to_thread(act))
        held = await home.wait_for_hold()
        assert held.call.body_length == len(body)
        await home.person("ann").approve(held)
        assert (await asking)["ResponseMetadata"]["HTTPStatusCode"] == 200
    [sent] = cloud.seen
    assert (sent.body, sent.header("content-encoding"), sent.header("x-amz-trailer")) == (body, None, None)
    assert sent.header("x-amz-checksum-crc32")


PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients" / "boto3.md"
EXAMPLES = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize(("source", "prints"), EXAMPLES)
async def test_the_examples_of_the_page_print_what_it_shows(
    home: House, pair: AgentKey, source: str, prints: str
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": pair.access_key_id,
        "AWS_SECRET_ACCESS_KEY": pair.signing_secret,
    }
    pipe = asyncio.subprocess.PIPE
    command = source.replace("https://gate.example.com", home.gate.agents_url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, env=environment, stdout=pipe, stderr=pipe
    )
    held = await home.wait_for_hold()
    ann = home.person("ann")
    rejects = re.search(r"# Meanwhile Ann rejects: (.+)", source)
    await (ann.reject(held, rejects[1]) if rejects else ann.approve(held))
    printed, said = await asyncio.wait_for(process.communicate(), 30)
    assert re.sub(r"call_\w{26}", "call_…", printed.decode()) == prints, said.decode()


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 2
