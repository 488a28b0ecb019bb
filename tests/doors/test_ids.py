"""Call ids."""

from __future__ import annotations

import re

from proxy.ids import new_call_id


def test_ids_have_the_documented_form_and_sort_by_time() -> None:
    early, late = new_call_id(lambda: 1_700_000_000.0), new_call_id(lambda: 1_700_000_000.001)
    assert re.fullmatch(r"call_[0-9A-HJKMNP-TV-Z]{26}", early)
    # The first ten digits of a ULID are its milliseconds.
    assert early[5:15] == "01HF7YAT00"
    assert early < late


def test_no_two_ids_of_one_millisecond_are_equal() -> None:
    assert len({new_call_id(lambda: 1_700_000_000.0) for _ in range(10_000)}) == 10_000
