"""`assentry audit`: verify the ledger, look at its end, follow one call through it.

Reads files and nothing else: no server need run. Exit status 0: done, and for `verify`: every chain is whole; 1: a
chain is broken, or the call is on no chain; 2: wrong usage, or a directory or key that cannot be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from proxy.cli.config import ConfigOption, loaded_or_exit

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from proxy.audit.reading import Read
    from proxy.audit.verify import ChainReport

app = typer.Typer(no_args_is_help=True, help="The ledger: verify it, tail it, follow a call through it.")

_POLL_S = 0.5


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
DirOption = Annotated[Path | None, typer.Option("--dir", "-d", help="The ledger's directory. Default: as configured.")]


@app.command()
def verify(
    directory: Annotated[Path | None, typer.Argument(help="The ledger's directory. Default: as configured.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="Public key (PEM), kept elsewhere. Default: the one in the directory.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A file of signed checkpoints that was kept elsewhere.")
    ] = None,
    output: OutputOption = Output.TEXT,
    config: ConfigOption = None,
) -> None:
    """Check every chain. Exit 0 if all are whole, 1 if one is broken, 2 if they cannot be read."""
    from proxy.audit.verify import verify as verified

    folder = _folder(directory, config)
    try:
        witnessed = [note for path in checkpoint or () for note in _notes(path)]
        reports = verified(folder, key=_key(folder, key), witnessed=witnessed)
    except (OSError, UnicodeDecodeError) as exc:
        _usage(f"cannot read the ledger: {exc}")
    if not reports:
        _usage(f"there is no chain in {folder}")
    (_print_reports if output is Output.TEXT else _print_reports_json)(reports)
    raise typer.Exit(1 if any(report.findings for report in reports) else 0)


@app.command()
def tail(
    count: Annotated[int, typer.Option("-n", min=0, help="How many records.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as records are written.")] = False,
    directory: DirOption = None,
    output: OutputOption = Output.TEXT,
    config: ConfigOption = None,
) -> None:
    """Print the newest records of all chains, oldest first. Exit 0, or 2 if they cannot be read."""
    from proxy.audit.reading import ends, latest, newer

    folder = _folder(directory, config)
    try:
        read_to = ends(folder)
        for record in latest(folder, count):
            _print_record(record, output)
        while follow:
            records, read_to = newer(folder, read_to)
            for record in records:
                _print_record(record, output)
            time.sleep(_POLL_S)
    except OSError as exc:
        _usage(f"cannot read the ledger: {exc}")
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def show(
    call: Annotated[str, typer.Argument(help="Id of a call: call_…")],
    directory: DirOption = None,
    output: OutputOption = Output.TEXT,
    config: ConfigOption = None,
) -> None:
    """Print everything recorded of one call, in order. Exit 0, 1 if there is nothing, 2 if it cannot be read."""
    from proxy.audit.reading import of_call

    folder = _folder(directory, config)
    try:
        records = of_call(folder, call)
    except OSError as exc:
        _usage(f"cannot read the ledger: {exc}")
    for record in records:
        _print_record(record, output)
    if not records:
        typer.echo(f"No record of call {call!r} in {folder}.", err=True)
        raise typer.Exit(1)


def _folder(chosen: Path | None, config: Path | None) -> Path:
    folder = chosen
    if folder is None:
        settings = loaded_or_exit(config).settings
        folder = settings.ledger.directory or settings.data / "ledger"
    if not folder.is_dir():
        _usage(f"there is no directory {folder}")
    return folder


def _key(folder: Path, chosen: Path | None) -> Ed25519PublicKey:
    from proxy.audit.keys import PUBLIC_KEY, public_key
    from proxy.errors import OperatorFault

    try:
        return public_key(chosen or folder / PUBLIC_KEY)
    except OperatorFault as exc:
        _usage(exc.detail)


def _notes(path: Path) -> Iterator[str]:
    from proxy.audit.checkpoint import NoteRefused, notes

    try:
        # One note, or a copied checkpoints file: each note there is followed by an empty line.
        yield from notes(path.read_text("utf-8").rstrip("\n") + "\n\n")
    except NoteRefused as exc:
        _usage(f"{path} holds no signed checkpoint: {exc}")


def _usage(problem: str) -> NoReturn:
    typer.echo(problem, err=True)
    raise typer.Exit(2)


def _print_reports(reports: tuple[ChainReport, ...]) -> None:
    for report in reports:
        state = "BROKEN" if report.findings else "whole"
        uncounted = report.records - report.counted
        typer.echo(
            f"{report.chain}: {state}, {report.records} records, {report.checkpoints} checkpoints"
            + (f", {uncounted} records since the last" if uncounted > 0 else "")
            + (", being written now" if report.writing else "")
        )
        for finding in report.findings:
            typer.echo(f"  {finding}")


def _print_reports_json(reports: tuple[ChainReport, ...]) -> None:
    import orjson

    documents = [
        {
            "chain": report.chain,
            "whole": not report.findings,
            "records": report.records,
            "checkpoints": report.checkpoints,
            "counted": report.counted,
            "being_written": report.writing,
            "findings": [
                {
                    "fault": finding.fault.value,
                    "file": str(finding.file),
                    "line": finding.line,
                    "seq": finding.seq,
                    "detail": finding.detail,
                }
                for finding in report.findings
            ],
        }
        for report in reports
    ]
    typer.echo(orjson.dumps({"chains": documents}, option=orjson.OPT_INDENT_2).decode())


def _print_record(record: Read, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(record.line.decode("utf-8", "backslashreplace"))
        return
    typer.echo("  ".join(_columns(record)))


def _columns(record: Read) -> Iterator[str]:
    yield record.at
    yield f"{record.chain}/{record.seq}"
    yield record.kind.ljust(10)
    yield record.call or "-"
    yield from record.summary
