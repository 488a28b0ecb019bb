"""Plain data, as YAML gives it, into typed policy test cases; everything wrong with it is said at once.

What a case means and whether it passes is `policy.cases`' to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from policy.attempt import Act
from policy.call import AgentWords, Input, InputValue, Recent
from policy.cases import ActCase, ActExpected, CallCase, CallExpected, Case, Circumstances, Ruling
from policy.principal import Identity, Person, Principal
from policy.reasons import Reason
from policy.rules import closest

_T = TypeVar("_T")
_CALL_KEYS = (
    "operation", "principal", "input", "unreadable", "missing", "req", "resource", "labels", "counts", "stated",
)  # fmt: skip
_CALL_EXPECTED = ("name", "approvals", "recent", "expect", "policies", "reason", "needs", *_CALL_KEYS)
_ACT_EXPECTED = ("name", "act", "person", "hold", "says", "channel", "now", "expect", "reason")
_RECENT = {
    "callsMinute": "calls_minute", "callsHour": "calls_hour", "callsDay": "calls_day",
    "sumMinute": "sum_minute", "sumHour": "sum_hour", "sumDay": "sum_day",
}  # fmt: skip


class CasesRefused(ValueError):
    """The data does not describe cases. `problems` has a sentence for each thing that is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(content: object) -> tuple[Case, ...]:
    """The cases of one file: a mapping with the key `cases`. Raises CasesRefused."""
    problems: list[str] = []
    top = _Section(content, where="the file", problems=problems, known=("cases",))
    cases = tuple(_case(each, number, problems) for number, each in enumerate(top.items("cases"), start=1))
    if not cases and not problems:
        problems.append("there are no cases in the file")
    if problems:
        raise CasesRefused(tuple(problems))
    return cases


class _Section:
    """A mapping of the file, its keys checked, its values read as the type that is asked for."""

    def __init__(self, content: object, *, where: str, problems: list[str], known: Iterable[str] | None) -> None:
        self.where, self.problems = where, problems
        mapping = content if isinstance(content, Mapping) else {}
        if content is not None and not isinstance(content, Mapping):
            problems.append(f"{where}: expected a mapping")
        self.content: dict[str, object] = {str(key): value for key, value in mapping.items()}
        allowed = frozenset(self.content if known is None else known)
        odd = [key for key in self.content if key not in allowed]
        problems.extend(f'{where}: there is no key "{key}"{closest(key, allowed)}' for key in odd)

    def section(self, key: str, known: Iterable[str] | None = None) -> _Section:
        return _Section(self.content.get(key), where=f"{self.where}, {key}", problems=self.problems, known=known)

    def items(self, key: str) -> Sequence[object]:
        value = self.content.get(key)
        if value is None:
            return ()
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return value
        self.wrong(key, "a list")
        return ()

    def text(self, key: str, default: str = "") -> str:
        value = self.content.get(key, default)
        return value if isinstance(value, str) else self.wrong(key, "text", default)

    def optional(self, key: str) -> str | None:
        return self.text(key) if self.content.get(key) is not None else None

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.items(key)
        if all(isinstance(value, str) for value in values):
            return tuple(str(value) for value in values)
        return self.wrong(key, "a list of texts", ())

    def number(self, key: str, default: int) -> int:
        value = self.content.get(key, default)
        whole = isinstance(value, int) and not isinstance(value, bool)
        return int(str(value)) if whole else self.wrong(key, "a whole number", default)

    def flag(self, key: str) -> bool:
        value = self.content.get(key, False)
        return value if isinstance(value, bool) else self.wrong(key, "true or false", default=False)

    def moment(self, key: str, default: float) -> float:
        value = self.content.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return self.wrong(key, "a time like 2026-01-05T12:00:00Z", default)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return default if value is None else self.wrong(key, "a time like 2026-01-05T12:00:00Z", default)

    def choice(self, key: str, make: Callable[[str], _T], choices: Iterable[str], default: _T) -> _T:
        value = self.content.get(key)
        try:
            return default if value is None else make(str(value))
        except ValueError:
            return self.wrong(key, f"one of {', '.join(choices)}", default)

    def wrong(self, key: str, expected: str, default: _T = None) -> _T:  # type: ignore[assignment]
        self.problems.append(f"{self.where}: {key} should be {expected}")
        return default


def _case(content: object, number: int, problems: list[str]) -> Case:
    name = content.get("name") if isinstance(content, Mapping) else None
    where = f'case {number} "{name}"' if name else f"case {number}"
    is_act = isinstance(content, Mapping) and "act" in content
    case = _Section(content, where=where, problems=problems, known=_ACT_EXPECTED if is_act else _CALL_EXPECTED)
    if not name:
        problems.append(f"{where}: has no name")
    if "expect" not in case.content:
        problems.append(f"{where}: does not say what to expect")
    return _act_case(case) if is_act else _call_case(case)


def _call_case(case: _Section) -> CallCase:
    approvals = case.section("approvals", ("by", "age"))
    by = approvals.section("by")
    recent = case.section("recent", _RECENT)
    return CallCase(
        name=case.text("name"),
        circumstances=_circumstances(case),
        approved_by={Identity(person): frozenset(by.texts(person)) for person in by.content},
        approvals_age_s=approvals.number("age", 0),
        recent=Recent(**{field: recent.number(key, 0) for key, field in _RECENT.items()}),
        expected=CallExpected(
            ruling=case.choice("expect", Ruling, Ruling, Ruling.DENY),
            policies=frozenset(case.texts("policies")) if "policies" in case.content else None,
            reason=case.choice("reason", Reason, ("the codes in docs/reasons.md",), None),
            needs=_needs(case) if "needs" in case.content else None,
        ),
    )


def _act_case(case: _Section) -> ActCase:
    person = case.section("person", ("identity", "groups", "methods", "sign_in_age"))
    known_age = person.content.get("sign_in_age") is not None
    return ActCase(
        name=case.text("name"),
        circumstances=_circumstances(case.section("hold", _CALL_KEYS)),
        act=case.choice("act", Act, Act, Act.VIEW),
        person=Person(
            identity=Identity(person.text("identity")),
            name=person.text("identity"),
            groups=frozenset(person.texts("groups")),
            methods=frozenset(person.texts("methods")),
        ),
        sign_in_age_s=person.number("sign_in_age", 0) if known_age else None,
        says=case.text("says"),
        channel=case.text("channel", "api"),
        now=case.moment("now", Circumstances.NOW),
        expected=ActExpected(
            permitted=case.choice("expect", _permitted, ("permitted", "refused"), default=False),
            reason=case.choice("reason", Reason, ("the codes in docs/reasons.md",), None),
        ),
    )


def _permitted(word: str) -> bool:
    if word not in {"permitted", "refused"}:
        raise ValueError(word)
    return word == "permitted"


def _circumstances(case: _Section) -> Circumstances:
    who = case.section("principal", ("agent", "groups", "owner", "subject", "chain"))
    req = case.section("req", ("now", "ip", "method", "path", "env", "sample", "bodyLength", "methodOverride"))
    about = case.section("resource", ("kind", "id", "owner"))
    stated = case.section("stated", ("reason", "session", "task", "model"))
    counts = case.section("counts")
    return Circumstances(
        operation=case.text("operation"),
        principal=_principal(who),
        input=Input(
            values=_values(case.section("input")),
            unreadable=frozenset(case.texts("unreadable")),
            missing=frozenset(case.texts("missing")),
        ),
        now=req.moment("now", Circumstances.NOW),
        ip=req.text("ip", "192.0.2.1"),
        method=req.optional("method"),
        path=req.optional("path"),
        environment=req.text("env", "prod"),
        sample=req.number("sample", 9999),
        body_length=req.number("bodyLength", 0),
        method_override=req.flag("methodOverride"),
        resource_kind=about.optional("kind"),
        resource_id=about.text("id", "1"),
        resource_owner=about.optional("owner"),
        labels=frozenset(case.texts("labels")),
        counts={label: counts.number(label, 0) for label in counts.content},
        words=AgentWords(
            reason=stated.optional("reason"),
            session=stated.optional("session"),
            task=stated.optional("task"),
            model=stated.optional("model"),
        ),
    )


def _principal(who: _Section) -> Principal:
    owner, subject = who.optional("owner"), who.optional("subject")
    return Principal(
        agent=Identity(who.text("agent", "test:agent")),
        subject=Identity(subject) if subject else None,
        owner=Identity(owner) if owner else None,
        chain=tuple(Identity(one) for one in who.texts("chain")),
        groups=frozenset(who.texts("groups")),
        expires_at=2**62,
    )


def _values(given: _Section) -> Mapping[str, InputValue]:
    values: dict[str, InputValue] = {}
    for name, value in given.content.items():
        if isinstance(value, str | int):
            values[name] = value
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            values[name] = tuple(sorted(str(item) for item in value))
        else:
            given.wrong(name, "text, a whole number, true or false, or a list of texts; a decimal is text: '12.50'")
    return values


def _needs(case: _Section) -> frozenset[frozenset[tuple[str, int]]]:
    """`{finance: 1}`, or a list of such where any one is enough."""
    several = isinstance(case.content["needs"], Sequence)
    listed = case.items("needs") if several else (case.content["needs"],)
    ways = [_Section(one, where=f"{case.where}, needs", problems=case.problems, known=None) for one in listed]
    return frozenset(frozenset((group, way.number(group, 1)) for group in way.content) for way in ways)
