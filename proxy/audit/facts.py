"""Which facts of the law's values a record may state, and which it may only hint at.

Of typed input, a value is shown only if its field is in the catalogue, carries no label, has no secret's name, and no
detector pointed at it; of a query only names are shown; headers and bodies are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import assert_never

from policy.call import AgentWords, Call, InputValue, Sensitivity, Target
from policy.hold import Hold
from policy.operation import Field
from policy.principal import Person, Principal
from policy.reasons import Reason
from policy.verdict import Allow, Ask, Deny, Gate, Verdict
from proxy.audit.redact import Fact, Facts, Veiled, names_a_secret, text

PREVIEW_CHARS = 256
WORDS_CHARS = 2_000
_QUERY_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-\[\]]{0,63}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_SILENT = AgentWords()


def of_call(call: Call, *, redact: frozenset[str], trace: str | None) -> Facts:
    """What was asked, by whom, for whom, of which API."""
    operation = call.operation
    return {
        "principal": of_principal(call.principal),
        "peer": call.peer,
        "operation": operation.name,
        "tier": operation.tier.value,
        "classes": in_order(operation.classes),
        "upstream": call.upstream,
        "environment": call.environment,
        "resource": {
            "kind": call.resource.kind,
            "id": text(call.resource.id, limit=PREVIEW_CHARS),
            "owner": text(call.resource.owner, limit=PREVIEW_CHARS) if call.resource.owner is not None else None,
        },
        "target": of_target(call.target),
        "body": {"sha256": call.body_digest or None, "length": call.body_length},
        "input": _input(call, redact=redact),
        "unreadable": in_order(call.input.unreadable),
        "missing": in_order(call.input.missing),
        "labels": in_order(call.sensitivity.labels | operation.labels),
        "label_counts": dict(call.sensitivity.counts),
        "words": _words(call.words),
        "idempotency_key": Veiled(value=call.idempotency_key) if call.idempotency_key is not None else None,
        "received_at": call.received_at,
        "trace": trace or trace_id(call.headers),
        **({"parts": [_part(one, redact=redact) for one in call.each()[1:]]} if call.parts else {}),
    }


def _part(alone: Call, *, redact: frozenset[str]) -> Facts:
    return {
        "operation": alone.operation.name,
        "input": _input(alone, redact=redact),
        "unreadable": in_order(alone.input.unreadable),
        "missing": in_order(alone.input.missing),
    }


def of_principal(who: Principal) -> Facts:
    """The identity chain."""
    return {
        "agent": who.agent,
        "subject": who.subject,
        "chain": who.chain,
        "owner": who.owner,
        "client": who.client,
        "token_id": who.token_id,
        "proof": who.proof.value,
    }


def of_person(person: Person) -> Facts:
    """A person, and how they proved to be it."""
    return {
        "identity": person.identity,
        "name": text(person.name, limit=PREVIEW_CHARS),
        "authenticated_at": person.authenticated_at,
        "methods": in_order(person.methods),
    }


def of_target(target: Target) -> Facts:
    """Method, path, and of the query the names and a keyed fingerprint."""
    return {
        "method": target.method,
        "path": text(target.path, limit=WORDS_CHARS),
        "query_names": [_query_name(part) for part in target.query.split("&")[:100]] if target.query else (),
        "query": Veiled(value=target.query) if target.query else None,
    }


def _query_name(part: str) -> Fact:
    name, equals, _ = part.partition("=")
    # A parameter without `=` may be a bare secret, and so may an odd name.
    plain = equals and _QUERY_NAME.fullmatch(name) and text(name, limit=PREVIEW_CHARS) == name
    return name if plain else Veiled(value=part)


def _input(call: Call, *, redact: frozenset[str]) -> Facts:
    fields = {entry.name: entry for entry in call.operation.fields}
    found = _found(call.sensitivity)
    return {
        name: _shown(value)
        if _may_be_shown(name, fields.get(name), found, redact=redact)
        else Veiled(value=_flat(value))
        for name, value in call.input.values.items()
    }


def _found(sensitivity: Sensitivity) -> tuple[str, ...]:
    """Where the detectors found something: JSON pointers, each with a slash behind it; `/` is everywhere."""
    if not sensitivity.labels and not sensitivity.counts and not sensitivity.paths:
        return ()
    # INVARIANT: where the detectors found more than they could say the place of, nothing is shown.
    paths = sensitivity.paths
    unplaced = any(label not in paths for label in sensitivity.labels)
    if unplaced or any(count > len(paths.get(label, ())) for label, count in sensitivity.counts.items()):
        return ("/",)
    return tuple(f"{pointer}/" for pointers in paths.values() for pointer in pointers)


def _may_be_shown(name: str, entry: Field | None, found: tuple[str, ...], *, redact: frozenset[str]) -> bool:
    if entry is None or entry.labels or name in redact:
        return False
    if names_a_secret(name) or names_a_secret(" ".join(entry.path)):
        return False
    if not found:
        return True
    path = "/".join(entry.path)
    places = (f"/{name}/", f"/{path}/", f"/{entry.place.value}/{path}/")
    return not any(_overlap(place, pointer) for pointer in found for place in places)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _shown(value: InputValue) -> Fact:
    match value:
        case bool() | int():
            return value
        case str():
            return text(value, limit=PREVIEW_CHARS)
        case tuple():
            return [text(member, limit=PREVIEW_CHARS) for member in value[:50]]
        case _:
            assert_never(value)


def _flat(value: InputValue) -> str:
    return "\x00".join(value) if isinstance(value, tuple) else str(value)


def _words(words: AgentWords) -> Facts | None:
    if words is _SILENT or words == _SILENT:
        return None
    spoken: Facts = {
        "reason": words.reason,
        "evidence": words.evidence,
        "confidence": words.confidence,
        "model": words.model,
        "session": words.session,
        "task": words.task,
    }
    return {name: _clean(said) for name, said in spoken.items() if said} or None


def _clean(said: Fact) -> Fact:
    if isinstance(said, tuple):
        return [text(str(member), limit=WORDS_CHARS) for member in said[:20]]
    return text(str(said), limit=WORDS_CHARS)


def of_verdict(verdict: Verdict) -> Facts:
    """What the law said, by which policies of which bundle."""
    match verdict:
        case Allow(bundle=bundle, policies=policies):
            said: Facts = {"verdict": "allow", "reason": Reason.PERMITTED.value}
        case Ask(bundle=bundle, policies=policies, gates=gates):
            said = {"verdict": "ask", "reason": Reason.NEEDS_APPROVAL.value, "gates": of_gates(gates)}
        case Deny(bundle=bundle, policies=policies, reason=reason, explanations=explanations):
            lines: list[Fact] = [text(line, limit=WORDS_CHARS) for line in explanations[:20]]
            said = {"verdict": "deny", "reason": reason.value, "explanations": lines}
        case _:
            assert_never(verdict)
    return said | {"policies": policies, "bundle": bundle}


def of_standing(hold: Hold) -> Facts:
    """Where a hold stands, and what it is bound to."""
    return {
        "state": hold.state.value,
        "revision": hold.revision,
        "fingerprint": hold.fingerprint,
        "likeness": hold.likeness,
        "bundle": hold.bundle,
    }


def of_gates(gates: Sequence[Gate]) -> list[Fact]:
    """Policies that ask for people, and each way to satisfy them."""
    return [
        {
            "policy": gate.policy,
            "any_of": [[f"{need.group}:{need.people}" for need in way.needs] for way in gate.any_of],
        }
        for gate in gates
    ]


def trace_id(headers: Sequence[tuple[str, str]]) -> str | None:
    """The trace id of a `traceparent` header (W3C Trace Context, section 3.2), if there is a valid one."""
    for name, value in headers:
        if name == "traceparent" and (match := _TRACEPARENT.fullmatch(value)):
            return match.group(1)
    return None


def in_order(members: Iterable[str]) -> list[Fact]:
    """The members as a sorted list."""
    return [str(member) for member in sorted(members)] if members else []
