"""What a human is shown before deciding: deterministic, complete, and in one order on every channel.

Facts come from the call alone, never from the agent or a model; the agent's own words stand apart and are marked.
Escaping for HTML, Slack or a terminal is the channel's work; making invisible characters visible is done here, once.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal

import orjson

from policy.call import Call, InputValue
from policy.fingerprint import short
from policy.hold import OPEN, Conclusion, Hold, State
from policy.verdict import Alternative, Approvals, Gate, Need

# ISO 4217 codes without minor units, or with three digits of them; every other currency has two.
_NO_MINOR_UNITS = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()  # noqa: SIM905 - reads better
)
_THREE_DIGITS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:money)?\}")
_MOST_BODY_CHARACTERS = 65_536
"""More than this is not shown in one piece; `hidden_bytes` says how much is missing."""
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LOOKS_LIKE_NOTHING = frozenset({
    *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",
    *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0100, 0xE01F0)),
})  # fmt: skip
"""Letters and marks by category, blank on the screen: Unicode's default-ignorable ones, and the empty braille cell."""
_MOVING = ("state", "votes", "progress", "execute_by", "settled_by", "outcome", "upstream_status", "client_left")
"""What of a brief changes without the call changing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One fact: what it is, and what it says."""

    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A ballot as others may see it."""

    name: str
    vote: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one need of a gate is met by the approvals that count now."""

    gate: str
    group: str
    """`*` is anyone who may approve."""
    have: int
    need: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything a person needs in order to decide on one hold."""

    call: str
    fingerprint: str
    fingerprint_short: str
    state: State
    sentence: str
    tier: str
    severity: str
    operation: str
    upstream: str
    environment: str
    queues: tuple[str, ...]
    labels: tuple[Line, ...]
    """Sensitivity: label and how often; never values."""
    gates: tuple[Line, ...]
    """Which policies hold the call, and what each asks for."""
    progress: tuple[Progress, ...]
    """Of what the gates ask for, how much is there. Empty once the hold is no longer open."""
    remedies: tuple[str, ...]
    votes: tuple[Vote, ...]
    opened_at: float
    decide_by: float
    execute_by: float | None
    who: tuple[Line, ...]
    change: tuple[Line, ...]
    """The typed input, field by field."""
    target: str
    """Method and target exactly as they will be sent, made visible."""
    headers: tuple[Line, ...]
    body: str
    body_digest: str
    hidden_bytes: int
    """Bytes of the body that `body` does not show; above zero, only the brief of the whole may be approved."""
    agent_words: tuple[Line, ...]
    settled_by: str
    outcome: str
    upstream_status: int | None
    client_left: bool
    """Whether nobody waits for the answer of a call that may still be sent."""

    @property
    def shown(self) -> str:
        """SHA-256 (hex) of the facts shown, for the ledger: what this person saw when deciding."""
        facts = asdict(self)
        for moving in _MOVING:
            facts.pop(moving)
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def brief(
    hold: Hold,
    body: bytes | None,
    *,
    redact: Callable[[str], str] = lambda text: text,
    approvals: Approvals = Approvals(),
    whole: bool = False,
    client_left: bool = False,
) -> Brief:
    """The brief of a hold. `body=None`: not at hand, as in lists, or no longer kept.

    `redact` replaces secrets by what says that there was one. `approvals` are those that count now. `whole` shows the
    body to its end, however long it is.
    """
    call = hold.call
    text, hidden = _readable(body or b"", most=None if whole else _MOST_BODY_CHARACTERS)
    return Brief(
        call=call.id,
        fingerprint=hold.fingerprint,
        fingerprint_short=short(hold.fingerprint),
        state=hold.state,
        sentence=redact(sentence(call)),
        tier=call.operation.tier.value,
        severity=(hold.obligations.severity or call.operation.tier).value,
        operation=call.operation.name,
        upstream=call.upstream,
        environment=call.environment,
        queues=tuple(sorted(hold.obligations.queues)),
        labels=_labels(call),
        gates=tuple(Line(label=gate.policy, text=_need(gate)) for gate in hold.gates),
        progress=_progress(hold, approvals) if hold.state in OPEN else (),
        remedies=tuple(sorted(hold.obligations.remedies)),
        votes=tuple(Vote(name=in_line(b.name), vote=b.vote.value, reason=visible(b.reason)) for b in hold.ballots),
        opened_at=hold.opened_at,
        decide_by=hold.decide_by,
        execute_by=hold.execute_by,
        who=_who(call),
        change=tuple(line for number, one in enumerate(call.each()) for line in _change(one, number, redact)),
        target=redact(in_line(f"{call.target.method} {call.target.raw}")),
        headers=tuple(Line(label=name, text=redact(in_line(value))) for name, value in call.headers),
        body=redact(text) if body is not None else "(not kept)",
        body_digest=call.body_digest,
        hidden_bytes=hidden,
        agent_words=_words(call, redact),
        settled_by=visible(hold.settled_name),
        outcome=_outcome(hold.conclusion),
        upstream_status=hold.conclusion.upstream_status if hold.conclusion else None,
        client_left=client_left and hold.state in OPEN | {State.APPROVED},
    )


def _change(one: Call, number: int, redact: Callable[[str], str]) -> Iterator[Line]:
    """The typed input. Of a part of a call (from 1 on) what it does comes first, and all of it under its number."""
    if number:
        yield Line(label=f"part {number}", text=redact(sentence(one)))
    for name in sorted(one.input.values):
        label = f"part {number} {name}" if number else name
        yield Line(label=label, text=_named(name, _changed(one, name), redact))


def sentence(call: Call) -> str:
    """Impact in one sentence, made from the operation and its typed input."""
    template = call.operation.summary or "{method} {path}"
    filled = _PLACEHOLDER.sub(lambda match: _filled(call, match[1], money=match[2] is not None), template)
    return in_line(f"{filled}, through {call.upstream}, {call.environment}")


def money(minor: int, currency: str) -> str:
    """An amount in minor units as people write it: 25000, "eur" gives "250.00 EUR"."""
    code = currency.upper()
    digits = 0 if code in _NO_MINOR_UNITS else 3 if code in _THREE_DIGITS else 2
    amount = Decimal(minor).scaleb(-digits)
    return f"{amount:,.{digits}f} {code}".strip()


def visible(text: str) -> str:
    """The text with every control, format and bidi character spelled out, so that nothing hides (threats A9)."""
    return text.translate(_SHOWN)


def in_line(text: str) -> str:
    """The same in one line: line ends and tabs are spelled out too, so that no value can pose as further facts."""
    return visible(text).replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


class _Spelling(dict[int, str]):
    """How each character is shown, worked out when it is first met: bodies are long, alphabets are not."""

    def __missing__(self, ordinal: int) -> str:
        character = chr(ordinal)
        hidden = unicodedata.category(character) in _INVISIBLE_CATEGORIES or character in _LOOKS_LIKE_NOTHING
        shown = f"⟨U+{ordinal:04X}⟩" if hidden and character not in "\n\t" else character
        self[ordinal] = shown
        return shown


_SHOWN = _Spelling()


def _named(name: str, text: str, redact: Callable[[str], str]) -> str:
    # Some secrets are known by their field's name only, so the two are looked at together.
    shown = redact(f"{name}={text}")
    return shown.removeprefix(f"{name}=")


def _changed(call: Call, name: str) -> str:
    value, rule = call.input.values[name], call.operation.money
    if rule is not None and rule.amount == name and isinstance(value, int):
        return f"{visible(_money_of(call, value))} (sent as {value})"
    return _value(value)


def _filled(call: Call, name: str, *, money: bool) -> str:
    if name in {"method", "path", "upstream"} and name not in call.input.values:
        return {"method": call.target.method, "path": call.target.path, "upstream": call.upstream}[name]
    value = call.input.values.get(name)
    if value is None:
        return f"(no {name} given)"
    if money and isinstance(value, int):
        return _money_of(call, value)
    return _value(value)


def _money_of(call: Call, minor: int) -> str:
    rule = call.operation.money
    code = rule.currency or str(call.input.values.get(rule.currency_field or "", "")) if rule else ""
    return money(minor, code) if code else f"{minor} minor units (currency not given)"


def _value(value: InputValue) -> str:
    if isinstance(value, tuple):
        return visible(", ".join(value))
    return visible(str(value).lower() if isinstance(value, bool) else str(value))


def _labels(call: Call) -> tuple[Line, ...]:
    found = call.sensitivity
    return tuple(
        Line(label=label, text=", ".join(filter(None, [_times(found.counts.get(label)), *found.paths.get(label, ())])))
        for label in sorted(found.labels)
    )


def _times(count: int | None) -> str:
    return f"{count} found" if count else ""


def _need(gate: Gate) -> str:
    return " or ".join(_alternative(one) for one in gate.any_of)


def _alternative(one: Alternative) -> str:
    people = [f"{n.people} of {'anyone entitled' if n.group == '*' else n.group}" for n in one.needs]
    return " and ".join([*people, *one.also])


def _progress(hold: Hold, approvals: Approvals) -> tuple[Progress, ...]:
    return tuple(
        Progress(gate=gate.policy, group=need.group, have=_have(need, approvals), need=need.people)
        for gate in hold.gates
        for one in gate.any_of
        for need in one.needs
    )


def _have(need: Need, approvals: Approvals) -> int:
    if need.group == "*":
        return min(need.people, approvals.count)
    return sum(f"{need.group}:{n}" in approvals.quorum for n in range(1, need.people + 1))


def _who(call: Call) -> tuple[Line, ...]:
    who = call.principal
    lines = [Line(label="agent", text=visible(who.agent))]
    if who.subject:
        lines.append(Line(label="on behalf of", text=visible(who.subject)))
    lines += [Line(label="through", text=visible(actor)) for actor in who.chain]
    lines.append(Line(label="owner", text=visible(who.owner) if who.owner else "(nobody named)"))
    if who.groups:
        lines.append(Line(label="groups", text=visible(", ".join(sorted(who.groups)))))
    return (*lines, Line(label="address", text=call.peer))


def _words(call: Call, redact: Callable[[str], str]) -> tuple[Line, ...]:
    words = call.words
    said = [
        ("reason", words.reason),
        *(("evidence", link) for link in words.evidence),
        ("confidence", words.confidence),
        ("model", words.model),
        ("session", words.session),
        ("task", words.task),
    ]
    return tuple(Line(label=label, text=redact(in_line(text))) for label, text in said if text)


def hidden_bytes(body: bytes | None) -> int:
    """How much of a body its brief does not show, unless it is the brief of the whole."""
    return _readable(body or b"", most=_MOST_BODY_CHARACTERS)[1]


def _readable(body: bytes, *, most: int | None) -> tuple[str, int]:
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode() if body else ""
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "backslashreplace")
    # INVARIANT: the pretty form may not lose anything; a number or key that orjson would rewrite is shown raw.
    if body and _significant(text) != _significant(body.decode("utf-8", "backslashreplace")):
        text = body.decode("utf-8", "backslashreplace")
    rest = "" if most is None else text[most:]
    return visible(text[:most]), len(rest.encode("utf-8", "replace"))


def _significant(text: str) -> str:
    return "".join(text.split())


def _outcome(conclusion: Conclusion | None) -> str:
    if conclusion is None:
        return ""
    return visible(f"{conclusion.reason.value}: {conclusion.detail}" if conclusion.detail else conclusion.reason.value)
