"""What is drawn from the code is equal to the code."""

from __future__ import annotations

from pathlib import Path

from policy.hold import MOVES, State

DOCS = Path(__file__).resolve().parents[2] / "docs"


def diagram() -> str:
    """The table of moves as a Mermaid state diagram."""
    lines = [f"    [*] --> {State.PENDING}"]
    for state, nexts in MOVES.items():
        lines += [f"    {state} --> {after}" for after in sorted(nexts)] or [f"    {state} --> [*]"]
    return "\n".join(lines)


def test_the_state_diagram_is_the_table_of_moves() -> None:
    assert f"stateDiagram-v2\n{diagram()}\n```" in (DOCS / "holds.md").read_text("utf-8")


def test_every_metric_is_documented() -> None:
    from proxy.meters import Meters

    documented = (DOCS / "metrics.md").read_text("utf-8")
    for family in Meters().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"`{name}`" in documented
