"""What must not be read in the ledger, and what stands there instead.

By name (`password`), by pattern (keys, tokens, card numbers, addresses) and by label. A value that is veiled becomes
`hmac:` and 128 bits of HMAC-SHA-256 under a key that stays in the ledger's directory: equal values can be told to be
equal, and nothing else can be told of them. Which facts are veiled is decided in `record`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import orjson

SCANNED_CHARS = 16_384
"""Text beyond this is dropped unseen; every text is cut far below it after the scan."""
_REMEMBERED_CHARS = 128
_MAX_INT = 2**63 - 1

_PATTERNS: Mapping[str, str] = {
    "private-key": r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    "token": r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}",
    "credential": r"(?i:\b(?:bearer|basic|negotiate)\s{1,8})[A-Za-z0-9._~+/=-]{8,}",
    "key": r"\b(?:sk|pk|rk|whsec|npm|hf|shpat|dop_v1|SG)[-_.][A-Za-z0-9._-]{8,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{8,}|\bgithub_pat_\w{8,}|\bglpat-[\w-]{8,}|\bxox[a-z]-[\w-]{8,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}|\bAIza[\w-]{30,}",
    "secret": r"(?i:\b(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|[a-z]{1,16}[_-](?:token|secret|key))"
    r"[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[^\s\"'&,;]{3,}",
    "userinfo": r"(?<=://)[^\s/@:]{1,256}:[^\s/@]{1,256}(?=@)",
    "email": r"(?<![\w.%+-])[\w.%+-]{1,64}(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
    "card": r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])",
    # No vendor's form, but no word either: long, with both cases and digits.
    "opaque": r"(?<![\w+=-])(?=[\w+=-]*[a-z])(?=[\w+=-]*[A-Z])(?=[\w+=-]*[0-9])[\w+=-]{32,}",
}
# What no text without can match a pattern above: finding none of it is ten times cheaper than the scan. Every branch
# begins with one plain character, and prefixes are looked for from the mark behind them: only then does the engine skip
# from candidate to candidate. For the same reason the runs stand apart.
_BEHIND_PREFIX = r"(?:(?<=[spr]k.)|(?<=hf.)|(?<=v1.)|(?<=SG.)|(?<=npm.)|(?<=whsec.)|(?<=shpat.))"
_HINT = re.compile(
    r":|=|@|%40|eyJ|PRIVATE KEY|AKIA|ASIA|AIza|gh|github|glpat-|xox"
    rf"|-{_BEHIND_PREFIX}|_{_BEHIND_PREFIX}|\.{_BEHIND_PREFIX}"
)
_LONG_NUMBER = re.compile(r"[0-9][0-9 -]{12}")
_LONG_RUN = re.compile(r"[\w+=-]{32}", re.ASCII)
_PERSONAL_OR_DOUBTFUL = frozenset({"email", "card", "opaque"})


def _any_of(patterns: Mapping[str, str]) -> re.Pattern[str]:
    return re.compile(
        "|".join(f"(?P<{name.replace('-', '_')}>{pattern})" for name, pattern in patterns.items()), re.ASCII
    )


_SENSITIVE = _any_of(_PATTERNS)
_SECRET = _any_of({name: pattern for name, pattern in _PATTERNS.items() if name not in _PERSONAL_OR_DOUBTFUL})

_SECRET_WORDS = frozenset(
    {"password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "apikey", "credential", "credentials"}
    | {"cookie", "cvv", "cvc", "pin", "ssn", "otp", "authorization"}
)
_SECRET_PAIRS = frozenset({("api", "key"), ("private", "key"), ("access", "key"), ("secret", "key"), ("auth", "code")})
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")

# Valid raw in JSON, but line ends to some readers, or commands to a terminal, or invisible to a person.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Veiled:
    """A value that only its keyed fingerprint may stand for. Never shows itself, not even to a debugger's repr."""

    value: str = field(repr=False)


Fact: TypeAlias = "str | int | float | bool | Veiled | list[Fact] | tuple[Fact, ...] | dict[str, Fact] | None"
Facts: TypeAlias = dict[str, Fact]


def text(words: str, *, limit: int) -> str:
    """The words with whatever looks like a secret or like personal data replaced, cut to `limit` characters."""
    clean = _clean_again(words) if len(words) <= _REMEMBERED_CHARS else _clean(words[:SCANNED_CHARS])
    return clean if len(clean) <= limit else f"{clean[:limit]}…"


def _clean(words: str) -> str:
    return _SENSITIVE.sub(_replacement, words) if _is_suspect(words) else words


def _is_suspect(words: str) -> bool:
    if _HINT.search(words) or _LONG_NUMBER.search(words) or _LONG_RUN.search(words):
        return True
    lower = words.lower()
    return "bearer" in lower or "basic" in lower or "negotiate" in lower


# Paths, ids and words of agents repeat; a scan costs more than the rest of a record.
_clean_again = lru_cache(maxsize=4096)(_clean)


@lru_cache(maxsize=4096)
def names_a_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value looks like."""
    words = [word.lower() for word in _WORD.findall(name)]
    return any(word in _SECRET_WORDS for word in words) or any(pair in _SECRET_PAIRS for pair in pairwise(words))


class Redactor:
    """Turns facts into JSON, and veiled values into fingerprints under its key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def fingerprint(self, value: str) -> str:
        """`hmac:` and 32 hex digits."""
        return "hmac:" + hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]

    def redact(self, words: str) -> str:
        """The words for people who decide: each secret replaced by its kind and the start of its fingerprint.

        Equal secrets look equal. Addresses, names and amounts stay, because people decide about them, and nothing is
        cut.
        """
        return _SECRET.sub(lambda match: f"[{_kind(match)} {self.fingerprint(match.group())[:17]}]", words)

    def encode(self, facts: Facts) -> bytes:
        """One JSON object in one line, free of raw control, invisible and line-separating characters."""
        try:
            encoded = orjson.dumps(facts, default=self._unveil, option=orjson.OPT_PASSTHROUGH_DATACLASS)
        except TypeError:
            # A lone surrogate or a number beyond 64 bits: an agent must not be able to make a call unrecordable.
            encoded = orjson.dumps(self._plain(facts))
        if encoded.isascii() and b"\x7f" not in encoded:
            return encoded
        return _UNPRINTABLE.sub(_escaped, encoded.decode()).encode()

    def _unveil(self, value: object) -> str:
        if isinstance(value, Veiled):
            return self.fingerprint(value.value)
        raise TypeError(type(value).__name__)

    def _plain(self, fact: Fact) -> object:
        match fact:
            case Veiled(value=value):
                return self.fingerprint(value)
            case str():
                return str(fact).encode("utf-8", "backslashreplace").decode()
            case int() if abs(fact) > _MAX_INT:
                return hex(fact)
            case list() | tuple():
                return [self._plain(part) for part in fact]
            case dict():
                return {str(self._plain(name)): self._plain(part) for name, part in fact.items()}
            case _:
                return fact


def _replacement(match: re.Match[str]) -> str:
    kind = _kind(match)
    if kind == "card" and not _luhn(match.group()):
        return match.group()
    return f"[redacted:{kind}]"


def _kind(match: re.Match[str]) -> str:
    return (match.lastgroup or "secret").replace("_", "-")


def _luhn(digits: str) -> bool:
    figures = [int(figure) for figure in digits if figure.isascii() and figure.isdigit()]
    doubled = [figure * 2 - 9 if figure > 4 else figure * 2 for figure in figures[-2::-2]]
    return (sum(figures[-1::-2]) + sum(doubled)) % 10 == 0


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
