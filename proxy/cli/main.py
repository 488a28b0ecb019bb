"""The `assentry` command: every verb, each in a file of its own.

A verb imports what it needs when it is called, so that `assentry --help` answers at once.
"""

from __future__ import annotations

import typer

from proxy.cli.audit import app as audit
from proxy.cli.catalog import app as catalog
from proxy.cli.config import app as config
from proxy.cli.holds import app as holds
from proxy.cli.keys import app as keys
from proxy.cli.policy import app as policy
from proxy.cli.serve import demo, serve

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # tracebacks with local variables would print secrets
    help="Assentry: AI agents call, people assent.",
)
app.command()(serve)
app.command()(demo)
app.add_typer(holds, name="holds")
app.add_typer(policy, name="policy")
app.add_typer(catalog, name="catalog")
app.add_typer(config, name="config")
app.add_typer(audit, name="audit")
app.add_typer(keys, name="keys")


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    typer.echo(f"assentry {installed('assentry')}")
