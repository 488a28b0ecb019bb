"""What may go wrong here: only that a catalogue cannot be read, which is the operator's to mend.

A call that cannot be named is not an error: it is the operation `<upstream>:unknown`, and the law judges it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a catalogue, and where."""

    file: str
    where: str
    """Dotted path of keys, `operations.refunds.create.tier`; empty: the file itself."""
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.file, self.where, self.message]))


class CatalogueRefused(Exception):
    """The file is not a catalogue. Carries every fault found, in the order of the file."""

    def __init__(self, problems: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
