"""`assentry holds`: what waits for a decision, what it would do, and your decision on it.

Speaks to the approvers' API only, so it can do no more than its user may. Exit statuses: see `proxy.cli.remote`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, cast

import typer

from proxy.cli.remote import DEFAULT_URL, Gate, Json, TokenFileOption, UrlOption, gate, leave
from proxy.cli.screen import line, say, say_json

app = typer.Typer(no_args_is_help=True, help="Held calls: list, show, approve, reject, withdraw.")


_WHOLE = {"whole": "true"}
"""A terminal scrolls, so nothing need be left out."""


class Output(StrEnum):
    """How things are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
IdArgument = Annotated[str, typer.Argument(help="Id of the call, or enough of its end to tell it apart.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; the agent is told when you reject.")]
FingerprintOption = Annotated[
    str, typer.Option("--fingerprint", "-f", help="Decide only if this is still what is held; else you are asked.")
]


@app.command()
def ls(
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    settled: Annotated[bool, typer.Option("--settled", help="Those already decided instead.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the held calls that you may see."""
    found = gate(url, token_file).get("/v1/holds", query={"state": "settled" if settled else "open"})
    if output is Output.JSON:
        say_json(found)
        return
    holds = _holds(found)
    if not holds:
        typer.echo("Nothing is held.")
        return
    _table(holds)


@app.command()
def show(
    call: IdArgument,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show everything about one held call."""
    hold = _find(gate(url, token_file), call)
    if output is Output.JSON:
        say_json(hold)
    else:
        say(_brief(hold))


@app.command()
def approve(
    call: IdArgument,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    reason: ReasonOption = "",
    fingerprint: FingerprintOption = "",
) -> None:
    """Approve one held call, after showing what will be sent."""
    _decide(gate(url, token_file), call, "approve", reason=reason, fingerprint=fingerprint)


@app.command()
def reject(
    call: IdArgument,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    reason: ReasonOption = "",
    fingerprint: FingerprintOption = "",
) -> None:
    """Reject one held call; the reason reaches the agent."""
    _decide(gate(url, token_file), call, "reject", reason=reason, fingerprint=fingerprint)


@app.command()
def withdraw(
    call: IdArgument,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenFileOption = None,
    reason: ReasonOption = "",
    fingerprint: FingerprintOption = "",
) -> None:
    """Take one held call back."""
    _decide(gate(url, token_file), call, "withdraw", reason=reason, fingerprint=fingerprint)


def _decide(asked: Gate, call: str, act: str, *, reason: str, fingerprint: str) -> None:
    hold = _find(asked, call)
    short, whole = str(hold["fingerprint_short"]), str(hold["fingerprint"])
    if fingerprint:
        if fingerprint not in {short, whole}:
            leave(1, f"What is held now has the fingerprint {short}, not {fingerprint}. Nothing was decided.")
    else:
        say(_brief(hold))
        if not sys.stdin.isatty():
            leave(2, f"Without a terminal to ask at, say what you decide on: --fingerprint {short}")
        typer.confirm(f"{act.capitalize()} exactly this ({short})?", abort=True)
    decision: Json = {"fingerprint": whole, "shown": hold["shown"], "reason": reason}
    after = asked.post(f"/v1/holds/{hold['id']}/{act}", decision)
    say(f"{line(after['id'])} is now {line(after['state'])}: {line(after['sentence'])}")
    if after["state"] == "pending":
        needs = "; ".join(line(gate["text"]) for gate in _list(after, "gates"))
        say(f"Your approval counts. All in all it needs {needs}, so someone else has to approve it too.")


def _find(asked: Gate, call: str) -> Json:
    if call.startswith("call_"):
        return asked.get(f"/v1/holds/{call}", query=_WHOLE)
    found = [
        hold
        for state in ("open", "settled")
        for hold in _holds(asked.get("/v1/holds", query={"state": state}))
        if str(hold["id"]).endswith(call.upper()) or str(hold["fingerprint_short"]).startswith(call.lower())
    ]
    ids = {str(hold["id"]) for hold in found}
    if len(ids) != 1:
        leave(1, f"{len(ids) or 'No'} held calls match {call!r}.")
    return asked.get(f"/v1/holds/{ids.pop()}", query=_WHOLE)


def _holds(found: Json) -> list[Json]:
    return _list(found, "holds")


def _list(document: Json, name: str) -> list[Json]:
    return cast("list[Json]", document[name])


def _table(holds: list[Json]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "state", "tier", "what", "needs", "left", box=None, header_style="bold", pad_edge=False)
    for hold in holds:
        needs = "; ".join(str(gate["text"]) for gate in _list(hold, "gates"))
        cells = (str(hold["id"])[-8:], hold["state"], hold["tier"], hold["sentence"], needs, _left(hold))
        # Text, not markup: what an agent wrote is printed as it is.
        table.add_row(*(Text(line(cell)) for cell in cells))
    console = Console()
    console.width = console.width if console.is_terminal else 1000
    console.print(table)


def _brief(hold: Json) -> str:
    lines = [
        line(hold["sentence"]),
        f"{line(hold['id'])}  {line(hold['state'])}  tier {line(hold['tier'])}  {_left(hold)}".rstrip(),
        "",
        "Held by",
        *_facts(hold, "gates"),
        *(f"  {line(vote['name'])}: {line(vote['vote'])} {line(vote['reason'])}" for vote in _list(hold, "votes")),
        "Who",
        *_facts(hold, "who"),
        "What",
        *_facts(hold, "change"),
        *(f"  data {line(fact['label'])} {line(fact['text'])}".rstrip() for fact in _list(hold, "labels")),
        "Exactly",
        f"  {line(hold['target'])}",
        *(f"  {row}" for row in str(hold["body"]).split("\n")),
        *([f"  … {hold['hidden_bytes']} bytes not shown"] if hold["hidden_bytes"] else []),
        f"  sha256 {line(hold['body_sha256'])}",
    ]
    if _list(hold, "agent_words"):
        lines += ["The agent says (unverified)", *_facts(hold, "agent_words")]
    if hold["client_left"]:
        lines += ["Its client has left: nobody waits for the answer"]
    if hold["outcome"]:
        lines += ["Outcome", f"  {line(hold['outcome'])}"]
    return "\n".join([*lines, f"Fingerprint {line(hold['fingerprint_short'])}"])


def _facts(hold: Json, name: str) -> list[str]:
    return [f"  {line(fact['label'])}: {line(fact['text'])}" for fact in _list(hold, name)]


def _left(hold: Json) -> str:
    left_s = (datetime.fromisoformat(str(hold["decide_by"])) - datetime.now(UTC)).total_seconds()
    if hold["state"] not in {"pending", "questioned"}:
        return ""
    return f"{int(left_s // 60)} min {int(left_s % 60)} s left" if left_s > 0 else "overdue"
