"""The life of a hold, move by move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import hold as moves
from policy.hold import FINAL, MOVES, Conclusion, Hold, Lease, State, Vote
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Refused
from tests.fakes.values import a_ballot, a_hold

ANN, BEN = Identity("corp:ann"), Identity("corp:ben")
NOW = 1_000_100.0


def test_an_approval_short_of_quorum_leaves_the_hold_pending_with_one_more_ballot() -> None:
    hold = a_hold()
    counted = moves.count(hold, a_ballot(hold, ANN), NOW)
    assert isinstance(counted, Hold)
    assert (counted.state, counted.revision, len(counted.ballots)) == (State.PENDING, hold.revision + 1, 1)


def test_a_second_approval_of_the_same_person_does_not_count() -> None:
    hold = a_hold()
    once = moves.count(hold, a_ballot(hold, ANN), NOW)
    assert isinstance(once, Hold)
    again = moves.count(once, a_ballot(hold, ANN), NOW)
    assert isinstance(again, Refused)
    assert again.reason is Reason.ALREADY_VOTED


def test_a_ballot_on_another_fingerprint_is_refused() -> None:
    hold = a_hold()
    other = replace(a_ballot(hold, ANN), fingerprint="0" * 64)
    refused = moves.count(hold, other, NOW)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.FINGERPRINT_CHANGED


def test_a_rejection_ends_the_hold_with_the_reviewers_words() -> None:
    hold = a_hold()
    rejected = moves.count(hold, a_ballot(hold, BEN, Vote.REJECT, reason="wrong customer"), NOW)
    assert isinstance(rejected, Hold)
    assert rejected.state is State.REJECTED
    assert rejected.settled_by == BEN
    assert rejected.conclusion == Conclusion(reason=Reason.REJECTED, detail="wrong customer", at=NOW)


def test_an_approval_after_the_deadline_is_refused_and_says_so() -> None:
    hold = a_hold()
    late = moves.approve(hold, a_ballot(hold, ANN), hold.decide_by)
    assert isinstance(late, Refused)
    assert late.reason is Reason.EXPIRED


def test_an_approval_is_good_for_as_long_as_the_hold_says() -> None:
    hold = a_hold()
    approved = moves.approve(hold, a_ballot(hold, ANN), NOW)
    assert isinstance(approved, Hold)
    assert approved.execute_by == NOW + hold.execute_within_s
    assert isinstance(moves.expire(approved, NOW + hold.execute_within_s - 1), Refused)
    lapsed = moves.expire(approved, NOW + hold.execute_within_s)
    assert isinstance(lapsed, Hold)
    assert lapsed.state is State.LAPSED


def test_a_lapsed_approval_cannot_be_leased() -> None:
    hold = a_hold()
    approved = moves.approve(hold, a_ballot(hold, ANN), NOW)
    assert isinstance(approved, Hold)
    lease = Lease(replica="r1", fence="1", until=NOW + 9_999)
    refused = moves.lease(approved, lease, NOW + hold.execute_within_s)
    assert isinstance(refused, Refused)


def test_nothing_expires_before_its_time() -> None:
    hold = a_hold()
    assert isinstance(moves.expire(hold, hold.decide_by - 0.001), Refused)
    expired = moves.expire(hold, hold.decide_by)
    assert isinstance(expired, Hold)
    assert expired.state is State.EXPIRED


def test_a_sender_that_vanished_leaves_the_outcome_unknown() -> None:
    releasing = _releasing()
    assert isinstance(moves.expire(releasing, NOW), Refused)
    lost = moves.expire(releasing, NOW + 60)
    assert isinstance(lost, Hold)
    assert lost.state is State.UNKNOWN


def test_only_the_holder_of_the_lease_concludes() -> None:
    releasing = _releasing()
    end = Conclusion(reason=Reason.EXECUTED, upstream_status=200, at=NOW)
    assert isinstance(moves.conclude(releasing, State.EXECUTED, end, fence="2"), Refused)
    assert isinstance(moves.conclude(releasing, State.EXECUTED, end, fence=None), Refused)
    done = moves.conclude(releasing, State.EXECUTED, end, fence="1")
    assert isinstance(done, Hold)
    assert done.state is State.EXECUTED


def test_a_person_reconciles_an_unknown_outcome_once() -> None:
    lost = moves.expire(_releasing(), NOW + 60)
    assert isinstance(lost, Hold)
    end = Conclusion(reason=Reason.EXECUTED, at=NOW)
    known = moves.conclude(lost, State.EXECUTED, end, fence=None)
    assert isinstance(known, Hold)
    assert isinstance(moves.conclude(known, State.FAILED, end, fence=None), Refused)


def test_a_hold_reopened_after_its_deadline_lapses_instead() -> None:
    hold = a_hold()
    approved = moves.approve(hold, a_ballot(hold, ANN), NOW)
    assert isinstance(approved, Hold)
    again = moves.reopen(approved, hold.decide_by, gates=(), policies=())
    assert isinstance(again, Hold)
    assert again.state is State.LAPSED


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_final_hold_refuses_every_move_and_names_who_settled_it(state: State) -> None:
    hold = replace(a_hold(), state=state, settled_name="Ann")
    ballot = a_ballot(hold, BEN)
    end = Conclusion(reason=Reason.EXECUTED, at=NOW)
    tried = [
        moves.count(hold, ballot, NOW),
        moves.approve(hold, ballot, NOW),
        moves.expire(hold, NOW + 1e9),
        moves.withdraw(hold, ANN, "Ann", "", NOW),
        moves.lease(hold, Lease(replica="r", fence="9", until=NOW), NOW),
        moves.reopen(hold, NOW, gates=(), policies=()),
        moves.deny(hold, Reason.FORBIDDEN, "", NOW),
        moves.conclude(hold, State.EXECUTED, end, fence=None),
    ]
    assert all(isinstance(result, Refused) for result in tried)
    first = tried[0]
    assert isinstance(first, Refused)
    assert "Ann" in first.detail


def test_waiting_never_turns_into_approval() -> None:
    assert not any(State.APPROVED in nexts for state, nexts in MOVES.items() if state is not State.PENDING)


@given(st.lists(st.tuples(st.sampled_from("avrxwld"), st.integers(0, 5_000)), max_size=30))
def test_however_moves_are_tried_the_table_is_kept_and_revisions_only_grow(tries: list[tuple[str, int]]) -> None:
    hold, now = a_hold(), NOW
    for move, later in tries:
        now += later
        after = _try(hold, move, now)
        if isinstance(after, Refused):
            continue
        assert after.state in MOVES[hold.state]
        assert after.revision == hold.revision + 1
        hold = after


def _try(hold: Hold, move: str, now: float) -> Hold | Refused:
    ballot = a_ballot(hold, Identity(f"corp:p{now}"))
    lease = Lease(replica="r1", fence="1", until=now + 30)
    end = Conclusion(reason=Reason.EXECUTED, at=now)
    return {
        "a": lambda: moves.approve(hold, ballot, now),
        "v": lambda: moves.count(hold, ballot, now),
        "r": lambda: moves.count(hold, replace(ballot, vote=Vote.REJECT), now),
        "x": lambda: moves.expire(hold, now),
        "w": lambda: moves.withdraw(hold, ANN, "Ann", "", now),
        "l": lambda: moves.lease(hold, lease, now),
        "d": lambda: moves.conclude(hold, State.EXECUTED, end, fence="1"),
    }[move]()


def _releasing() -> Hold:
    hold = a_hold()
    approved = moves.approve(hold, a_ballot(hold, ANN), NOW)
    assert isinstance(approved, Hold)
    leased = moves.lease(approved, Lease(replica="r1", fence="1", until=NOW + 60), NOW)
    assert isinstance(leased, Hold)
    return leased
