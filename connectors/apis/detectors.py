"""Kinds of personal data and secrets, found in text by shape and by check digit.

Says what stands where, never the value itself. Every pattern is linear in the text: each begins with a class of
characters, then looks back, and repeats only classes that cannot overlap. What needs a check digit or a table draws
on a budget of checks; when that is spent the text counts as not scanned.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

import phonenumbers
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

EMAIL, PHONE, CARD, IBAN, IP, SECRET, NATIONAL_ID = "email", "phone", "card", "iban", "ip", "secret", "national-id"
UNSCANNED = "unscanned"
LABELS = frozenset({EMAIL, PHONE, CARD, IBAN, IP, SECRET, NATIONAL_ID})


@dataclass(slots=True)
class Budget:
    """How many checks that cost more than a pattern may still be made for one call."""

    checks: int = 2_000

    def spend(self) -> bool:
        """Takes one check. False: there are none left."""
        self.checks -= 1
        return self.checks >= 0


Hit = tuple[str, int]
"""A label, and where in the text it begins."""

# Where two spellings look alike to `re`, the one that begins with a plain character or class is used: the engine then
# skips to candidates, which is what keeps a scan of 256 KiB in the milliseconds.
_EMAIL = re.compile(r"@(?<=[\w.%+'-]@)(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_PHONE = re.compile(r"\+(?<![\w+]\+)[1-9](?:[ ().-]{0,2}[0-9]){6,14}(?![0-9])")
_PHONE_NANP = re.compile(r"[(0-9](?<![\w(+.-][(0-9])(?:(?<=\()[0-9]{3}\) ?|[0-9]{2}[.-])[0-9]{3}[.-][0-9]{4}(?![\w-])")
_CARD = re.compile(r"[0-9](?<![0-9][0-9])(?:[ -]?[0-9]){12,}")
_CARD_ISSUER = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|3[47][0-9]{13}|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12,15}|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11,16}|62[0-9]{14,17}"
)
_IBAN = re.compile(r"[A-Za-z](?<![A-Za-z0-9][A-Za-z])[A-Za-z][0-9]{2} ?(?:[A-Za-z0-9] ?){11,40}")
_IPV4 = re.compile(r"[0-9](?<![\w.-][0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])")
_IPV6 = re.compile(r"[0-9A-Fa-f](?<![\w:.][0-9A-Fa-f])[0-9A-Fa-f]{0,3}(?:::?[0-9A-Fa-f]{1,4}){2,7}(?![\w:])")
_ID_DIGITS = re.compile(
    r"[0-9](?<![\w.-][0-9])(?:"
    r"(?P<ssn>[0-9]{2}-[0-9]{2}-[0-9]{4})|(?P<sin>[0-9]{2}-[0-9]{3}-[0-9]{3})"
    r"|(?P<cpf>[0-9]{2}\.[0-9]{3}\.[0-9]{3}-[0-9]{2})|(?P<ahv>56\.[0-9]{4}\.[0-9]{4}\.[0-9]{2})"
    r"|(?P<nir>(?<=[12])[0-9]{5}[0-9AB][0-9]{8}|(?<=[12]) [0-9]{2} [0-9]{2} [0-9][0-9AB] [0-9]{3} [0-9]{3} [0-9]{2})"
    r"|(?P<eleven>[0-9]{10})|(?P<aadhaar>[0-9]{3} [0-9]{4} [0-9]{4}(?! ?[0-9]))|(?P<dni>[0-9]{7}-?[A-Z])"
    r"|(?P<nordic>[0-9]{5}(?:[0-9]{2})?[-+][0-9]{4})|(?P<hetu>[0-9]{5}[-+A-FU-Y][0-9]{3}[0-9A-Z])"
    r")(?![\w-])"
)
_ID_LETTERS = re.compile(
    r"[A-Z](?<![\w-][A-Z])(?:"
    r"(?P<codicefiscale>[A-Z]{5}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z])|(?P<nie>(?<=[XYZ])-?[0-9]{7}-?[A-Z])"
    r"|(?P<nino>(?<![DFIQUV])[A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D])"
    r")(?![\w-])"
)
_RUN = re.compile(r"[0-9](?:[ ().+-]{0,2}[0-9]){5}")
"""Six digits with little between them: without that there is no card, no phone and no digits-first identity number."""
_LETTERED = re.compile(r"[0-9](?:(?<=[A-Za-z][0-9])|(?<=[A-Za-z][ -][0-9]))[0-9]")
"""Two digits behind a letter: without that there is no IBAN and no identity number that begins with letters."""
_NINO_UNUSED = frozenset({"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"})
_SECRETS = tuple(
    (mark, re.compile(pattern))
    for mark, pattern in (
        ("_live_", r"[rsp]k(?<![A-Za-z0-9][rsp]k)_live_[0-9A-Za-z]{10,}"),
        ("_test_", r"[rs]k(?<![A-Za-z0-9][rs]k)_test_[0-9A-Za-z]{10,}"),
        ("whsec_", r"whsec_[0-9A-Za-z+/=]{16,}"),
        ("sk-", r"sk-(?<![A-Za-z0-9_-]sk-)[A-Za-z0-9_-]{20,}"),
        ("gh", r"gh[pousr]_[A-Za-z0-9]{36,}"),
        ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
        ("glpat-", r"glpat-[A-Za-z0-9_-]{20,}"),
        ("AKIA", r"AKIA(?<![A-Za-z0-9]AKIA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("ASIA", r"ASIA(?<![A-Za-z0-9]ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("xox", r"xox[abeoprs]-[0-9A-Za-z-]{10,}"),
        ("hooks.slack.com/", r"hooks\.slack\.com/services/T[0-9A-Z]{6,}/B[0-9A-Z]{6,}/[0-9A-Za-z]{16,}"),
        ("AIza", r"AIza[0-9A-Za-z_-]{35}"),
        ("ya29.", r"ya29\.[0-9A-Za-z_-]{20,}"),
        ("npm_", r"npm_[0-9A-Za-z]{36}"),
        ("pypi-", r"pypi-AgE[0-9A-Za-z_-]{50,}"),
        ("hf_", r"hf_[A-Za-z]{34}"),
        ("SG.", r"SG\.[\w-]{22}\.[\w-]{43}"),
        ("hvs.", r"hvs\.[A-Za-z0-9_-]{24,}"),
        ("PRIVATE KEY", r"-----BEGIN (?:[A-Z0-9]{1,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
        ("eyJ", r"e(?<![\w.-]e)yJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*"),
        ("://", r"://[^\s/:@\0]{1,64}:[^\s/:@\0]{3,128}@"),
    )
)
_ASSIGNMENT = re.compile(
    r"(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)[\"']?[ \t]{0,3}[:=][ \t]{0,3}[\"']?"
    r"([^\s\"'\0,;]{12,128})",
    re.IGNORECASE,
)
_ASSIGNED = ("passw", "secret", "token", "key")
_SECRET_KEYS = frozenset(
    "password passwd passphrase secret clientsecret secretkey secretaccesskey privatekey".split()  # noqa: SIM905
)
_TOKEN_KEYS = frozenset("token apikey accesstoken refreshtoken authtoken accesskey authorization".split())  # noqa: SIM905
_NATIONAL_KEYS = frozenset(
    {"ssn", "socialsecuritynumber", "nationalid", "nationalidnumber", "nino", "bsn", "burgerservicenummer"}
    | {"pesel", "personnummer", "cpf", "aadhaar", "steuerid"}
)


class KeyKind(Enum):
    """What the name of a field promises of its value."""

    SECRET = 1
    TOKEN = 2
    NATIONAL = 3


_KEY_KINDS = {
    **dict.fromkeys(_NATIONAL_KEYS, KeyKind.NATIONAL),
    **dict.fromkeys(_TOKEN_KEYS, KeyKind.TOKEN),
    **dict.fromkeys(_SECRET_KEYS, KeyKind.SECRET),
}
_NO_LABELS = frozenset[str]()
_CHECKS = {
    "ssn": ssn, "sin": sin, "cpf": cpf, "ahv": ahv, "nir": nir, "aadhaar": aadhaar, "dni": dni, "hetu": hetu,
    "codicefiscale": codicefiscale, "nie": nie,
}  # fmt: skip


def hits(text: str, budget: Budget) -> list[Hit]:
    """Everything found in the text, in no order. Texts of several values are parted by NUL, which nothing matches."""
    found: list[Hit] = []
    if "@" in text:
        found += [(EMAIL, one.start()) for one in _EMAIL.finditer(text)]
    if "+" in text:
        found += _phones(text, budget)
    found += _secrets(text)
    if _RUN.search(text):
        found += _long_numbers(text, budget)
    if _LETTERED.search(text):
        found += _lettered_numbers(text, budget)
    if "." in text or ":" in text:
        found += _addresses(text, budget)
    return found


def labels_of_pair(key: str, value: str) -> frozenset[str]:
    """What the key alone says of its value: `password`, `ssn`, or an `api_key` that looks like one."""
    return labels_of_kind(kind_of_key(key), value)


def kind_of_key(key: str) -> KeyKind | None:
    """What a key promises of its value; None for nearly all keys."""
    return _KEY_KINDS.get(key.lower().replace("_", "").replace("-", ""))


def labels_of_kind(kind: KeyKind | None, value: str) -> frozenset[str]:
    """What such a key says of this value."""
    match kind:
        case None:
            return _NO_LABELS
        case KeyKind.SECRET:
            return frozenset({SECRET}) if value else _NO_LABELS
        case KeyKind.TOKEN:
            return frozenset({SECRET}) if len(value) >= 16 and _random(value) else _NO_LABELS
        case KeyKind.NATIONAL:
            enough = sum(character.isdigit() for character in value) >= 6
            return frozenset({NATIONAL_ID}) if enough else _NO_LABELS
        case _:
            assert_never(kind)


def _lettered_numbers(text: str, budget: Budget) -> Iterator[Hit]:
    for found in _IBAN.finditer(text):
        if _is_iban(found[0], budget):
            yield IBAN, found.start()
    for found in _ID_LETTERS.finditer(text):
        if budget.spend() and _is_identity(found.lastgroup or "", found[0]):
            yield NATIONAL_ID, found.start()


def _long_numbers(text: str, budget: Budget) -> Iterator[Hit]:
    for found in _CARD.finditer(text):
        if _holds_card(found[0], budget):
            yield CARD, found.start()
    for found in _PHONE_NANP.finditer(text):
        if budget.spend() and _is_phone(found[0], "US"):
            yield PHONE, found.start()
    for found in _ID_DIGITS.finditer(text):
        if budget.spend() and _is_identity(found.lastgroup or "", found[0]):
            yield NATIONAL_ID, found.start()


def _addresses(text: str, budget: Budget) -> Iterator[Hit]:
    if "." in text:
        for found in _IPV4.finditer(text):
            if all(int(part) < 256 for part in found[0].split(".")):
                yield IP, found.start()
    if ":" in text:
        for found in _IPV6.finditer(text):
            if budget.spend() and _is_ipv6(found[0]):
                yield IP, found.start()


def _phones(text: str, budget: Budget) -> Iterator[Hit]:
    for found in _PHONE.finditer(text):
        if budget.spend() and _is_phone(found[0], None):
            yield PHONE, found.start()


def _is_phone(text: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


def _holds_card(run: str, budget: Budget) -> bool:
    """True if some groups of the run, taken together, are a card number: prefix, length and Luhn digit."""
    groups = re.split("[ -]", run)
    for first in range(len(groups)):
        if not budget.spend():
            return False
        digits = ""
        for group in groups[first : first + 19]:
            digits += group
            if len(digits) > 19:
                break
            if len(digits) >= 13 and _CARD_ISSUER.fullmatch(digits) and luhn.is_valid(digits):
                return True
    return False


def _is_iban(run: str, budget: Budget) -> bool:
    compact = ""
    for group in run.split(" "):
        compact += group
        if len(compact) > 34:
            return False
        if len(compact) >= 15 and budget.spend() and iban.is_valid(compact):
            return True
    return False


def _is_ipv6(text: str) -> bool:
    # `a::b` in code and `12:30:45` are not what is meant: a digit, and more than a word's worth.
    if len(text) < 7 or not any(character.isdigit() for character in text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _is_identity(kind: str, text: str) -> bool:
    if kind == "nino":
        return text[:2] not in _NINO_UNUSED
    if kind == "eleven":
        return bool(idnr.is_valid(text) or pesel.is_valid(text))
    if kind == "nordic":
        return bool(personnummer.is_valid(text) or (len(text) == 11 and cpr.is_valid(text)))
    return bool(_CHECKS[kind].is_valid(text))


def _secrets(text: str) -> list[Hit]:
    found: list[Hit] = []
    for mark, pattern in _SECRETS:
        if mark in text:
            found += [(SECRET, one.start()) for one in pattern.finditer(text)]
    if "=" in text or ":" in text:
        lowered = text.lower()
        if any(word in lowered for word in _ASSIGNED):
            found += [(SECRET, one.start(1)) for one in _ASSIGNMENT.finditer(text) if _random(one[1])]
    return found


def _random(value: str) -> bool:
    """True if the text looks drawn rather than written: letters and digits, and 3.5 bits a character or more."""
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return False
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values()) >= min(3.5, math.log2(total) - 0.6)
