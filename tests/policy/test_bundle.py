"""What becomes law, what is refused, and where the mistake stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.annotations import Kind
from policy.errors import BundleRefused, Problem
from policy.facts import UNSCANNED
from tests.policy.enacted import DELETE, GRANT, READ, REFUNDS, SHIPPED, bundle, refused

GATE = """@id("gate") @hold("q") forbid (principal is Agent, action, resource)
when { context.req.sample < 200 }
unless { context.approvals.count >= 1 };"""


def test_the_shipped_policies_and_ordinary_ones_become_law() -> None:
    made = bundle(SHIPPED, REFUNDS)
    assert made.by_id["base-four-eyes"].kind is Kind.PROHIBITION
    assert made.by_id["refund-over-100"].kind is Kind.GATE
    assert made.by_id["refunds"].kind is Kind.GRANT


def test_the_shipped_policies_hold_where_nothing_is_configured_yet() -> None:
    assert bundle(SHIPPED, operations=(), groups={}, labels=frozenset()).rules


def test_the_shipped_policies_grant_nothing() -> None:
    assert all(rule.kind is not Kind.GRANT for rule in bundle(SHIPPED).rules)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("permit (principal, action, resource);", "@id is required", 1, 1),
        ('@id("x")\npermit (principal, action resource);', "unexpected token", 2, 27),
        (
            '@id("x")\npermit (principal is Agent, action, resource)\nwhen { context.req.methd == "GET" };',
            "methd",
            3,
            20,
        ),
        ('@id("x") permit (principal is Agnt, action, resource);', "Agnt", 1, 31),
        ('@id("x") permit (principal, action in Action::"raed", resource);', 'did you mean "read"', 1, 47),
        (
            '@id("x") permit (principal, action == Action::"stripe:refunds.creat", resource);',
            'did you mean "stripe:refunds.create"',
            1,
            47,
        ),
        (GATE.replace("count >= 1", 'quorum.contains(Quorum::"cfo:2")'), "cfo:2", 3, 52),
        (GATE.replace("context.req.sample < 200", 'context.sensitivity.labels.contains(Label::"pi")'), '"pi"', 2, 51),
        ('@id("x") @hold("q") permit (principal, action, resource);', "@hold has no meaning on a grant", 1, 11),
        ('@id("x")\n@aproved("y") permit (principal, action, resource);', "@aproved is not an annotation", 2, 2),
        (GATE.replace('"q"', '"q") @timeout("soon"'), "@timeout", 1, 25),
        (GATE.replace("unless { context.approvals.count >= 1 }", ""), "exactly one `unless`", 1, 14),
        (GATE.replace("count >= 1 }", "count >= 1 || true }"), "without any approval", 3, 1),
        (GATE.replace("unless", "unless { context.approvals.count > 4 } unless"), "exactly one `unless`", 1, 14),
        (
            '@id("x") permit (principal is Agent, action, resource)\nwhen { context.approvals.count > 0 };',
            "only the `unless` of a gate",
            2,
            16,
        ),
        (
            GATE.replace("context.req.sample < 200", "context.approvals.count == 0"),
            "only the `unless` of a gate",
            2,
            16,
        ),
        (
            '@id("x") permit (principal is Agent, action, resource)\nwhen { context == context };',
            "only the `unless` of a gate",
            2,
            8,
        ),
        (
            '@id("x") permit (principal is Agent, action, resource) when { context has sbject && context.sbject };',
            "can never match",
            1,
            1,
        ),
        ('@id("x") permit (principal is User, action in Action::"read", resource);', "unable to find", 1, 1),
        ('@id("x") permit (principal == ?principal, action, resource);', "templates", 1, 31),
        ('@id("x") permit (principal is Agent, action, resource) when { context.input.amount > 1 };', "amount", 1, 77),
    ],
)
def test_a_mistake_is_refused_where_it_stands(text: str, message: str, line: int, column: int) -> None:
    problems = refused(text)
    assert any(message in one.message and (one.line, one.column) == (line, column) for one in problems), [
        str(one) for one in problems
    ]


def test_an_id_is_used_once_in_all_files() -> None:
    (problem,) = refused(GRANT, f"\n{GRANT}")
    assert (problem.file, problem.line) == ("1.cedar", 2)
    assert "0.cedar:1" in problem.message


def test_all_mistakes_of_all_files_are_told_at_once_in_their_order() -> None:
    problems = refused(
        'permit (principal, action, resource);\n@id("a") permit (principal is Nobody, action, resource);',
        f'@id("b") permit (principal action, resource);\n{GATE.replace("q", "")}',
        f"permit(principal,action,resource) when {{{'(' * 10_000}true{')' * 10_000}}};",
    )
    assert [(one.file, one.line) for one in problems] == [
        ("0.cedar", 1),
        ("0.cedar", 2),
        ("1.cedar", 1),
        ("1.cedar", 2),
        ("2.cedar", 1),
    ]


def test_a_problem_prints_as_file_line_column() -> None:
    assert str(refused("permit (principal, action, resource);")[0]).startswith("0.cedar:1:1: @id")


def test_a_policy_for_a_class_that_no_operation_is_in_yet_may_be_written() -> None:
    text = '@id("x") forbid (principal is Agent, action in Action::"access", resource);'
    assert bundle(text, operations=(READ,)).rules


def test_the_same_complaint_about_many_operations_is_made_once() -> None:
    text = '@id("x") permit (principal is Agent, action, resource) when { context.input.nothing == 1 };'
    assert len(refused(text)) == 1


def test_labels_of_operations_are_known_without_being_configured() -> None:
    labelled = bundle(operations=(READ, DELETE)).labels
    assert UNSCANNED in labelled


def test_the_digest_changes_with_text_operations_groups_and_labels_and_with_nothing_else() -> None:
    digest = bundle(SHIPPED, GRANT).digest
    assert bundle(SHIPPED, GRANT).digest == digest
    others = {
        bundle(SHIPPED, f"{GRANT} ").digest,
        bundle(GRANT, SHIPPED).digest,
        bundle(SHIPPED, GRANT, operations=(READ,)).digest,
        bundle(SHIPPED, GRANT, groups={"cfo": 2}).digest,
        bundle(SHIPPED, GRANT, labels=frozenset({"pii"})).digest,
    }
    assert digest not in others
    assert len(others) == 5


def test_a_slice_holds_the_policies_whose_scope_can_match_and_no_others() -> None:
    made = bundle(SHIPPED, REFUNDS)
    read = made.slice("crm:customers.read")
    assert read is not None
    assert {rule.id for rule in read.rules} == {"base-method-override"}
    write = made.slice("crm:customers.delete")
    assert write is not None
    assert {rule.id for rule in write.rules} == {"base-method-override", "base-unscanned-data", "corporate-network"}
    assert made.slice("crm:customers.delete") is write
    assert made.slice("crm:nothing") is None


@given(st.text(max_size=60) | st.sampled_from(["when {", "};", "unless", '@id("', "forbid"]), st.integers(0, 400))
@settings(deadline=None)  # some examples compile a bundle; on a busy machine that takes its time
def test_noise_in_a_policy_is_refused_with_a_place_or_is_law(noise: str, place: int) -> None:
    text = f"{GRANT}\n{GATE}"
    place %= len(text)
    found = said(text[:place] + noise + text[place:])
    assert all(one.line >= 1 and one.column >= 1 and one.message for one in found)


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 40 + "true" + ")" * 40,
        " && ".join(["context.req.sample > 1"] * 100),
        "context.input" + '["a"]' * 300 + " == 1",
        "if context.req.sample > 1 then true else " * 40 + "false",
        "[" * 40 + "1" + "]" * 40 + " == 1",
        "context has " + ".".join(["a"] * 300),
    ],
)
def test_what_the_guard_lets_through_neither_crashes_nor_raises(condition: str) -> None:
    said(
        f'@id("x") permit (principal is Agent, action == Action::"crm:customers.read", resource) when {{{condition}}};'
    )


def said(text: str) -> tuple[Problem, ...]:
    """What is wrong with a text; nothing if it is law that can be sliced."""
    try:
        assert bundle(text).slice("crm:customers.read")
    except BundleRefused as refusal:
        return refusal.problems
    return ()
