"""Who may act on which hold, and which votes still count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.electorate import Act, evidence, may_act
from policy.engine import Engine
from policy.hold import Hold, Vote
from policy.principal import Identity, Person
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Ask
from tests.fakes.values import ROBOT, a_ballot, a_call, a_hold
from tests.policy.enacted import NOW, REFUNDS, SHIPPED, a_person, a_refund, engine

STRICT = """@id("fresh-and-explained") @reason("Approving needs a second factor, a fresh sign-in and a reason.")
forbid (principal, action == Action::"approve", resource)
unless { context.methods.contains("mfa") && context has authAge && context.authAge < duration("15m")
  && context.reason != "" };
@id("not-by-chat") @reason("High tiers are approved in the console.")
forbid (principal, action == Action::"approve", resource is Held)
when { resource.tier == "high" && context.channel == "slack" };"""
LAW = engine(SHIPPED, REFUNDS)
ANN, CID, EVE, OLGA = (
    a_person("ann", "finance-leads"),
    a_person("cid", "cfo"),
    a_person("eve", "marketing"),
    a_person("olga", "finance-leads", "cfo"),
)
REQUESTED = replace(ROBOT, subject=Identity("corp:sam"), chain=(Identity("corp:broker"),))


def held(**changes: object) -> Hold:
    return a_hold(a_call(principal=REQUESTED), **changes)


def refusal(person: Person, act: Act = Act.APPROVE, hold: Hold | None = None, **changes: object) -> Reason | None:
    refused = may_act(changes.pop("law", LAW), person, act, hold or held(), now=NOW, **changes)  # type: ignore[arg-type]
    return refused.reason if refused else None


def test_a_person_whom_a_policy_permits_may_act() -> None:
    assert all(refusal(ANN, act) is None for act in Act)
    assert refusal(CID) is None


def test_a_person_whom_no_policy_permits_may_not_and_is_told_so() -> None:
    assert refusal(EVE) is Reason.NOT_ENTITLED
    refused = may_act(LAW, EVE, Act.VIEW, held(), now=NOW)
    assert refused is not None
    assert "No policy lets you view this call" in refused.detail


@pytest.mark.parametrize("who", ["robot", "olga", "sam", "broker"])
def test_nobody_who_asked_or_answers_for_the_agent_may_approve(who: str) -> None:
    boss = a_person(who, "finance-leads", "cfo", "administrators")
    assert refusal(boss) is Reason.OWN_CALL
    assert refusal(boss, Act.VIEW) is None
    assert refusal(boss, Act.WITHDRAW) is None


def test_no_grant_outweighs_four_eyes() -> None:
    law = engine(SHIPPED, '@id("all") permit (principal, action, resource);')
    assert refusal(a_person("olga", "administrators"), law=law) is Reason.OWN_CALL
    assert refusal(ANN, law=law) is None


def test_without_the_shipped_policies_four_eyes_is_not_assumed() -> None:
    assert refusal(OLGA, law=engine(REFUNDS)) is None


def test_a_group_that_reviews_one_upstream_does_not_review_another() -> None:
    other = a_hold(replace(a_call(), upstream="crm"))
    assert refusal(ANN, hold=other) is Reason.NOT_ENTITLED
    assert refusal(CID, hold=other) is None


def test_policies_may_ask_for_a_fresh_sign_in_a_second_factor_and_a_reason() -> None:
    law = engine(SHIPPED, REFUNDS, STRICT)
    fresh = replace(ANN, authenticated_at=int(NOW) - 60, methods=frozenset({"mfa"}))
    assert refusal(fresh, law=law, reason="checked") is None
    assert refusal(fresh, law=law, reason="") is Reason.NOT_ENTITLED
    assert refusal(replace(fresh, methods=frozenset()), law=law, reason="checked") is Reason.NOT_ENTITLED
    assert refusal(replace(fresh, authenticated_at=int(NOW) - 900), law=law, reason="x") is Reason.NOT_ENTITLED
    assert refusal(replace(fresh, authenticated_at=None), law=law, reason="checked") is Reason.NOT_ENTITLED
    assert refusal(fresh, law=law, reason="checked", channel="slack") is Reason.NOT_ENTITLED


def test_a_prohibition_tells_the_person_its_reason() -> None:
    refused = may_act(engine(SHIPPED, REFUNDS, STRICT), ANN, Act.APPROVE, held(), now=NOW)
    assert refused is not None
    assert "Approving needs a second factor" in refused.detail


def test_a_policy_that_errors_refuses_the_act() -> None:
    broken = """@id("broken") permit (principal, action in Action::"review", resource)
    when { context.req.weekday * 9223372036854775807 > 0 };"""
    law = engine(SHIPPED, REFUNDS, broken)
    refused = may_act(law, ANN, Act.APPROVE, held(), now=NOW + 86_400)
    assert refused is not None
    assert refused.reason is Reason.NOT_ENTITLED
    assert "could not be evaluated" in refused.detail


def test_policies_about_agents_do_not_let_people_in() -> None:
    law = engine(SHIPPED, '@id("all") permit (principal is Agent, action, resource);')
    assert refusal(ANN, law=law) is Reason.NOT_ENTITLED


def test_hostile_text_from_a_person_is_only_text() -> None:
    assert refusal(a_person('x"; permit(principal,action,resource); //'), reason='{"__entity":{}}') is (
        Reason.NOT_ENTITLED
    )
    assert refusal(a_person("\ud800", "finance-leads")) is Reason.NOT_ENTITLED


def voted(hold: Hold, *names: str) -> Hold:
    return replace(hold, ballots=tuple(a_ballot(hold, Identity(f"corp:{name}")) for name in names))


def today(*people: Person) -> dict[Identity, Person]:
    return {person.identity: person for person in people}


def test_votes_are_counted_in_distinct_people_of_configured_groups() -> None:
    ben = a_person("ben", "finance-leads", "unconfigured")
    found = evidence(LAW, voted(held(), "ann", "ben", "cid", "ann"), today(ANN, ben, CID), now=1_000_100.0)
    assert found == Approvals(
        count=3,
        by=frozenset({ANN.identity, ben.identity, CID.identity}),
        quorum=frozenset({"finance-leads:1", "finance-leads:2", "cfo:1"}),
        age_s=50.0,
    )


def test_a_quorum_never_exceeds_what_gates_may_ask_for() -> None:
    people = [a_person(f"p{n}", "finance-leads") for n in range(5)]
    hold = voted(held(), *(f"p{n}" for n in range(5)))
    assert evidence(LAW, hold, today(*people), now=NOW).quorum == {"finance-leads:1", "finance-leads:2"}


def test_without_votes_there_is_no_evidence() -> None:
    assert evidence(LAW, held(), today(ANN), now=NOW) == Approvals()


def test_a_voter_who_is_unknown_today_is_not_counted() -> None:
    assert evidence(LAW, voted(held(), "ann"), {}, now=NOW) == Approvals()
    assert evidence(LAW, voted(held(), "ann"), {ANN.identity: CID}, now=NOW) == Approvals()


def test_a_voter_who_left_the_group_is_not_counted() -> None:
    moved = a_person("ann", "marketing")
    assert evidence(LAW, voted(held(), "ann"), today(moved), now=NOW) == Approvals()


def test_a_voter_who_has_become_the_owner_is_not_counted() -> None:
    hold = voted(held(), "ann")
    owned = replace(hold, call=replace(hold.call, principal=replace(REQUESTED, owner=ANN.identity)))
    assert evidence(LAW, owned, today(ANN), now=NOW) == Approvals()


def test_a_vote_on_another_fingerprint_is_not_counted() -> None:
    hold = voted(held(), "ann")
    moved = replace(hold, fingerprint="f" * 64)
    assert evidence(LAW, moved, today(ANN), now=NOW) == Approvals()


def test_a_rejection_is_no_approval() -> None:
    hold = held()
    rejected = replace(hold, ballots=(a_ballot(hold, ANN.identity, Vote.REJECT),))
    assert evidence(LAW, rejected, today(ANN), now=NOW) == Approvals()


def test_a_vote_rests_on_the_sign_in_it_was_cast_with() -> None:
    law = engine(SHIPPED, REFUNDS, STRICT)
    hold = voted(held(), "ann")
    (ballot,) = hold.ballots
    fresh = replace(hold, ballots=(replace(ballot, authenticated_at=int(ballot.cast_at) - 60),))
    assert evidence(law, fresh, today(ANN), now=NOW).count == 1
    assert evidence(law, hold, today(ANN), now=NOW).count == 0
    plain = replace(hold, ballots=(replace(fresh.ballots[0], methods=frozenset()),))
    signed_in_again = replace(ANN, authenticated_at=int(NOW), methods=frozenset({"mfa"}))
    assert evidence(law, plain, today(signed_in_again), now=NOW).count == 0


def test_the_evidence_lifts_the_gate_that_asked_for_it() -> None:
    call = a_refund(25_000)
    assert isinstance(LAW.judge(call, now=NOW), Ask)
    found = evidence(LAW, voted(a_hold(call), "ann"), today(ANN), now=NOW)
    assert isinstance(LAW.judge(call, now=NOW, approvals=found), Allow)


@given(st.lists(st.sampled_from(["ann", "ben", "cid", "eve", "olga", "ghost"]), max_size=8))
def test_only_entitled_people_are_ever_counted_and_each_once(names: list[str]) -> None:
    people = today(ANN, a_person("ben", "finance-leads"), CID, EVE, OLGA)
    found = evidence(LAW, voted(held(), *names), people, now=NOW)
    assert found.by == {Identity(f"corp:{name}") for name in names if name in {"ann", "ben", "cid"}}
    assert found.count == len(found.by)


HOURS = """@id("by-day") permit (principal in Group::"day", action in Action::"review", resource)
when { context.req.now > datetime("2026-02-01T00:00:00Z") };"""
TRIED = [engine(SHIPPED, REFUNDS), engine(SHIPPED, REFUNDS, STRICT), engine(SHIPPED, REFUNDS, HOURS)]


@given(
    tries=st.lists(
        st.tuples(
            st.sampled_from([ANN, CID, EVE, OLGA, a_person("ann", "day"), replace(ANN, methods=frozenset({"mfa"}))]),
            st.sampled_from([*Act]),
            st.sampled_from([held(), held(fingerprint="other"), a_hold(a_refund(25_000))]),
            st.sampled_from(["", "checked", "half of a pair: \ud800"]),
            st.sampled_from(["api", "slack"]),
            st.sampled_from([NOW, NOW + 10_000_000]),
            st.sampled_from([None, NOW, NOW - 3600]),
        ),
        max_size=12,
    ),
    law=st.sampled_from(TRIED),
)
def test_what_was_answered_before_is_answered_as_if_it_were_asked_for_the_first_time(tries, law: Engine) -> None:
    for person, act, hold, reason, channel, now, signed_in in tries:
        who = replace(person, authenticated_at=signed_in)
        words = {"now": now, "reason": reason, "channel": channel}
        assert may_act(law, who, act, hold, **words) == may_act(Engine(law.bundle), who, act, hold, **words)
