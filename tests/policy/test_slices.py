"""Slicing changes cost and nothing else: against all policies, the whole schema and the whole context."""

from __future__ import annotations

import functools
import json
import random
import re
from dataclasses import replace

import pytest
from cedarpy import Entities, PolicySet, Schema, is_authorized
from hypothesis import given, settings
from hypothesis import strategies as st

from policy import facts
from policy.bundle import Bundle
from policy.call import AgentWords, Call, Input, Recent, Resource, Sensitivity
from policy.engine import Engine
from policy.facts import FACTS, Moment, View
from policy.principal import Identity
from policy.verdict import Allow, Approvals, Ask, Deny, Verdict
from tests.fakes.values import ROBOT
from tests.policy.enacted import NOW, OPERATIONS, a_call_of, bundle

SCOPES = (
    "action",
    'action in Action::"write"',
    'action in [Action::"money", Action::"read"]',
    'action == Action::"crm:customers.delete"',
    'action == Action::"bank:transfers.create"',
    'action == Action::"stripe:refunds.create"',
)
CONDITIONS = (
    "context.req.sample < {n}",
    'context.req.method == "GET" || context.req.bodyLength > {n}',
    'context.req.ip.isInRange(ip("10.{n}.0.0/16"))',
    'context has subject && context.subject == User::"corp:s{n}"',
    'context.sensitivity.labels.contains(Label::"pii")',
    "context.recent.callsDay > {n} && context.sensitivity.count > 2",
    'context.stated has reason && context.stated.reason like "*{n}*"',
    "context.input has amount && context.input.amount > {n}",
    'context.req.now < datetime("2026-01-05T12:00:{n:02d}Z")',
    'resource has owner && resource.owner == "o{n}"',
    'principal has owner && principal.owner == User::"corp:olga" && context.req.weekday == {n}',
    '{{"a": context.req}}.a.sample == {n}',
    'resource == Resource::"stripe/thing/{n}" || resource in [Resource::"crm/thing/{n}"]',
    'resource is Resource in Upstream::"crm" && context.req.sample < {n}',
)


OVERFLOW = "context.req.bodyLength * {n}0000000000000000 > 5"


def _policy(chance: random.Random, number: int, size: int) -> str:
    scope, condition = chance.choice(SCOPES), chance.choice(CONDITIONS)
    if "crm" in scope and "amount" in condition:
        condition = CONDITIONS[0]  # a policy on a field that the operation does not have is refused as dead
    condition = OVERFLOW if chance.random() < 0.5 / size else condition
    condition = condition.format(n=chance.randrange(10, 60))
    kind = chance.choices(["permit", "forbid", "gate"], weights=[size, 3, 5])[0]
    who = chance.choice(["principal is Agent", 'principal is Agent in Group::"g"'])
    head = f"({who}, {scope}, resource)"
    if kind == "gate":
        unless = "unless { context.approvals.count >= 1 }"
        return f'@id("p{number}") @hold("q") forbid {head} when {{ {condition} }} {unless};'
    return f'@id("p{number}") {kind} {head} when {{ {condition} }};'


@functools.cache
def law(seed: int, size: int) -> Bundle:
    chance = random.Random(seed)
    return bundle("\n".join(_policy(chance, number, size) for number in range(size)))


@functools.cache
def everything(seed: int, size: int) -> tuple[PolicySet, PolicySet, Schema]:
    made = law(seed, size)
    core = "\n".join(rule.statement.text for rule in made.rules if not rule.gate)
    return PolicySet.from_str(made.sources[0].text), PolicySet.from_str(core), Schema.from_str(made.schema_text)


Told = tuple[type[Verdict], frozenset[str]]


def unsliced(made: Bundle, handles: tuple[PolicySet, PolicySet, Schema], moment: Moment) -> Told:
    """The verdict that Cedar gives without any of our economies, and the policies that decided."""
    full, core, schema = handles
    call = moment.call
    whole = View(facts=(*FACTS, *facts.inputs(moment.known)))
    entities = json.loads(facts.callers(call)) + json.loads(facts.resource(call))
    asked = {
        "principal": facts.entity("Agent", call.principal.agent),
        "action": {"type": "Action", "id": call.operation.name},
        "resource": facts.entity("Resource", call.resource.id),
        "context": facts.context(whole, moment).decode(),
    }
    handle = Entities.from_json_str(json.dumps(entities), schema)
    said = is_authorized(asked, full, handle, schema).diagnostics
    broken = {int(n) for error in said.errors for n in re.findall(r"`policy(\d+)`", error)}
    if broken:
        return Deny, frozenset(made.rules[n].id for n in broken)
    rules = {made.by_id[name] for name in said.id_annotations_by_reason.values()}
    if is_authorized(asked, full, handle, schema).allowed:
        return Allow, frozenset(rule.id for rule in rules)
    prohibitions = {rule for rule in rules if not rule.gate}
    if prohibitions or not rules:
        return Deny, frozenset(rule.id for rule in prohibitions)
    beneath = is_authorized(asked, core, handle, schema)
    grants = beneath.diagnostics.id_annotations_by_reason.values()
    return (Ask, frozenset({*grants, *(rule.id for rule in rules)})) if beneath.allowed else (Deny, frozenset())


CALLS = st.builds(
    lambda operation, amount, who, sample, peer, labels, length, said, name, owner: a_call_of(
        operation,
        resource=Resource(kind="thing", id=f"{operation.upstream}/thing/{name}", owner=owner),
        input=Input(values={"amount": amount} if operation.fields else {}),
        principal=replace(ROBOT, groups=frozenset(who), subject=Identity(f"corp:s{sample % 60}")),
        sample=sample,
        peer=peer,
        body_length=length,
        words=AgentWords(reason=said),
        sensitivity=Sensitivity(labels=labels, counts=dict.fromkeys(labels, 2)),
    ),
    st.sampled_from(OPERATIONS),
    st.integers(0, 80),
    st.frozensets(st.sampled_from(["g", "h"])),
    st.integers(0, 80),
    st.sampled_from(["10.20.0.1", "10.40.0.1", "192.0.2.1", "2001:db8::1"]),
    st.frozensets(st.sampled_from(["pii", "secret"])),
    st.integers(0, 1000),
    st.none() | st.sampled_from(["15", "no", ""]),
    st.integers(10, 60).map(str) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.none() | st.integers(10, 60).map("o{}".format) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)


def _compare(call: Call, *, seed: int, size: int, recent: Recent, approvals: Approvals) -> type[Verdict]:
    made = law(seed, size)
    moment = Moment(
        call=call,
        known=made.operations[call.operation.name],
        now=NOW,
        recent=recent,
        approvals=approvals,
        labels=made.labels,
        quorums=made.quorums,
    )
    verdict = Engine(made).judge(call, now=NOW, recent=recent, approvals=approvals)
    assert (type(verdict), frozenset(verdict.policies)) == unsliced(made, everything(seed, size), moment)
    return type(verdict)


@given(CALLS, st.integers(0, 5), st.integers(0, 60), st.integers(0, 1))
@settings(deadline=None)  # some examples compile a bundle; on a busy machine that takes its time
def test_a_slice_judges_like_the_whole_bundle(call: Call, seed: int, calls: int, count: int) -> None:
    _compare(call, seed=seed, size=12, recent=Recent(calls_day=calls), approvals=Approvals(count=count))


@given(CALLS)
@settings(deadline=None)  # the first example makes the thousand policies
def test_a_slice_of_a_thousand_policies_judges_like_the_thousand(call: Call) -> None:
    _compare(call, seed=99, size=1000, recent=Recent(), approvals=Approvals())


@pytest.mark.parametrize(("size", "kinds"), [(12, {Allow, Ask, Deny}), (1000, {Allow, Ask})])
def test_the_comparison_meets_different_verdicts(size: int, kinds: set[type[Verdict]]) -> None:
    chance = random.Random(1)
    met = set()
    for seed in range(9) if size < 1000 else (99,):
        for _ in range(60):
            call = a_call_of(
                chance.choice(OPERATIONS[1:3]),
                sample=chance.randrange(80),
                peer=f"10.{chance.randrange(70)}.0.1",
                body_length=chance.randrange(50),
                principal=replace(ROBOT, groups=frozenset(chance.choice(["g", "h"]))),
            )
            met.add(_compare(call, seed=seed, size=size, recent=Recent(), approvals=Approvals()))
    assert met >= kinds


def test_a_slice_leaves_out_what_cannot_match() -> None:
    part = law(99, 1000).slice("crm:customers.read")
    assert part is not None
    assert 0 < len(part.rules) < 600
