"""A house whose upstreams are S3 and DynamoDB: `async with cloudy(folder) as (home, aws):`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes import aws
from tests.fakes.aws import FakeAws
from tests.fakes.house import House, house
from tests.fakes.upstream import upstream

LAW = """
@id("bots-may") permit (principal in Group::"bots", action, resource);
@id("payroll") @hold("finance")
forbid (principal is Agent, action == Action::"s3:PutObject", resource)
when { if context.input has Bucket then context.input.Bucket == "payroll" else true }
unless { context.approvals.count >= 1 };
@id("orders") @hold("finance")
forbid (principal is Agent, action == Action::"dynamodb:PutItem", resource)
when { if context.input has TableName then context.input.TableName == "orders" else true }
unless { context.approvals.count >= 1 };
@id("no-deletions") @reason("Agents delete nothing in payroll.")
forbid (principal is Agent, action in [Action::"s3:DeleteObject", Action::"s3:DeleteObjects"], resource)
when { if context.input has Bucket then context.input.Bucket == "payroll" else true };
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""


@asynccontextmanager
async def cloudy(folder: Path, *, law: str = LAW, **settings: Any) -> AsyncIterator[tuple[House, FakeAws]]:
    """The house, and what is behind it. `settings` as for `house`."""
    keys = _kept(folder)
    async with upstream() as api:
        fake = FakeAws()
        api.default = fake.answer
        services = [
            {
                "name": service,
                "url": api.url,
                "connector": "aws",
                "aws": {"service": service, "region": aws.REGION},
                "credential": keys,
                "private_networks": True,
            }
            for service in ("s3", "dynamodb")
        ]
        async with house(folder, policies=law, upstreams=services, **settings) as home:
            home.secrets.add(aws.SECRET)
            yield home, fake


def _kept(folder: Path) -> dict[str, str]:
    """The credential of the settings, with its secrets in files."""
    folder.mkdir()
    for name, text in (("aws-id", aws.ACCESS_KEY_ID), ("aws-secret", aws.SECRET)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text, "ascii")
    return {"kind": "aws", "access_key_id": "file:aws-id", "secret_access_key": "file:aws-secret"}
