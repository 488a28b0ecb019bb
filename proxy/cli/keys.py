"""`assentry keys`: agent keys for SDKs that cannot fetch tokens. Works on the store of a running gate.

For operators with access to the settings file and the store; there is no way to it over the network.
Exit status 0: done; 1: no such key; 2: wrong usage or settings; 3: the store does not answer.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from policy.principal import Identity
from proxy.cli.config import ConfigOption, loaded_or_exit
from proxy.cli.remote import leave
from proxy.identity.agent_keys import AgentKey, AgentKeys

app = typer.Typer(no_args_is_help=True, help="Agent keys: issue, list, revoke.")

_IDENTITY = re.compile(r"([a-z][a-z0-9-]{0,62}):[A-Za-z0-9._:@/|+=-]{1,255}")
_LIFETIME = re.compile(r"(\d+)([hd])")
_Result = TypeVar("_Result")


@app.command()
def issue(
    agent: Annotated[str, typer.Argument(help="The OIDC subject it stands for: <issuer name>:<sub>.")],
    owner: Annotated[str | None, typer.Option("--owner", help="The person who answers for it: <issuer>:<sub>.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", "-g", help="A group of it; repeatable.")] = None,
    lifetime: Annotated[str, typer.Option("--lifetime", help="How long it works: 12h, 90d.")] = "90d",
    note: Annotated[str, typer.Option("--note", help="What it is for.")] = "",
    config: ConfigOption = None,
) -> None:
    """Issue a key and print it, once."""
    lifetime_s = _seconds(lifetime)

    async def work(keys: AgentKeys) -> str:
        _, text = await keys.issue(
            _identity(agent), owner=_identity(owner) if owner else None, groups=frozenset(group or ()),
            lifetime_s=lifetime_s, note=note,
        )  # fmt: skip
        return text

    settings = loaded_or_exit(config).settings
    issuers = {issuer.name for issuer in settings.issuers if issuer.agents_audience}
    if agent.split(":", 1)[0] not in issuers:
        leave(2, f"{agent!r} is not a subject of an issuer with agents; those are: {', '.join(sorted(issuers))}.")
    typer.echo(_with_keys(config, work))


@app.command()
def ls(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the keys in force; never the keys themselves."""

    async def work(keys: AgentKeys) -> tuple[AgentKey, ...]:
        return await keys.listing()

    found = _with_keys(config, work)
    if as_json:
        typer.echo(json.dumps([_row(key) for key in found], indent=2))
        return
    for key in found:
        row = _row(key)
        typer.echo(f"{row['id']}  {row['agent']}  until {row['expires_at']}  {row['note']}".rstrip())


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `ls` shows it.")], config: ConfigOption = None
) -> None:
    """Revoke a key: refused everywhere within seconds."""

    async def work(keys: AgentKeys) -> bool:
        return await keys.revoke(key_id)

    if not _with_keys(config, work):
        leave(1, f"There is no key {key_id!r} in force.")
    typer.echo(f"Key {key_id} is revoked.")


def _with_keys(config: ConfigOption, work: Callable[[AgentKeys], Awaitable[_Result]]) -> _Result:
    from proxy.errors import AssentryError
    from proxy.holds.connection import connect
    from proxy.holds.embedded import running_url

    settings = loaded_or_exit(config).settings
    url = settings.store.url or running_url(settings.data)
    if url is None:
        leave(3, f"No gate is running on {str(settings.data)!r}: its embedded store runs only while it does.")

    async def connected() -> _Result:
        connection = connect(settings.store, url=url)
        try:
            return await work(AgentKeys(connection))
        finally:
            await connection.close()

    try:
        return asyncio.run(connected())
    except AssentryError as fault:
        leave(3, fault.detail)


def _identity(text: str) -> Identity:
    if not _IDENTITY.fullmatch(text):
        leave(2, f"{text!r} is not an identity; write <issuer name>:<sub>, for example corp:billing-bot.")
    return Identity(text)


def _seconds(text: str) -> int:
    match = _LIFETIME.fullmatch(text)
    if match is None or int(match[1]) == 0:
        leave(2, f"{text!r} is not a lifetime; write 12h or 90d.")
    return int(match[1]) * {"h": 3600, "d": 86_400}[match[2]]


def _row(key: AgentKey) -> dict[str, object]:
    return {
        "id": key.id,
        "agent": key.agent,
        "owner": key.owner,
        "groups": sorted(key.groups),
        "note": key.note,
        "expires_at": datetime.fromtimestamp(key.expires_at, UTC).isoformat(),
    }
