"""`assentry policy`: check the policies, run their tests, explain one call, print their schema.

Reads the settings, the catalogues and the policy files as the server would; changes nothing. Exit status 0: all is
well; 1: a test failed; 2: something is refused, with every reason.
"""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.cli.config import ConfigOption, loaded_or_exit

if TYPE_CHECKING:
    from policy.bundle import Bundle
    from policy.cases import Case, Outcome
    from policy.engine import Explanation

app = typer.Typer(no_args_is_help=True, help="Policies: check, test, explain.")


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
PoliciesOption = Annotated[
    list[Path] | None,
    typer.Option("--policies", "-p", help="Cedar file or folder, in place of those in the settings. Repeatable."),
]
CasesArgument = Annotated[
    list[Path], typer.Argument(help="Files of test cases (YAML), or a connector's with its policies: builtin:stripe.")
]


@app.command()
def validate(config: ConfigOption = None, policies: PoliciesOption = None, output: OutputOption = Output.TABLE) -> None:
    """Check the policies. Exit 0, or 2 with every problem as file:line:column."""
    bundle = _bundle_or_exit(config, policies, output)
    kinds = {kind: sum(rule.kind.value == kind for rule in bundle.rules) for kind in ("grant", "prohibition", "gate")}
    if output is Output.JSON:
        _print_json({"digest": bundle.digest, "policies": len(bundle.rules), "kinds": kinds, "problems": []})
        return
    counted = ", ".join(f"{number} {kind}{'' if number == 1 else 's'}" for kind, number in kinds.items())
    typer.echo(f"{len(bundle.rules)} policies are good: {counted}.")
    typer.echo(f"bundle {bundle.digest}")


@app.command("test")
def run_cases(
    cases: CasesArgument,
    config: ConfigOption = None,
    policies: PoliciesOption = None,
    output: OutputOption = Output.TABLE,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write the results here, as JUnit XML.")] = None,
) -> None:
    """Run policy test cases. Exit 0 if all pass, 1 if one fails, 2 if something cannot be read."""
    from connectors.apis.shipped import is_reference
    from policy.cases import run
    from policy.engine import Engine

    results: list[tuple[Path, Outcome, float]] = []
    own: Engine | None = None
    for path in cases:
        if is_reference(path):
            engine = Engine(_bundle_or_exit(config, [path], output, rehearsed=True))
        else:
            engine = own = own or Engine(_bundle_or_exit(config, policies, output))
        for case in _cases_or_exit(path):
            began = time.perf_counter()
            outcome = run(engine, case)
            results.append((path, outcome, time.perf_counter() - began))
    if junit is not None:
        junit.write_text(_junit(results), "utf-8")
    if output is Output.JSON:
        _print_json([{"file": str(path), **_as_json(outcome)} for path, outcome, _ in results])
    else:
        _print_results([outcome for _, outcome, _ in results])
    if not all(outcome.passed for _, outcome, _ in results):
        raise typer.Exit(1)


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="File of test cases (YAML).")],
    case: Annotated[str, typer.Argument(help="Name of the case whose call is explained.")],
    config: ConfigOption = None,
    policies: PoliciesOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Explain the verdict on one call: which policies decided, what they ask for, what they looked at."""
    from policy.cases import CallCase, approvals, the_call
    from policy.engine import Engine

    bundle = _bundle_or_exit(config, policies, output)
    found = next((each for each in _cases_or_exit(file) if each.name == case), None)
    operation = bundle.operations.get(found.circumstances.operation) if found else None
    if not isinstance(found, CallCase) or operation is None:
        typer.echo(f'There is no case "{case}" about a call of a known operation in {file}.', err=True)
        raise typer.Exit(2)
    explanation = Engine(bundle).explain(
        the_call(found.circumstances, operation),
        now=found.circumstances.now,
        recent=found.recent,
        approvals=approvals(bundle, found.approved_by, age_s=found.approvals_age_s),
    )
    _print_explanation(explanation, output)


@app.command()
def schema(config: ConfigOption = None) -> None:
    """Print the Cedar schema that policies are checked against, for editors."""
    typer.echo(_bundle_or_exit(config, [], Output.TABLE).schema_text, nl=False)


def _bundle_or_exit(
    config: Path | None, policies: list[Path] | None, output: Output, *, rehearsed: bool = False
) -> Bundle:
    from connectors.apis.errors import CatalogueRefused
    from policy.errors import BundleRefused
    from proxy import lawbook

    settings = loaded_or_exit(config).settings
    chosen = settings.policy if policies is None else settings.policy.model_copy(update={"files": tuple(policies)})
    try:
        catalogues = lawbook.read_catalogues(settings.upstreams)
        return lawbook.compile_in_child(
            chosen,
            operations=lawbook.operations_of(catalogues),
            groups=settings.groups,
            labels=lawbook.labels_of(catalogues),
            beside=(lawbook.REHEARSAL,) if rehearsed else (),
        )
    except (CatalogueRefused, BundleRefused) as refused:
        _print_problems([str(problem) for problem in refused.problems], output)
        raise typer.Exit(2) from None


def _cases_or_exit(path: Path) -> tuple[Case, ...]:
    import yaml

    from connectors.apis.shipped import CASES, NoSuchConnector, is_reference, reference
    from policy.casefile import CasesRefused, read

    try:
        text = reference(path, having=CASES).text(CASES) if is_reference(path) else path.read_text("utf-8")
        return read(yaml.safe_load(text))
    except NoSuchConnector as unknown:
        problems = [str(unknown)]
    except CasesRefused as refused:
        problems = list(refused.problems)
    except (OSError, UnicodeDecodeError) as unreadable:
        problems = [f"cannot be read: {unreadable}"]
    except yaml.YAMLError as broken:
        problems = [f"is not YAML: {broken}"]
    _print_problems([f"{path}: {problem}" for problem in problems], Output.TABLE)
    raise typer.Exit(2)


def _print_problems(problems: list[str], output: Output) -> None:
    if output is Output.JSON:
        _print_json({"problems": problems})
    for problem in problems:
        typer.echo(problem, err=True)
    count = len(problems)
    typer.echo(f"Refused: {count} problem{'' if count == 1 else 's'}.", err=True)


def _print_results(outcomes: list[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "case", "verdict", box=None, header_style="bold", pad_edge=False)
    for outcome in outcomes:
        mark = Text("pass", style="green") if outcome.passed else Text("FAIL", style="bold red")
        # Text, not markup: a name is printed as it is.
        table.add_row(
            mark, Text(outcome.name), Text(outcome.said if outcome.passed else "; ".join(outcome.differences))
        )
    console = Console()
    # Piped into a file or a pager, no column is cut.
    console.width = console.width if console.is_terminal else 1000
    console.print(table)
    failed = sum(not outcome.passed for outcome in outcomes)
    console.print(f"{len(outcomes) - failed} passed, {failed} failed")


def _print_explanation(explained: Explanation, output: Output) -> None:
    verdict = explained.verdict
    lines = [f"verdict     {type(verdict).__name__.lower()}"]
    lines += [f"reason      {reason}" for reason in _reasons(explained)]
    for rule in explained.determining:
        at = rule.statement
        lines += [f"decided by  {rule.id} ({rule.kind.value}), {at.file}:{at.line}:{at.column}"]
        lines += [f"            {line}" for line in at.text.splitlines()]
    lines += [f"needs       {need}" for need in _needed(explained)]
    lines += [f"considered  {', '.join(rule.id for rule in explained.considered) or 'no policy'}"]
    lines += [f"looked at   {', '.join(explained.reads) or 'nothing of the context'}"]
    lines += [f"context     {explained.seen}"]
    if output is Output.TABLE:
        typer.echo("\n".join(lines))
        return
    decided = [
        {"id": r.id, "kind": r.kind.value, "file": r.statement.file, "line": r.statement.line, "text": r.statement.text}
        for r in explained.determining
    ]
    _print_json(
        {
            "verdict": type(verdict).__name__.lower(),
            "reasons": _reasons(explained),
            "determining": decided,
            "needs": _needed(explained),
            "considered": [rule.id for rule in explained.considered],
            "reads": list(explained.reads),
            "context": json.loads(explained.seen),
        }
    )


def _reasons(explained: Explanation) -> list[str]:
    from policy.verdict import Deny

    verdict = explained.verdict
    return [verdict.reason.value, *verdict.explanations] if isinstance(verdict, Deny) else []


def _needed(explained: Explanation) -> list[str]:
    from policy.verdict import Ask

    if not isinstance(explained.verdict, Ask):
        return []
    return [
        f"{gate.policy}: {' and '.join([*(f'{n.people} of {n.group}' for n in way.needs), *way.also])}"
        for gate in explained.verdict.gates
        for way in gate.any_of
    ]


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "case": outcome.name,
        "passed": outcome.passed,
        "said": outcome.said,
        "differences": list(outcome.differences),
    }


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _junit(results: list[tuple[Path, Outcome, float]]) -> str:
    # Only written, never parsed: the XML is ours.
    from xml.etree.ElementTree import Element, SubElement, tostring

    failed = sum(not outcome.passed for _, outcome, _ in results)
    suite = Element("testsuite", name="assentry policy", tests=str(len(results)), failures=str(failed), errors="0")
    for path, outcome, seconds in results:
        one = SubElement(suite, "testcase", classname=str(path), name=_printable(outcome.name), time=f"{seconds:.6f}")
        if not outcome.passed:
            message = _printable("; ".join(outcome.differences))
            SubElement(one, "failure", message=message).text = _printable(outcome.said)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{tostring(suite, encoding='unicode')}\n"


def _printable(text: str) -> str:
    """The text without characters that XML 1.0 cannot hold."""
    return "".join(character if character.isprintable() else "?" for character in text)
