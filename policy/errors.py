"""What may go wrong in the law's room: only that policy text cannot become a bundle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with the policy text, and where."""

    file: str
    line: int
    column: int
    message: str
    policy: str | None = None
    """Its `@id`, where it has one."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class BundleRefused(Exception):
    """The policy text is not a bundle. Carries every problem found, in order of position."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
