"""A refusal is read by botocore's own parsers, in every protocol of AWS: code, sentence and id."""

from __future__ import annotations

import pytest
from botocore.parsers import create_parser

from connectors.apis.aws.models import load
from connectors.apis.aws.refusals import SPEAKING, told, way
from connectors.apis.shapes import Problem, shape
from tests.connectors.aws.wire import client

SENTENCE = 'Ann rejected this call: <no> & "never" \u2013 not before May. (rejected, call_1)'
OPERATIONS = {
    "aws-rest-xml": ("s3", "PutObject"),
    "aws-rest-json": ("lambda", "Invoke"),
    "aws-json": ("dynamodb", "PutItem"),
    "aws-query": ("iam", "CreateUser"),
    "aws-ec2": ("ec2", "RunInstances"),
    "aws-cbor": ("cloudwatch", "PutMetricData"),
}


@pytest.mark.parametrize("spoken", SPEAKING)
@pytest.mark.parametrize(
    ("status", "reason", "code"), [(403, "rejected", "AccessDenied"), (404, "unknown-route", "UnknownRoute")]
)
def test_botocore_reads_the_code_and_the_sentence(spoken: str, status: int, reason: str, code: str) -> None:
    said = told(spoken, sentence=SENTENCE, reason=reason, status=status, call="call_1")
    service, name = OPERATIONS[spoken]
    operation = client(service).meta.service_model.operation_model(name)
    headers = {"content-type": said.media_type, **{key.lower(): value for key, value in said.headers}}
    read = create_parser(SPEAKING[spoken]).parse(
        {"status_code": status, "headers": headers, "body": said.body}, operation.output_shape
    )
    assert read["Error"]["Code"].removesuffix("Exception") == code
    assert read["Error"]["Message"] == SENTENCE


@pytest.mark.parametrize("length", [0, 23, 24, 255, 256, 70_000])
def test_a_sentence_of_any_length_is_one_text_in_cbor(length: int) -> None:
    said = told("aws-cbor", sentence="x" * length, reason="rejected", status=403, call="call_1")
    operation = client("cloudwatch").meta.service_model.operation_model("PutMetricData")
    read = create_parser("smithy-rpc-v2-cbor").parse(
        {"status_code": 403, "headers": {}, "body": said.body}, operation.output_shape
    )
    assert read["Error"]["Message"] == "x" * length


def test_controls_in_a_persons_words_do_not_break_the_xml() -> None:
    problem = Problem(sentence="a\x00b\x1bc", code="rejected", status=403, members={"call": "call_1"})
    assert b"<Message>a b c</Message><RequestId>call_1</RequestId>" in shape(problem, connector="aws-rest-xml").body


@pytest.mark.parametrize(
    ("service", "fields", "spoken"),
    [
        ("s3", {}, "aws-rest-xml"),
        ("dynamodb", {"x-amz-target": "DynamoDB_20120810.PutItem"}, "aws-json"),
        ("iam", {}, "aws-query"),
        ("ec2", {}, "aws-ec2"),
        ("cloudwatch", {"smithy-protocol": "rpc-v2-cbor"}, "aws-cbor"),
        ("cloudwatch", {"x-amz-target": "GraniteServiceVersion20100801.PutMetricData"}, "aws-json"),
        ("cloudwatch", {}, "aws-json"),
    ],
)
def test_a_client_is_refused_in_the_protocol_it_speaks(service: str, fields: dict[str, str], spoken: str) -> None:
    known = load(service)
    assert known is not None
    assert way(known.protocol, fields) == spoken
