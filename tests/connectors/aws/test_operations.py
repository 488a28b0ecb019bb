"""Every operation of AWS's services is told from every other, by the very calls that botocore writes."""

from __future__ import annotations

import pytest

from connectors.apis.aws.effects import effect
from connectors.apis.aws.models import Model, load
from connectors.apis.aws.naming import finder
from connectors.apis.catalogue import load as load_catalogue
from connectors.apis.errors import CatalogueRefused
from connectors.apis.finders import Asked, BadBody
from connectors.apis.naming import Named, Namer
from policy.operation import OperationClass, Tier
from tests.connectors.aws.wire import asked, call, client

SERVICES = (
    *("s3", "dynamodb", "sqs", "sns", "iam", "sts", "lambda", "kms", "secretsmanager", "cloudwatch", "route53", "ecr"),
    *("logs", "ssm", "ec2", "bedrock-runtime"),
)
GIVEN = {"TransactWriteItems": {"TransactItems": [{"Delete": {"TableName": "orders", "Key": {}}}]}}
"""What an operation needs beyond what its model says."""


def model(service: str) -> Model:
    """The model of a service that there is."""
    found = load(service)
    assert found is not None
    return found


def named(service: str, one: Asked) -> str:
    """What a call is, without the upstream's name."""
    found = finder(model(service), upstream="aws")(one)
    if isinstance(found, BadBody):
        return f"bad: {found.detail}"
    return found.name.removeprefix("aws:") if found else "unknown"


def read(service: str, one: Asked) -> Named:
    """The whole reading of a call."""
    namer = Namer(load_catalogue(None, upstream=service, connector="aws"), scan_bytes=100_000, json_depth=64)
    found = namer.name_call(one.target, one.headers, one.raw)
    assert isinstance(found, Named), found
    return found


def of(service: str, operation: str, given: dict[str, object] | None = None) -> Asked:
    """The call that botocore writes for an operation."""
    return asked(client(service).meta.service_model.operation_model(operation), given)


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_is_named_by_the_call_that_botocore_writes(service: str) -> None:
    api = client(service).meta.service_model
    wrong = {}
    for shape in model(service).operations:
        name = named(service, asked(api.operation_model(shape.name), GIVEN.get(shape.name)))
        if name != shape.name:
            wrong[shape.name] = name
    assert wrong == {}


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (call("PUT", "/bucket/key"), "PutObject"),
        (call("PUT", "/bucket/a/deep/key"), "PutObject"),
        (call("PUT", "/bucket/key", "x-id=PutObject"), "PutObject"),
        (call("GET", "/bucket/", "list-type=2"), "ListObjectsV2"),
        # A word that S3 chooses another operation by is never overlooked.
        (call("PUT", "/bucket/key", headers={"x-amz-copy-source": "other/key"}), "CopyObject"),
        (call("PUT", "/bucket/key", "acl"), "PutObjectAcl"),
        (call("PUT", "/bucket/key", "acl", {"x-amz-copy-source": "other/key"}), "unknown"),
        (call("PUT", "/bucket/key", "acl&tagging"), "unknown"),
        (call("PUT", "/bucket/key", "something=else"), "unknown"),
        (call("PUT", "/bucket/key", "x-id=DeleteObject"), "unknown"),
        (call("PUT", "/bucket/key", "partNumber=1"), "unknown"),
        (call("PUT", "/bucket/key", headers={"x-amz-new-thing": "1"}), "unknown"),
        (call("PUT", "/bucket/key", headers={"x-amz-target": "DynamoDB_20120810.PutItem"}), "unknown"),
        (call("GET", "/bucket", "list-type=2&list-type=1"), "unknown"),
        (call("GET", "/bucket", "list-type=3"), "unknown"),
        (call("POST", "/bucket"), "unknown"),
        (call("DELETE", "/"), "unknown"),
    ],
)
def test_s3_calls_are_named_by_all_that_s3_looks_at(one: Asked, name: str) -> None:
    assert named("s3", one) == name


JSON = {"content-type": "application/x-amz-json-1.0"}
TARGET = {**JSON, "x-amz-target": "DynamoDB_20120810.PutItem"}


@pytest.mark.parametrize(
    "one",
    [
        call("POST", "/", headers={**JSON, "x-amz-target": "DynamoDB_20111205.PutItem"}, body=b"{}"),
        call("POST", "/", headers={**JSON, "x-amz-target": "PutItem"}, body=b"{}"),
        call("POST", "/", headers={**JSON, "x-amz-target": "DynamoDB_20120810.Nothing"}, body=b"{}"),
        call("POST", "/", headers={"x-amz-target": "DynamoDB_20120810.PutItem"}, body=b"{}"),
        call("POST", "/", "Action=PutItem", headers=TARGET, body=b"{}"),
        call("POST", "/other", headers=TARGET, body=b"{}"),
        call("GET", "/", headers=TARGET),
        call("POST", "/", headers=JSON, body=b"{}"),
        call("POST", "/", headers={**TARGET, "smithy-protocol": "rpc-v2-cbor"}, body=b"{}"),
    ],
)
def test_a_call_that_does_not_speak_the_services_protocol_is_unknown(one: Asked) -> None:
    assert named("dynamodb", one) == "unknown"


FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (call("POST", "/", headers=FORM, body=b"Action=ListUsers&Version=2010-05-08"), "ListUsers"),
        (call("POST", "/", headers=FORM, body=b"Action=ListUsers&Version=2009-05-08"), "unknown"),
        (call("POST", "/", headers=FORM, body=b"Action=ListUsers"), "unknown"),
        (call("POST", "/", headers=FORM, body=b"Action=ListUsers&Action=DeleteUser&Version=2010-05-08"), "unknown"),
        (
            call("POST", "/", "Action=DeleteUser", headers=FORM, body=b"Action=ListUsers&Version=2010-05-08"),
            "unknown",
        ),
        (call("GET", "/", "Action=ListUsers&Version=2010-05-08"), "unknown"),
    ],
)
def test_query_calls_are_named_by_one_action_in_the_body(one: Asked, name: str) -> None:
    assert named("iam", one) == name


def test_what_s3_is_asked_is_read_from_path_query_and_headers() -> None:
    put = read("s3", of("s3", "PutObject", {"Bucket": "acme", "Key": "a b/c.txt", "ACL": "public-read"}))
    assert put.operation.name == "s3:PutObject"
    assert (put.input.values["Bucket"], put.input.values["Key"], put.input.values["ACL"]) == (
        "acme",
        "a b/c.txt",
        "public-read",
    )
    assert put.resource.id == "s3/object/acme/a b%2Fc.txt"
    listed = read("s3", of("s3", "ListObjectsV2", {"Bucket": "acme", "Prefix": "in/", "MaxKeys": 7}))
    assert (listed.input.values["Prefix"], listed.input.values["MaxKeys"]) == ("in/", 7)
    assert listed.resource.id == "s3/bucket/acme"


def test_what_dynamodb_is_asked_is_read_from_its_json() -> None:
    put = read("dynamodb", of("dynamodb", "PutItem", {"TableName": "orders"}))
    assert (put.operation.name, put.input.values["TableName"]) == ("dynamodb:PutItem", "orders")
    assert put.resource.id == "dynamodb/table/orders"
    assert not put.sensitivity.labels


def test_a_batch_names_every_table_it_touches() -> None:
    items = {"RequestItems": {"orders": [], "customers": []}}
    batch = read("dynamodb", of("dynamodb", "BatchWriteItem", items))
    assert batch.input.values["TableNames"] == ("customers", "orders")
    written = {"TransactItems": [{"Put": {"TableName": "a", "Item": {}}}, {"Delete": {"TableName": "b", "Key": {}}}]}
    transaction = read("dynamodb", of("dynamodb", "TransactWriteItems", written))
    assert transaction.input.values["TableNames"] == ("a", "b")


def test_a_deletion_names_every_key_it_deletes() -> None:
    listed = {"Bucket": "acme", "Delete": {"Objects": [{"Key": "a&b"}, {"Key": "c", "VersionId": "1"}]}}
    deleted = read("s3", of("s3", "DeleteObjects", listed))
    assert deleted.input.values["Keys"] == ("a&b", "c")
    assert deleted.operation.classes == {OperationClass.DESTRUCTIVE}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object><Objects><Object><Key>b</Key></Object></Objects></Delete>",
        b'<!DOCTYPE d [<!ENTITY k "b">]><Delete><Object><Key>&k;</Key></Object></Delete>',
        b"<Other><Object><Key>a</Key></Object></Other>",
        b"<Delete><Object><Key>a<b/>c</Key></Object></Delete>",
    ],
)
def test_a_deletion_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    assert named("s3", call("POST", "/bucket", "delete", body=body)).startswith("bad: ")


@pytest.mark.parametrize(
    ("service", "name", "classes", "tier"),
    [
        ("s3", "GetObject", {OperationClass.READ}, Tier.LOW),
        ("s3", "HeadObject", {OperationClass.READ}, Tier.LOW),
        ("s3", "PutObject", {OperationClass.WRITE}, Tier.MEDIUM),
        ("s3", "DeleteObjects", {OperationClass.DESTRUCTIVE}, Tier.HIGH),
        ("s3", "PutBucketPolicy", {OperationClass.WRITE, OperationClass.ACCESS}, Tier.HIGH),
        ("s3", "GetBucketPolicy", {OperationClass.READ}, Tier.LOW),
        ("dynamodb", "Query", {OperationClass.READ}, Tier.LOW),
        ("dynamodb", "BatchGetItem", {OperationClass.READ}, Tier.LOW),
        ("dynamodb", "BatchWriteItem", {OperationClass.WRITE, OperationClass.DESTRUCTIVE}, Tier.HIGH),
        ("iam", "CreateUser", {OperationClass.WRITE, OperationClass.ACCESS}, Tier.HIGH),
        ("iam", "ListUsers", {OperationClass.READ}, Tier.LOW),
        ("sts", "GetSessionToken", {OperationClass.ACCESS}, Tier.HIGH),
        ("secretsmanager", "GetSecretValue", {OperationClass.READ}, Tier.HIGH),
        ("sqs", "ReceiveMessage", {OperationClass.WRITE}, Tier.MEDIUM),
        ("sns", "Publish", {OperationClass.WRITE, OperationClass.COMMS}, Tier.MEDIUM),
        ("ec2", "TerminateInstances", {OperationClass.DESTRUCTIVE}, Tier.HIGH),
    ],
)
def test_what_an_operation_does_is_told_by_its_name(
    service: str, name: str, classes: set[OperationClass], tier: Tier
) -> None:
    does = effect(service, name)
    assert (does.classes, does.tier) == (classes, tier)


def test_a_service_that_nobody_knows_is_refused_where_it_is_written() -> None:
    with pytest.raises(CatalogueRefused, match='no service "s4"'):
        load_catalogue(None, upstream="aws", connector="aws", settings={"service": "s4"})


ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/orders"


@pytest.mark.parametrize(
    ("service", "one"),
    [
        ("dynamodb", of("dynamodb", "PutItem", {"TableName": ARN})),
        ("dynamodb", of("dynamodb", "BatchWriteItem", {"RequestItems": {ARN: []}})),
        (
            "dynamodb",
            of("dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": {"TableName": ARN, "Item": {}}}]}),
        ),
        ("secretsmanager", of("secretsmanager", "GetSecretValue", {"SecretId": ARN})),
        ("lambda", of("lambda", "Invoke", {"FunctionName": "123456789012:function:pay"})),
        ("lambda", of("lambda", "Invoke", {"FunctionName": "arn:aws:lambda:eu-central-1:123456789012:function:pay"})),
        ("s3", call("PUT", "/arn%3Aaws%3As3%3Aeu-central-1%3A123456789012%3Aaccesspoint%3Apay/key")),
    ],
)
def test_a_thing_is_called_by_its_name_lest_a_policy_miss_it(service: str, one: Asked) -> None:
    assert named(service, one).startswith("bad: ")
