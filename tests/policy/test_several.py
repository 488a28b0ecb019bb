"""Of several verdicts the strictest is that on all of them at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policy import several
from policy.call import Input, Part, Resource
from policy.reasons import Reason
from policy.verdict import Allow, Alternative, Ask, Deny, Gate, Need, Obligations, Verdict
from tests.policy.enacted import NOW, a_call, engine

names = st.sampled_from(["a", "b", "c", "d"])
obligations = st.builds(Obligations, queues=st.frozensets(names), timeout_s=st.none() | st.integers(1, 9))
policies = st.lists(names, unique=True).map(lambda found: tuple(sorted(found)))
gates = st.lists(names, min_size=1, unique=True).map(
    lambda found: tuple(Gate(policy=n, any_of=(Alternative(needs=(Need(group=n, people=1),)),)) for n in sorted(found))
)
allows = st.builds(Allow, bundle=st.just("b"), policies=policies, obligations=obligations)
asks = st.builds(Ask, bundle=st.just("b"), policies=policies, gates=gates, obligations=obligations)
denies = st.builds(Deny, bundle=st.just("b"), reason=st.sampled_from([Reason.FORBIDDEN, Reason.POLICY_ERROR]))
verdicts = st.lists(allows | asks | denies, min_size=1, max_size=5)


def strictest(found: list[Verdict]) -> Verdict:
    return several.strictest(found, [f"t:{n}" for n in range(1, len(found))])


@given(verdicts)
def test_one_no_is_a_no_and_one_question_is_a_question(found: list[Verdict]) -> None:
    kinds = {type(one) for one in found}
    assert type(strictest(found)) is next(kind for kind in (Deny, Ask, Allow) if kind in kinds)


@given(st.lists(allows | asks, min_size=1, max_size=5))
def test_nothing_that_any_part_asks_for_is_lost_whatever_their_order(found: list[Verdict]) -> None:
    said = strictest(found)
    assert said == strictest(found[::-1])
    asked = {gate for one in found if isinstance(one, Ask) for gate in one.gates}
    assert set(said.gates if isinstance(said, Ask) else ()) == asked
    assert not isinstance(said, Deny)
    assert said.obligations.queues == frozenset().union(
        *(one.obligations.queues for one in found if not isinstance(one, Deny))
    )


@given(verdicts)
def test_a_verdict_alone_is_itself(found: list[Verdict]) -> None:
    alone = strictest(found[:1])
    assert alone == found[0]


def test_a_no_says_which_part_it_is_about() -> None:
    no = Deny(bundle="b", reason=Reason.FORBIDDEN, explanations=("Never.",))
    said = strictest([Allow(bundle="b", policies=()), Allow(bundle="b", policies=()), no])
    assert isinstance(said, Deny)
    assert said.explanations[0] == "Never."
    assert "t:2" in said.explanations[1]


def test_a_call_in_parts_is_judged_as_each_of_them_with_its_own_input_and_object() -> None:
    law = """
    @id("all") permit (principal, action, resource);
    @id("not-two") forbid (principal, action, resource == Resource::"stripe/charge/2");
    """
    whole = a_call()
    resources = [Resource(kind="charge", id=f"stripe/charge/{n}") for n in (1, 2)]
    parts = [Part(operation=whole.operation, input=whole.input, resource=one) for one in resources]
    judge = engine(law).judge
    assert isinstance(judge(a_call(parts=tuple(parts[:1])), now=NOW), Allow)
    assert isinstance(judge(a_call(parts=tuple(parts)), now=NOW), Deny)
    missing = Part(operation=whole.operation, input=Input(missing=frozenset({"charge"})), resource=resources[0])
    assert isinstance(judge(a_call(parts=(parts[0], missing)), now=NOW), Deny)
