"""Operations that no policy tells apart are judged as one, and nobody can tell from the verdicts."""

from __future__ import annotations

import functools
import gc
import random
import weakref
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.attempt import Act
from policy.bundle import Bundle, Source, build, restore
from policy.call import Call, Input, Recent
from policy.engine import Engine
from policy.errors import BundleRefused
from policy.operation import Field, FieldType, Operation, OperationClass, Place
from policy.reasons import Reason
from policy.slices import Cutter, Vocabulary
from policy.verdict import Allow, Approvals, Ask, Deny, Verdict
from tests.fakes.values import ROBOT
from tests.policy.enacted import GRANT, GROUPS, LABELS, NOW, REFUNDS, SHIPPED, a_call_of, bundle, refused
from tests.policy.plain import Plain, complaints, plain, whole, without_actions

CLASSES = ({OperationClass.READ}, {OperationClass.WRITE}, {OperationClass.MONEY}, {OperationClass.DESTRUCTIVE})
VALUES = {FieldType.LONG: 7, FieldType.TEXT: "seven", FieldType.BOOL: True}
SCOPES = (
    "action",
    'action in Action::"write"',
    'action in [Action::"money", Action::"read"]',
    'action == Action::"api:op{m}"',
    'action in [Action::"api:op{m}", Action::"api:op{n}", Action::"destructive"]',
)
CONDITIONS = (
    "context.req.sample < {n}",
    'action == Action::"api:op{m}" || context.req.bodyLength > {n}',
    'action in Action::"money" && context.recent.callsDay > {n}',
    '[Action::"api:op{m}", Action::"api:op{n}"].contains(action)',
    'context.req has method && context.req.tier == "medium"',
    'resource in Upstream::"api" && context.sensitivity.count < {n}',
    "context.req.bodyLength * {n}00000000000000000 > 5",
    '{{"whole": context.input}} has whole',
)
MISTAKES = (
    "context.input.amount > {n}",
    'context.input has note && context.input.note == "x"',
    "context.input has amount && context.input.amount > {n}",
    "context.input has amuont && context.input.amuont > {n}",
    'context.req.sampel > {n} || context.input.charge == "x"',
    'action == Action::"api:op{m}" && context.req.nothing == 1',
    'action == Action::"api:op{m}" && action == Action::"api:op{n}"',
    'principal == Agent::"a" && context.req.env < {n}',
)


@functools.cache
def operations(seed: int, count: int = 24) -> tuple[Operation, ...]:
    """Operations of few kinds: the same classes and fields come again and again, the names do not."""
    chance = random.Random(seed)
    return tuple(
        Operation(
            name=f"api:op{number}",
            upstream="api",
            method="POST",
            template=f"/op{number}",
            classes=frozenset(chance.choice(CLASSES)),
            fields=tuple(
                Field(name=name, place=Place.BODY, path=(name,), type=kind, required=chance.random() < 0.5)
                for name, kind in (("amount", FieldType.LONG), ("note", chance.choice(tuple(VALUES))))
                if chance.random() < 0.7
            ),
        )
        for number in range(count)
    )


def policies(seed: int, size: int, *, conditions: tuple[str, ...] = CONDITIONS) -> list[str]:
    chance = random.Random(seed)
    return [_policy(chance, number, conditions) for number in range(size)]


def _policy(chance: random.Random, number: int, conditions: tuple[str, ...]) -> str:
    words = {"m": chance.randrange(24), "n": chance.randrange(10, 24)}
    head = f"(principal is Agent, {chance.choice(SCOPES)}, resource)".format(**words)
    condition = chance.choice(conditions).format(**words)
    kind = chance.choices(["permit", "forbid", "gate"], weights=[6, 1, 2])[0]
    if kind == "gate":
        unless = "unless { context.approvals.count >= 1 }"
        return f'@id("p{number}") @hold("q") forbid {head} when {{ {condition} }} {unless};'
    return f'@id("p{number}") {kind} {head} when {{ {condition} }};'


@functools.cache
def law(seed: int) -> tuple[Engine, Plain]:
    """Generated policies that are good law on generated operations, judged by slices and without."""
    texts = policies(seed, 14)
    while True:
        try:
            made = bundle("\n".join(texts), operations=operations(seed))
        except BundleRefused as refusal:  # a policy that can never match, say
            bad = {one.policy for one in refusal.problems}
            texts = [text for text in texts if text.split('"')[1] not in bad]
            continue
        return Engine(made), plain(made)


def a_call(operation: Operation, *, sample: int, length: int) -> Call:
    values = {one.name: VALUES[one.type] for one in operation.fields}
    return a_call_of(operation, input=Input(values=values), sample=sample, body_length=length, principal=ROBOT)


@given(st.integers(0, 7), st.integers(0, 23), st.integers(0, 30), st.integers(0, 30), st.integers(0, 1))
@settings(deadline=None)  # some examples compile a bundle; on a busy machine that takes its time
def test_alike_operations_are_judged_as_each_would_be_alone(
    seed: int, number: int, sample: int, length: int, count: int
) -> None:
    engine, reference = law(seed)
    call = a_call(operations(seed)[number], sample=sample, length=length)
    recent, approvals = Recent(calls_day=sample), Approvals(count=count)
    verdict = engine.judge(call, now=NOW, recent=recent, approvals=approvals)
    expected = reference.judge(call, recent=recent, approvals=approvals)
    assert (type(verdict), frozenset(verdict.policies)) == expected


def test_the_comparison_meets_every_verdict_and_operations_that_share_a_slice() -> None:
    met: set[type[Verdict]] = set()
    shared = 0
    for seed in range(8):
        engine, _ = law(seed)
        every = [a_call(one, sample=20, length=0) for one in operations(seed)]
        met |= {type(engine.judge(call, now=NOW, recent=Recent())) for call in every}
        shared += len(every) - len({part.action for one in operations(seed) if (part := engine.bundle.slice(one.name))})
    assert met == {Allow, Ask, Deny}
    assert shared >= 50


@given(st.integers(0, 10_000), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_a_policy_is_refused_exactly_where_the_whole_catalogue_would_refuse_it(seed: int, catalogue: int) -> None:
    text = policies(seed, 1, conditions=(*MISTAKES, *CONDITIONS))[0]
    reference = whole(bundle(operations=operations(catalogue)))
    expected = complaints(text, reference)
    dead = not expected and not complaints(text.rstrip(";") + " when { 1 < true };", reference)
    try:
        bundle(text, operations=operations(catalogue))
    except BundleRefused as refusal:
        said = {without_actions(one.message) for one in refusal.problems}
    else:
        said = set()
    first_hand = {one for one in expected if not one.startswith("unable to find")} or expected
    assert said <= first_hand or (dead and all("can never match" in one for one in said))
    assert len(said) == min(3, len(first_hand)) + dead


def test_a_thousand_policies_and_mistakes_in_one_bundle_are_told_apart() -> None:
    texts = policies(3, 150, conditions=CONDITIONS[:1])
    texts[70] = texts[70].replace("context.req.sample", "context.req.sampel")
    (problem,) = refused("\n".join(texts), operations=operations(0))
    assert (problem.policy, problem.line) == ("p70", 71)
    assert "sampel" in problem.message


def many(count: int) -> tuple[Operation, ...]:
    return tuple(
        replace(operations(0)[number % 24], name=f"api:many{number}", template=f"/many{number}")
        for number in range(count)
    )


def test_thousands_of_operations_take_a_handful_of_slices() -> None:
    named = '@id("one") permit (principal is Agent, action == Action::"api:many7", resource);'
    made = bundle(SHIPPED, GRANT, named, operations=many(3000))
    parts = [made.slice(name) for name in made.operations]
    actions = {part.action for part in parts if part}
    assert len(actions) == len({id(part.stock) for part in parts if part}) == len(CLASSES) + 2
    assert "api:many7" in actions


def test_operations_whose_read_fields_differ_in_type_are_not_alike() -> None:
    text = '@id("x") permit (principal is Agent, action, resource) when { context.input has note };'
    made = bundle(text, operations=operations(0))
    shapes = {}
    for one in operations(0):
        part = made.slice(one.name)
        assert part is not None
        note = next(((each.type, each.required) for each in one.fields if each.name == "note"), None)
        assert shapes.setdefault(part.action, note) == note
    assert len(set(shapes.values())) > 4


def shelved(most_kib: float) -> Bundle:
    """Every operation is named, so that each has a slice of its own."""
    texts = [f'@id("n{n}") forbid (principal is Agent, action == Action::"api:op{n}", resource);' for n in range(24)]
    made = bundle(GRANT, "\n".join(texts), operations=operations(1))
    cutter = Cutter(made.rules, Vocabulary(quorums=made.quorums, labels=made.labels), most_kib=most_kib)
    return replace(made, _cutter=cutter, _slices={})


def test_what_is_kept_ready_is_bounded_and_made_again_when_it_is_asked_for() -> None:
    made = shelved(500)
    parts = [part for one in operations(1) if (part := made.slice(one.name))]
    before = [part.policies for part in parts]
    assert [part.policies is policies for part, policies in zip(parts[-4:], before[-4:], strict=True)] == [True] * 4
    ready = [part for part in parts if part.stock.ready]
    assert parts[-4:] == ready[-4:]
    assert sum(part.stock.kib for part in ready) <= 500
    assert parts[0].policies is not before[0]
    assert len(parts[0].policies) == len(before[0]) == 2


def test_a_law_that_is_no_longer_used_is_gone_without_the_collector() -> None:
    gc.disable()
    try:
        engine = Engine(shelved(1e9))
        for one in operations(1):
            engine.judge(a_call(one, sample=0, length=0), now=NOW)
        part = engine.bundle.slice("api:op1")
        assert part is not None
        assert part.stock.ready
        gone = weakref.ref(part.stock)
        del engine, part
        assert gone() is None
    finally:
        gc.enable()


@given(st.lists(st.integers(0, 23), min_size=1, max_size=40))
@settings(deadline=None)
def test_putting_slices_away_changes_no_verdict(order: list[int]) -> None:
    small, large = Engine(shelved(150)), Engine(LARGE)
    for number in order:
        call = a_call(operations(1)[number], sample=0, length=0)
        assert small.judge(call, now=NOW) == large.judge(call, now=NOW)


LARGE = shelved(1e9)


def test_a_slice_that_cannot_be_made_denies() -> None:
    made = bundle(SHIPPED, REFUNDS)
    broken = Cutter(made.rules, Vocabulary(quorums=made.quorums, labels=frozenset({"\ud800"})))
    engine = Engine(replace(made, _cutter=broken, _slices={}))
    call = a_call_of(made.operations["crm:customers.read"])
    assert not engine.reads_recent("crm:customers.read")
    verdict = engine.judge(call, now=NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.POLICY_ERROR


def test_a_bundle_whose_slices_cannot_be_made_is_not_proved() -> None:
    made = bundle(SHIPPED, REFUNDS)
    made.prove()
    broken = Cutter(made.rules, Vocabulary(quorums=made.quorums, labels=frozenset({"\ud800"})))
    with pytest.raises(ValueError, match=r"surrogate|escape|parse"):
        replace(made, _cutter=broken, _slices={}).prove()


def test_the_policy_that_errors_is_named_among_those_of_its_groups_and_its_own() -> None:
    wide = "".join(
        f'@id("w{n}") {hold} forbid (principal is Agent, action in Action::"write", resource)'
        f" when {{ context.req.sample == 5 }} {unless};"
        for n, (hold, unless) in enumerate([("", ""), ('@hold("q")', "unless { context.approvals.count >= 1 }")] * 3)
    )
    own = """@id("own") permit (principal is Agent, action == Action::"crm:customers.delete", resource);
    @id("errs") forbid (principal is Agent, action == Action::"crm:customers.delete", resource)
    when { context.req.bodyLength * 9223372036854775807 > 5 };"""
    engine = Engine(bundle(own, wide))
    call = a_call_of(engine.bundle.operations["crm:customers.delete"], body_length=9)
    assert engine.judge(call, now=NOW).policies == ("errs",)
    considered = [rule.id for rule in engine.explain(call, now=NOW).considered]
    assert considered == ["own", "errs", *(f"w{n}" for n in range(6))]


def test_acts_with_the_same_policies_share_what_cedar_made() -> None:
    made = bundle(SHIPPED, REFUNDS)
    assert made.review(Act.REJECT).stock is made.review(Act.WITHDRAW).stock
    assert made.review(Act.REJECT).action != made.review(Act.WITHDRAW).action
    assert made.review(Act.APPROVE).stock is not made.review(Act.REJECT).stock


def test_what_was_proved_elsewhere_is_taken_only_as_it_was() -> None:
    made = bundle(SHIPPED, REFUNDS)
    facts = {"operations": tuple(made.operations.values()), "groups": GROUPS, "labels": LABELS}
    again = restore(made.sources, **facts, digest=made.digest)
    assert again == made
    other = (*made.sources[1:], Source(file="z.cedar", text=GRANT))
    with pytest.raises(BundleRefused, match="not the policies that were checked"):
        restore(other, **facts, digest=made.digest)
    with pytest.raises(BundleRefused, match="@id is required"):
        restore([Source(file="z", text="permit (principal, action, resource);")], **facts, digest=made.digest)
    assert build(made.sources, **facts).digest == made.digest


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('@id("x") permit (principal is Agent, action, resource in Upstream::"strpe");', 1, 68),
        ('@id("x") permit (principal is Agent, action, resource is Resource in Upstream::"strpe");', 1, 80),
        ('@id("x") permit (principal is Agent, action, resource)\nwhen { resource in Upstream::"strpe" };', 2, 30),
        ('@id("x") forbid (principal is Agent, action, resource)\nunless { Upstream::"strpe".env == "dev" };', 2, 20),
    ],
)
def test_an_upstream_that_does_not_exist_is_refused_with_the_nearest_name(text: str, line: int, column: int) -> None:
    (problem,) = refused(text)
    assert problem.message == 'there is no upstream "strpe" (did you mean "stripe"?); there are bank, crm, stripe'
    assert (problem.line, problem.column) == (line, column)


def test_a_group_that_is_not_configured_may_come_from_a_token() -> None:
    text = '@id("x") permit (principal in Group::"nobody-listed-this", action, resource);'
    assert bundle(text).rules
