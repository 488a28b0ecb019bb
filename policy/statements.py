"""Policy text cut into statements, guarded before Cedar sees it, and the place of a mistake found again.

Cedar's parser recurses on the machine's stack: deep nesting and long chains end the process, not the parse. So text is
refused here by counting tokens first. What the statements mean is `policy.rules`' business; Cedar itself comes in as a
function that complains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policy.errors import Problem

MOST_BYTES = 1 << 20
MOST_DEPTH = 48
MOST_CONDITIONALS = 48
MOST_OPERATORS = 200
MOST_LINKS = 400
MOST_TOKENS = 4000
"""Limits of one statement (of one file for the bytes). Measured with an 8 MiB stack: 674 brackets, 4,418 `if`s and
1,376 chained terms end the process; about 500 chained terms are more than a JSON reader takes."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>//[^\n\r]*)
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9]+)
      | (?P<mark>::|&&|\|\||==|!=|<=|>=|[@(){}\[\],;.:<>+\-*!?%/=|&])
      | (?P<odd>.)""",
    re.DOTALL | re.VERBOSE,
)
# Characters that make text read otherwise than it runs (CVE-2021-42574), and invisible ones.
_DECEPTIVE = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_OPERATORS = frozenset({"&&", "||", "+", "-", "*", "!"})

Complain = Callable[[str], str | None]
"""Cedar's complaint about a piece of policy text, None when it has none."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word of policy text; the offset counts characters from the start of its statement."""

    kind: str
    text: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One policy, verbatim, and where it stands."""

    file: str
    text: str
    line: int
    column: int
    tokens: tuple[Token, ...]

    def problem(self, message: str, *, at: int = 0, policy: str | None = None) -> Problem:
        """What is wrong, at `at` characters from the start of the statement."""
        before = self.text[:at]
        breaks = before.count("\n")
        column = at - before.rfind("\n") if breaks else self.column + at
        return Problem(file=self.file, line=self.line + breaks, column=column, message=message, policy=policy)

    def offset_of(self, *words: str) -> int:
        """Where the first of these words that occurs stands as a token, bare or in quotes; 0 if none does."""
        for word in words:
            for token in self.tokens:
                if token.text == word or (token.kind == "text" and token.text[1:-1] == word):
                    return token.offset
        return 0


@dataclass(slots=True)
class _Counts:
    """What is counted within one statement."""

    depth: int = 0
    conditionals: int = 0
    operators: int = 0
    links: int = 0
    tokens: int = 0

    def take(self, token: Token) -> None:
        self.tokens += 1
        self.conditionals += token.text == "if"
        if token.kind != "mark":
            return
        self.depth += (token.text in "([{") - (token.text in ")]}")
        self.operators += token.text in _OPERATORS
        self.links += token.text in {".", "["}

    def excess(self) -> str | None:
        limits = (
            (self.depth, MOST_DEPTH, "levels of brackets"),
            (self.conditionals, MOST_CONDITIONALS, "`if`s"),
            (self.operators, MOST_OPERATORS, "operators"),
            (self.links, MOST_LINKS, "attribute accesses"),
            (self.tokens, MOST_TOKENS, "words"),
        )
        return next((f"more than {most} {what} in one policy" for n, most, what in limits if n > most), None)


def split(file: str, text: str) -> tuple[tuple[Statement, ...], tuple[Problem, ...]]:
    """The statements of a file, and what forbids showing it to Cedar. After a guard has spoken the rest is not read."""
    refused = _refused_whole(file, text)
    if refused:
        return (), (refused,)
    statements: list[Statement] = []
    tokens: list[Token] = []
    counts = _Counts()
    for token in _significant(text):
        tokens.append(token)
        counts.take(token)
        excess = counts.excess()
        if excess:
            return tuple(statements), (_problem_at(file, text, token.offset, excess),)
        if token.text == ";" and counts.depth <= 0:
            statements.append(_statement(file, text, tokens))
            tokens, counts = [], _Counts()
    if tokens:
        statements.append(_statement(file, text, tokens))
    return tuple(statements), ()


def locate(statement: Statement, complain: Complain) -> Problem:
    """The statement's parse error at the first token that Cedar cannot accept.

    Cedar's Python binding gives no positions, so it is asked about prefixes: one closed by `;` fails on that `;`, or on
    the end of the text, as long as everything before was acceptable.
    """
    full = complain(statement.text) or "this is not a policy"
    tokens = statement.tokens
    if "unexpected end of input" in full:
        return statement.problem("the policy ends too early; is a `;` or a bracket missing?", at=tokens[-1].offset)
    unexpected = re.fullmatch(r"unexpected token `(.*)`", full, re.DOTALL)
    if unexpected is None:
        return statement.problem(full, at=_mentioned(statement, full))
    low, high = 0, len(tokens)
    while high - low > 1:
        middle = (low + high) // 2
        if _acceptable(complain(_prefix(statement, middle) + " ;")):
            low = middle
        else:
            high = middle
    if unexpected[1] == ";":
        semicolons = (i + 1 for i, token in enumerate(tokens) if token.text == ";")
        high = next((i for i in semicolons if complain(_prefix(statement, i)) == full), high)
    return statement.problem(full, at=tokens[high - 1].offset)


def _refused_whole(file: str, text: str) -> Problem | None:
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "replace")) > MOST_BYTES:
        return Problem(file=file, line=1, column=1, message=f"larger than {MOST_BYTES} bytes")
    deceptive = _DECEPTIVE.search(text)
    if deceptive:
        shown = f"invisible or direction-changing character U+{ord(deceptive[0]):04X}"
        return _problem_at(file, text, deceptive.start(), shown)
    lone = re.search("[\ud800-\udfff]", text)
    return _problem_at(file, text, lone.start(), "not valid Unicode") if lone else None


def _significant(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "odd"
        if kind not in {"space", "comment"}:
            yield Token(kind, match.group(), match.start())


def _statement(file: str, text: str, tokens: list[Token]) -> Statement:
    start, last = tokens[0].offset, tokens[-1]
    line, column = _line_and_column(text, start)
    return Statement(
        file=file,
        text=text[start : last.offset + len(last.text)],
        line=line,
        column=column,
        tokens=tuple(Token(token.kind, token.text, token.offset - start) for token in tokens),
    )


def _prefix(statement: Statement, count: int) -> str:
    last = statement.tokens[count - 1]
    return statement.text[: last.offset + len(last.text)]


def _acceptable(complaint: str | None) -> bool:
    return complaint is None or complaint == "unexpected token `;`" or "unexpected end of input" in complaint


def _mentioned(statement: Statement, complaint: str) -> int:
    if complaint == "invalid token":
        return next((token.offset for token in statement.tokens if token.kind == "odd"), 0)
    quoted = re.findall(r"[`']([^`']+)[`']", complaint)
    return statement.offset_of(*quoted, *re.findall(r"(\w+)$", complaint))


def _problem_at(file: str, text: str, offset: int, message: str) -> Problem:
    line, column = _line_and_column(text, offset)
    return Problem(file=file, line=line, column=column, message=message)


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
