from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.call import Call, Input, Sensitivity
from policy.hold import Ballot, Conclusion, Hold, Lease
from proxy.errors import BrokenPromise, CallerFault
from proxy.holds.documents import from_json, to_json
from tests.fakes.values import a_hold

TIMES = st.floats(min_value=0, max_value=1e12)
VALUES = st.one_of(
    st.text(max_size=5),
    st.integers(),
    st.booleans(),
    st.lists(st.text(max_size=5), max_size=3).map(lambda each: tuple(sorted(each))),
)
INPUTS = st.builds(Input, values=st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
SENSITIVITIES = st.builds(
    Sensitivity,
    counts=st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    paths=st.dictionaries(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2).map(tuple), max_size=2),
)
HOLDS = st.builds(
    Hold,
    call=st.builds(Call, input=INPUTS, sensitivity=SENSITIVITIES, received_at=TIMES),
    ballots=st.lists(st.builds(Ballot, cast_at=TIMES), max_size=2).map(tuple),
    lease=st.none() | st.builds(Lease, until=TIMES),
    conclusion=st.none() | st.builds(Conclusion, at=TIMES),
    opened_at=TIMES,
    decide_by=TIMES,
    execute_by=st.none() | TIMES,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(hold=HOLDS)
def test_a_hold_comes_back_from_the_store_as_it_went_in(hold: Hold):
    assert from_json(to_json(hold)) == hold


@given(values=st.dictionaries(st.text(max_size=5), VALUES, max_size=8))
def test_input_values_keep_their_types(values: dict[str, str | int | bool | tuple[str, ...]]):
    hold = a_hold()
    hold = replace(hold, call=replace(hold.call, input=Input(values=values)))
    back = from_json(to_json(hold)).call.input.values
    assert back == values
    # 1 == True in Python; to Cedar they are different things.
    assert {name: type(value) for name, value in back.items()} == {name: type(value) for name, value in values.items()}


def test_a_read_only_mapping_is_as_good_as_a_dict():
    hold = a_hold()
    hold = replace(hold, call=replace(hold.call, input=Input(values=MappingProxyType({"amount": 1}))))
    assert from_json(to_json(hold)).call.input.values == {"amount": 1}


def test_a_field_that_a_later_version_added_is_left_out():
    assert from_json(b'{"added_later":1,' + to_json(a_hold())[1:]) == a_hold()


def test_text_that_is_not_unicode_is_the_callers_fault():
    hold = a_hold()
    with pytest.raises(CallerFault):
        to_json(replace(hold, call=replace(hold.call, input=Input(values={"note": "\ud800"}))))


def test_what_cannot_be_read_is_not_quoted():
    with pytest.raises(BrokenPromise) as caught:
        from_json(b'{"secret":"canary"')
    assert caught.value.__cause__ is None
    assert "canary" not in str(caught.value)
