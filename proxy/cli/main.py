"""The `assentry` command: every verb, each in a file of its own.

A verb imports what it needs when it is called, so that `assentry --help` answers at once.
"""

from __future__ import annotations

import typer

from proxy.cli.config import app as config

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # tracebacks with local variables would print secrets
    help="Assentry: AI agents call, people assent.",
)
app.add_typer(config, name="config")


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"assentry {installed('assentry')}")
