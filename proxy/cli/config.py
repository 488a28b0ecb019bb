"""`assentry config`: what is in force and why, a file to begin with, and the schema for editors.

Reads and prints; changes nothing. Exit status 0: the settings hold together; 2: they are refused, with every reason.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.paths import CONFIG_VARIABLE, DEFAULT_FILE

if TYPE_CHECKING:
    from config.check import Row
    from config.load import Loaded

app = typer.Typer(no_args_is_help=True, help="Settings: what is in force, an example, the schema.")


class Output(StrEnum):
    """How the settings are printed."""

    TABLE = "table"
    JSON = "json"


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help=f"Settings file. Default: ${CONFIG_VARIABLE}, else {DEFAULT_FILE}."),
]


def settings_file(chosen: Path | None) -> Path:
    """The settings file in force: as chosen, else from the environment, else the usual place."""
    return chosen or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_FILE)


def loaded_or_exit(chosen: Path | None) -> Loaded:
    """The settings; or every problem on standard error, and exit status 2."""
    from config.errors import SettingsRefused
    from config.load import load

    try:
        return load(settings_file(chosen), environ=os.environ)
    except SettingsRefused as refused:
        for problem in refused.problems:
            typer.echo(str(problem), err=True)
        count = len(refused.problems)
        typer.echo(f"The settings are refused: {count} problem{'' if count == 1 else 's'}.", err=True)
        raise typer.Exit(2) from None


@app.command()
def check(
    config: ConfigOption = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Print the settings in force, where each came from, secrets masked. Exit 0, or 2 if they are refused."""
    from config.check import effective

    loaded = loaded_or_exit(config)
    rows = effective(loaded)
    if output is Output.JSON:
        values = [{"path": row.path, "value": row.value, "source": row.source} for row in rows]
        typer.echo(json.dumps({"file": str(loaded.file), "settings": values}, indent=2, ensure_ascii=False))
    else:
        _table(rows)


@app.command()
def schema() -> None:
    """Print the JSON schema of the settings file, for editors."""
    from config.jsonschema import schema as of_settings

    typer.echo(json.dumps(of_settings(), indent=2, ensure_ascii=False))


@app.command()
def example() -> None:
    """Print a commented settings file to begin with."""
    sys.stdout.write((files("config") / "example.yaml").read_text("utf-8"))


@app.command()
def reference() -> None:
    """Print the reference of all settings, the text of docs/settings.md."""
    from config.reference import reference as of_settings

    sys.stdout.write(of_settings())


def _table(rows: tuple[Row, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "source", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        # Text, not markup: a value is printed as it is.
        table.add_row(Text(row.path), Text(row.value), Text(row.source, style="" if row.source != "default" else "dim"))
    console = Console()
    # Piped into a file or a pager, no column is cut.
    console.width = console.width if console.is_terminal else 1000
    console.print(table)
