"""`assentry keys`: agent keys for SDKs that cannot fetch tokens. Works on the store of a running gate.

For operators with access to the settings file, the store and the ledger's directory; there is no way to it over the
network. Every key that is issued or revoked is on the ledger first, on the chain `cli`; without a record, no key.
Exit status 0: done; 1: no such key; 2: wrong usage or settings; 3: the store or the ledger does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from proxy.cli.config import ConfigOption, loaded_or_exit
from proxy.cli.remote import leave
from proxy.cli.screen import line, say, say_json

if TYPE_CHECKING:
    from pathlib import Path

    from config.settings import Settings
    from policy.principal import Identity
    from proxy.audit.record import Record
    from proxy.holds.connection import StoreConnection
    from proxy.identity.agent_keys import AgentKey, AgentKeys

app = typer.Typer(no_args_is_help=True, help="Agent keys: issue, list, revoke.")

_IDENTITY = re.compile(r"([a-z][a-z0-9-]{0,62}):[A-Za-z0-9._:@/|+=-]{1,255}")
_LIFETIME = re.compile(r"(\d{1,6})([hd])")
_LONGEST_S = 366 * 86_400
_Result = TypeVar("_Result")


class Output(StrEnum):
    """How things are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


@app.command()
def issue(  # noqa: PLR0913, PLR0917 - an option each
    agent: Annotated[str, typer.Argument(help="The OIDC subject it stands for: <issuer name>:<sub>.")],
    owner: Annotated[str | None, typer.Option("--owner", help="The person who answers for it: <issuer>:<sub>.")] = None,
    group: Annotated[list[str] | None, typer.Option("--group", "-g", help="A group of it; repeatable.")] = None,
    lifetime: Annotated[str, typer.Option("--lifetime", help="How long it works: 12h, 90d.")] = "90d",
    note: Annotated[str, typer.Option("--note", help="What it is for.")] = "",
    aws: Annotated[bool, typer.Option("--aws", help="A pair for AWS's SDKs, to sign with, instead of a key.")] = False,
    config: ConfigOption = None,
) -> None:
    """Issue a key and print it, once."""
    named, answerable, lifetime_s = _identity(agent), _identity(owner) if owner else None, _seconds(lifetime)
    settings = loaded_or_exit(config).settings
    issuers = {issuer.name for issuer in settings.issuers if issuer.agents_audience}
    if agent.split(":", 1)[0] not in issuers:
        known = ", ".join(sorted(issuers)) or "none"
        leave(2, f"{agent!r} is not a subject of an issuer that has agents. Issuers that have: {known}.")

    async def work(connection: StoreConnection) -> str:
        from proxy.identity.key_office import KeyOffice

        office = KeyOffice(_keys(connection, settings), write=_on_the_ledger(settings), account=_account())
        groups = frozenset(group or ())
        if aws:
            pair = await office.issue_pair(named, owner=answerable, groups=groups, lifetime_s=lifetime_s, note=note)
            return f"AWS_ACCESS_KEY_ID={pair.access_key_id}\nAWS_SECRET_ACCESS_KEY={pair.signing_secret}"
        _, text = await office.issue(named, owner=answerable, groups=groups, lifetime_s=lifetime_s, note=note)
        return text

    typer.echo(_connected(settings, work))


@app.command()
def ls(config: ConfigOption = None, output: OutputOption = Output.TABLE) -> None:
    """List the keys in force; never the keys themselves."""
    settings = loaded_or_exit(config).settings

    async def work(connection: StoreConnection) -> tuple[AgentKey, ...]:
        return await _keys(connection, settings).listing()

    rows = [_row(key) for key in _connected(settings, work)]
    if output is Output.JSON:
        say_json({"keys": rows})
    elif not rows:
        say("No key is in force.")
    for row in rows if output is Output.TABLE else ():
        say("  ".join(line(row[name]) for name in ("id", "agent", "expires_at", "note")).rstrip())


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `ls` shows it.")], config: ConfigOption = None
) -> None:
    """Revoke a key: refused everywhere within seconds, also when the ledger cannot be written."""
    settings = loaded_or_exit(config).settings

    async def work(connection: StoreConnection) -> AgentKey | None:
        from proxy.identity.key_office import KeyOffice

        return await KeyOffice(_keys(connection, settings), write=_on_the_ledger(settings), account=_account()).revoke(
            key_id
        )

    if _connected(settings, work) is None:
        leave(1, f"There is no key {key_id!r} in force.")
    say(f"Key {key_id} is revoked.")


def _keys(connection: StoreConnection, settings: Settings) -> AgentKeys:
    from proxy.holds.sealing import sealer
    from proxy.identity.agent_keys import AgentKeys

    return AgentKeys(connection, sealer=sealer(settings.store, data=settings.data))


def _connected(settings: Settings, work: Callable[[StoreConnection], Awaitable[_Result]]) -> _Result:
    import asyncio

    from proxy.errors import AssentryError
    from proxy.holds.connection import connect
    from proxy.holds.embedded import running_url

    url = settings.store.url or running_url(settings.data)
    if url is None:
        leave(3, f"No gate is running on {str(settings.data)!r}: its embedded store runs only while it does.")

    async def connected() -> _Result:
        connection = connect(settings.store, url=url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(connected())
    except AssentryError as fault:
        leave(3, fault.detail)


def _on_the_ledger(settings: Settings) -> Callable[[Record], Awaitable[None]]:
    directory: Path = settings.ledger.directory or settings.data / "ledger"

    async def write(record: Record) -> None:
        from proxy.audit import single

        single.write(settings.ledger, directory=directory, record=record)

    return write


def _account() -> str:
    """The account of the operating system, as the kernel knows it; a variable could say anything."""
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _identity(text: str) -> Identity:
    from policy.principal import Identity

    if not _IDENTITY.fullmatch(text):
        leave(2, f"{text!r} is not an identity; write <issuer name>:<sub>, for example corp:billing-bot.")
    return Identity(text)


def _seconds(text: str) -> int:
    match = _LIFETIME.fullmatch(text)
    seconds = int(match[1]) * {"h": 3600, "d": 86_400}[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST_S:
        leave(2, f"{text!r} is not a lifetime; write 12h or 90d, a year at most.")
    return seconds


def _row(key: AgentKey) -> dict[str, object]:
    from datetime import UTC, datetime

    return {
        "id": key.id,
        "agent": key.agent,
        "owner": key.owner,
        "groups": sorted(key.groups),
        "note": key.note,
        "expires_at": datetime.fromtimestamp(key.expires_at, UTC).isoformat(),
    }
