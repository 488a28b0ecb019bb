"""What may go wrong between text and settings: only that they are refused, with everything that is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, which key it is about, and where that key stands. Never a value: it may be a secret."""

    path: str
    """Dotted path of the key, `upstreams.0.credential`; empty: the file as a whole."""
    message: str
    where: str = ""
    """`assentry.yaml:12`, or the environment variable it came from."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class SettingsRefused(Exception):
    """The text does not become settings. Carries every problem found, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
