"""What the command line prints: text in which nothing hides, and JSON that a terminal shows harmlessly.

Agents write some of what approvers read here. An escape sequence of theirs could repaint the screen, a bidirectional
character could turn an amount round, a line break could forge a line of ours; all of them are spelled out.
"""

from __future__ import annotations

import json

import typer


def say(text: str) -> None:
    """Print our own lines, with everything invisible in them spelled out; line breaks stay."""
    from policy.brief import visible

    typer.echo(visible(text))


def line(text: object) -> str:
    """Somebody else's text as part of one line of ours."""
    from policy.brief import visible

    return visible(str(text)).replace("\n", "\\n").replace("\t", " ")


def say_json(document: object) -> None:
    """Print a document; what a terminal would obey or hide is escaped, which every JSON reader undoes."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    # Inside JSON text, whatever is not ASCII stands in a string, where the escape means the same character.
    typer.echo("".join(_escaped(character) for character in text))


def _escaped(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return json.dumps(character)[1:-1]
