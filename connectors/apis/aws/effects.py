"""What an operation of AWS does to the world, by its name: class, tier, the thing it is about, a first sentence.

AWS names operations by verbs, and keeps to them (`GetObject`, `DeleteTable`); the few whose verb tells less than they
do are listed. What is decided here is a default: a catalogue file may say otherwise for any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from policy.operation import OperationClass, Tier

_READ, _WRITE = OperationClass.READ, OperationClass.WRITE
_DESTRUCTIVE, _ACCESS = OperationClass.DESTRUCTIVE, OperationClass.ACCESS

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*")
_MANY = frozenset({"Admin", "Batch", "Bulk", "Transact"})
"""Before the verb: the same, many at once or by an administrator."""
_READS = frozenset({
    "Check", "Count", "Describe", "Detect", "Estimate", "Filter", "Get", "Head", "List", "Lookup", "Preview", "Query",
    "Scan", "Search", "Select", "Simulate", "Validate", "Verify",
})  # fmt: skip
_DESTROYS = frozenset({
    "Abort", "Delete", "Deprovision", "Deregister", "Destroy", "Forget", "Purge", "Release", "Reset", "Retire",
    "Terminate", "Wipe",
})  # fmt: skip
_COMMS = frozenset({"pinpoint", "pinpoint-email", "pinpoint-sms-voice", "pinpoint-sms-voice-v2", "ses", "sesv2", "sns"})
_GUARDS_ACCESS = frozenset({
    "cognito-idp", "iam", "identitystore", "organizations", "ram", "rolesanywhere", "sso-admin", "sts",
})  # fmt: skip
"""Services whose every change is one of who may do what."""
_ABOUT_ACCESS = re.compile(
    r"Policy|Policies|Acl(s|$)|Permission|PublicAccess|Grant|Principal|AccessKey|Ownership|SecurityGroup|Credential"
)
_GIVES_ACCESS = re.compile(
    r"SessionToken|FederationToken|AuthorizationToken|^AssumeRole|^CreateSession|^GetCredentials"
)
_GIVES_SECRETS = re.compile(
    r"SecretValue|PasswordData|GetParameter|Decrypt|GenerateDataKey|ExportKey|GetRandomPassword"
)

_LISTED: dict[str, frozenset[OperationClass]] = {
    # PartiQL and batches hold deletions as well, and only the body tells.
    "dynamodb:ExecuteStatement": frozenset({_WRITE, _DESTRUCTIVE}),
    "dynamodb:BatchExecuteStatement": frozenset({_WRITE, _DESTRUCTIVE}),
    "dynamodb:ExecuteTransaction": frozenset({_WRITE, _DESTRUCTIVE}),
    "dynamodb:BatchWriteItem": frozenset({_WRITE, _DESTRUCTIVE}),
    "dynamodb:TransactWriteItems": frozenset({_WRITE, _DESTRUCTIVE}),
    "s3:PutBucketLifecycleConfiguration": frozenset({_WRITE, _DESTRUCTIVE}),
}

_RESOURCES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Key", "object", ("Bucket",)),
    ("Bucket", "bucket", ()),
    ("TableName", "table", ()),
    ("FunctionName", "function", ()),
    ("QueueUrl", "queue", ()),
    ("QueueName", "queue", ()),
    ("TopicArn", "topic", ()),
    ("SecretId", "secret", ()),
    ("KeyId", "key", ()),
    ("RoleName", "role", ()),
    ("UserName", "user", ()),
    ("GroupName", "group", ()),
    ("PolicyArn", "policy", ()),
    ("StackName", "stack", ()),
    ("DBInstanceIdentifier", "database", ()),
    ("DBClusterIdentifier", "database", ()),
    ("StreamName", "stream", ()),
    ("logGroupName", "log-group", ()),
    ("stateMachineArn", "state-machine", ()),
    ("InstanceId", "instance", ()),
)
"""The member that names the thing, what it is, and what stands before it; the first that an operation has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an operation does."""

    classes: frozenset[OperationClass]
    tier: Tier
    labels: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an operation is about."""

    kind: str
    field: str | None
    scope: tuple[str, ...]


def effect(service: str, name: str) -> Effect:
    """Class, tier and labels of an operation by its name: `PutObject`."""
    classes = _LISTED.get(f"{service}:{name}") or _by_name(service, name)
    secrets = _GIVES_SECRETS.search(name) is not None
    risky = bool(classes & {_DESTRUCTIVE, _ACCESS, OperationClass.MONEY}) or secrets
    plain = Tier.LOW if classes == {_READ} else Tier.MEDIUM
    return Effect(
        classes=classes,
        tier=Tier.HIGH if risky else plain,
        labels=frozenset({"credentials"}) if secrets or _GIVES_ACCESS.search(name) else frozenset(),
    )


def _by_name(service: str, name: str) -> frozenset[OperationClass]:
    if _GIVES_ACCESS.search(name):
        return frozenset({_ACCESS})
    verb = _verb(name)
    if verb in _READS:
        return frozenset({_READ})
    found = {_DESTRUCTIVE} if verb in _DESTROYS else {_WRITE}
    if service in _GUARDS_ACCESS or _ABOUT_ACCESS.search(name):
        found.add(_ACCESS)
    if service in _COMMS and verb in ("Publish", "Send"):
        found.add(OperationClass.COMMS)
    if verb == "Purchase":
        found.add(OperationClass.MONEY)
    if verb == "Export":
        found.add(OperationClass.EXPORT)
    return frozenset(found)


def _verb(name: str) -> str:
    words: list[str] = _WORDS.findall(name)
    return words[1] if len(words) > 1 and words[0] in _MANY else words[0]


def about(texts: Iterable[str]) -> About:
    """The thing that an operation with these text members is about; the collection where none of them is known."""
    known = frozenset(texts)
    for member, kind, scope in _RESOURCES:
        if member in known and known.issuperset(scope):
            return About(kind=kind, field=member, scope=scope)
    return About(kind="resource", field=None, scope=())


def sentence(name: str, thing: About) -> str:
    """Template of a brief's first sentence."""
    if thing.field is None:
        return f"{name} at {{upstream}}"
    inside = "".join(f" in {{{scope}}}" for scope in reversed(thing.scope))
    return f"{name}: {thing.kind} {{{thing.field}}}{inside} at {{upstream}}"
