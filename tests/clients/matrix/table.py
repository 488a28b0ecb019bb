"""The table of the matrix, as it is printed and as it stands in docs/clients/README.md between two marks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tests.clients.matrix.asking import Client, Meanwhile
from tests.clients.matrix.deciding import Outcome, When

PAGE = Path(__file__).resolve().parents[3] / "docs" / "clients" / "README.md"
BEGIN, END = "<!-- matrix: written by `python -m tests.clients.matrix --write` -->", "<!-- end of matrix -->"
_HEAD = ("client", "version", "read timeout", "approved", "rejected", *When, "what the agent sees meanwhile")
_NOTES = {Meanwhile.OWN_RETRY: "its retry joins", Meanwhile.PENDING: "says pending", Meanwhile.TIMED_OUT: "times out"}


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, a row for each client, in their order. Every outcome has been checked."""
    clients = {one.case.client.label: one.case.client for one in outcomes}
    rows = [_HEAD, ("---",) * len(_HEAD)]
    rows += [_row(client, [one for one in outcomes if one.case.client is client]) for client in clients.values()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def documented(*, without: Collection[str] = ()) -> str:
    """The table that the page shows, but for these clients, which this machine does not have."""
    lines = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    return "\n".join(line for line in lines if line.split(" | ")[0].removeprefix("| ") not in without)


def write(shown: str) -> None:
    """Puts this table into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", "utf-8")


def _row(client: Client, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    returned = client.returns.partition(" ")[0]
    short = f", here {client.timeout_s:g} s" if client.default_timeout != f"{client.timeout_s:g} s" else ""
    return (
        client.name,
        # What the machine brings differs from machine to machine, and the page does not.
        "the system's" if client.system else client.version,
        f"{client.default_timeout}{short}",
        f"`{returned}`" if returned != "object" else "what the API said",
        client.refused or f"`{client.refusal.__name__}`",
        *(_counts([one for one in outcomes if one.case.when is when], client) for when in When),
        client.meanwhile.value,
    )


def _counts(outcomes: Sequence[Outcome], client: Client) -> str:
    if not outcomes:
        return "–"
    approved = next(one for one in outcomes if one.case.approve)
    rejected = next(one for one in outcomes if not one.case.approve)
    counted = " / ".join(f"{one.holds}·{one.announced}·{one.sent}" for one in (approved, rejected))
    unheard = client.unheard if approved.case.when is When.UNHEARD else None
    return f"{counted}, {_NOTES[unheard]}" if unheard else counted
