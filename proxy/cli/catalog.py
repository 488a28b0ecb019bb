"""`assentry catalog`: operation catalogues, made and looked at without a running gate.

Exit status 0: done, or the call is known; 1: the call is not in the catalogue; 2: the file cannot be read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    from connectors.apis.bodies import Json
    from connectors.apis.catalogue import Catalogue
    from connectors.apis.documents import Tree
    from policy.operation import Operation

app = typer.Typer(no_args_is_help=True, help="Operation catalogues: import, check, try, list.")

FileArgument = Annotated[Path, typer.Argument(help="A catalogue, an OpenAPI document, or builtin:NAME.")]
UpstreamOption = Annotated[str | None, typer.Option("--upstream", help="Name of the upstream. Default: the file's.")]
ConnectorOption = Annotated[
    str, typer.Option("--connector", help="The upstream's connector, where it names calls by code.")
]


@app.command("import")
def import_(
    spec: Annotated[Path, typer.Argument(help="OpenAPI 3.0 or 3.1 document: JSON or YAML, gzipped or not.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write. Default: to the screen.")
    ] = None,
    upstream: UpstreamOption = None,
) -> None:
    """Turn an OpenAPI document into a catalogue to edit."""
    from connectors.apis import writing

    catalogue = _loaded(spec, upstream)
    text = writing.written(catalogue.operations)
    for note in catalogue.notes:
        typer.echo(f"note: {note}", err=True)
    _write(text, output, f"{len(catalogue.operations)} operations")


@app.command()
def mcp(
    url: Annotated[str, typer.Argument(help="The MCP server's endpoint: https://mcp.example/mcp")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The catalogue file; one that is there is made again.")
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="Name of an environment variable with a bearer token.")
    ] = None,
    only_check: Annotated[
        bool, typer.Option("--check", help="Write nothing; status 1 if the tools are not those of the file.")
    ] = False,
) -> None:
    """Pin the tools of an MCP server in a catalogue."""
    from connectors.apis.mcp.writing import made

    before = _tree(output) if output is not None and output.exists() else {}
    result = made(_fetched(url, token), path=urlsplit(url).path, before=before)
    for word, names in (("new", result.added), ("changed", result.changed), ("gone", result.gone)):
        for name in names if before or word != "new" else ():
            typer.echo(f"{word}: {name}", err=True)
    for name in result.left_out:
        typer.echo(f"note: {name!r} is left out: it can be no operation's name, or stands twice", err=True)
    if only_check:
        raise typer.Exit(1 if result.differs else 0)
    _write(result.text, output, f"{result.tools} tools")


@app.command()
def check(file: FileArgument, upstream: UpstreamOption = None, connector: ConnectorOption = "generic") -> None:
    """Read a catalogue and say what is wrong with it."""
    catalogue = _loaded(file, upstream, connector)
    for note in catalogue.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{file}: {len(catalogue.operations)} operations, labels {', '.join(sorted(catalogue.labels))}")


@app.command()
def match(
    file: FileArgument,
    method: Annotated[str, typer.Argument(help="GET, POST, ...")],
    path: Annotated[str, typer.Argument(help="Raw path below the upstream's prefix, with the query if it matters.")],
    upstream: UpstreamOption = None,
    connector: ConnectorOption = "generic",
) -> None:
    """Say which operation a call without a body is."""
    from connectors.apis.naming import Named, Namer
    from policy.call import Target

    catalogue = _loaded(file, upstream, connector)
    where, _, query = path.partition("?")
    target = Target(method=method, path=where, query=query)
    named = Namer(catalogue, scan_bytes=0, json_depth=8).name_call(target, (), b"")
    if not isinstance(named, Named) or not named.operation.known:
        typer.echo(f"{catalogue.upstream}:unknown")
        raise typer.Exit(1)
    typer.echo(_line(named.operation))
    for name, value in named.input.values.items():
        typer.echo(f"  {name} = {value}")


@app.command()
def ls(
    file: Annotated[Path | None, typer.Argument(help="Absent: the shipped catalogues.")] = None,
    upstream: UpstreamOption = None,
    connector: ConnectorOption = "generic",
) -> None:
    """List operations."""
    from connectors.apis.catalogue import BUILTIN, shipped

    files = [file] if file else [Path(f"{BUILTIN}{name}") for name in shipped()]
    for one in files:
        for operation in _loaded(one, upstream, connector).operations:
            typer.echo(_line(operation))


def _loaded(file: Path, upstream: str | None, connector: str = "generic") -> Catalogue:
    from connectors.apis.catalogue import BUILTIN, load
    from connectors.apis.errors import CatalogueRefused
    from connectors.apis.finders import names_by_code

    name = upstream or file.name.removeprefix(BUILTIN).partition(".")[0]
    own = str(file).removeprefix(BUILTIN)
    try:
        if str(file).startswith(BUILTIN) and names_by_code(own):
            return load(None, upstream=name, connector=own)
        return load(file, upstream=name, connector=connector)
    except CatalogueRefused as exc:
        for problem in exc.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(2) from exc


def _fetched(url: str, token: str | None) -> tuple[Mapping[str, Json], ...]:
    from proxy.mcp.fetching import Unlisted, tools_of

    if token is not None and not os.environ.get(token):
        typer.echo(f"--token: the environment variable {token} is not set", err=True)
        raise typer.Exit(2)
    headers = {"Authorization": f"Bearer {os.environ[token]}"} if token else {}
    try:
        return asyncio.run(tools_of(url, headers=headers))
    except Unlisted as exc:
        typer.echo(exc.detail, err=True)
        raise typer.Exit(2) from exc


def _tree(file: Path) -> dict[str, Tree]:
    from connectors.apis.documents import tree
    from connectors.apis.errors import CatalogueRefused

    try:
        return tree(file)
    except CatalogueRefused as exc:
        typer.echo("\n".join(map(str, exc.problems)), err=True)
        raise typer.Exit(2) from exc


def _write(text: str, output: Path | None, what: str) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        typer.echo(f"{output}: cannot be written ({type(exc).__name__})", err=True)
        raise typer.Exit(2) from exc
    typer.echo(f"{output}: {what}")


def _line(one: Operation) -> str:
    classes = ",".join(sorted(one.classes))
    return f"{one.name}  {one.method} {one.template}  {one.tier.value}  {classes}"
