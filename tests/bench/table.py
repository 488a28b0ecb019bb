"""A table as aligned Markdown: the same for a terminal and for a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows below a heading; the first column is names, the others are figures."""

    heading: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    """What a reader has to know to read it."""

    def __str__(self) -> str:
        cells = [self.columns, *self.rows]
        widths = [max(len(row[at]) for row in cells) for at in range(len(self.columns))]
        rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
        lines = [f"## {self.heading}", "", *([self.note, ""] if self.note else ())]
        return "\n".join([*lines, _line(self.columns, widths), f"|{rule}|", *(_line(row, widths) for row in self.rows)])


def figure(value: float | None, digits: int = 0) -> str:
    """The number with thousands set apart; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = row
    return (
        " | ".join([f"| {first.ljust(widths[0])}", *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))])
        + " |"
    )
