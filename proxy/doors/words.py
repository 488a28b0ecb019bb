"""What an agent says about its call, cut to size and cleaned of what would draw something else than it says.

Nothing here is believed. It is shown to people as the agent's own words, so what a reviewer cannot see, or what turns
text around, must not be in it (threats.md A9).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from policy.call import AgentWords

_REASON = 1000
_LINK = 500
_LINKS = 8
_LABEL = 128
_SILENCE = AgentWords()
_SPOKEN = frozenset(f"assentry-{what}" for what in ("reason", "evidence", "confidence", "model", "session", "task"))
# Bidirectional controls are made visible rather than dropped: their presence tells the reviewer something.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def read_words(fields: Mapping[str, str]) -> AgentWords:
    """The `Assentry-*` request headers (names in lower case)."""
    if fields.keys().isdisjoint(_SPOKEN):
        return _SILENCE
    return AgentWords(
        reason=_clean(fields.get("assentry-reason"), limit=_REASON),
        evidence=_links(fields.get("assentry-evidence", "")),
        confidence=_confidence(fields.get("assentry-confidence", "")),
        model=_clean(fields.get("assentry-model"), limit=_LABEL),
        session=_clean(fields.get("assentry-session"), limit=_LABEL),
        task=_clean(fields.get("assentry-task"), limit=_LABEL),
    )


def _clean(text: str | None, *, limit: int) -> str | None:
    if text is None:
        return None
    shown = "".join(_shown(letter) for letter in text[: 4 * limit])
    words = " ".join(shown.split())
    return (words if len(words) <= limit else words[: limit - 1] + "…") or None


def _shown(letter: str) -> str:
    if letter in _BIDI:
        return f"<U+{ord(letter):04X}>"
    category = unicodedata.category(letter)
    if category in ("Zl", "Zp", "Zs"):
        return " "
    return "" if category.startswith("C") else letter


def _links(text: str) -> tuple[str, ...]:
    links = (_clean(part, limit=_LINK) for part in text.split(",")[: 4 * _LINKS])
    return tuple(link for link in links if link)[:_LINKS]


def _confidence(text: str) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return f"{value:.4g}" if 0 <= value <= 1 else None
