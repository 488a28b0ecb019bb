"""Targets that hide what they name are refused; the others reach the gate byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.reasons import Reason
from proxy.doors.target import refuse_target
from tests.fakes.agents_door import RecordingGate, opened, request, sent, status_of, statuses_of
from tests.hostile.corpus import CLEAN_TARGETS, TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_an_ambiguous_target_is_refused(target: str) -> None:
    refused = refuse_target(target)
    assert refused is not None
    assert refused.reason is Reason.AMBIGUOUS_TARGET


async def test_the_door_answers_an_ambiguous_target_with_400_and_asks_nobody() -> None:
    gate = RecordingGate()
    wrong = []
    async with opened(gate) as door:
        for target in TARGETS:
            raw = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1")
            answer = await sent(door, raw + request("/api/smuggled"))
            if statuses_of(answer) != [400]:
                wrong.append(target)
    assert wrong == []
    assert gate.arrivals == []


async def test_a_clean_target_reaches_the_gate_byte_for_byte() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        for target in CLEAN_TARGETS:
            assert status_of(await sent(door, request(target, "Connection: close"))) == 200, target
    seen = ["/api" + arrival.target.raw for arrival in gate.arrivals]
    # A bare prefix names the upstream's root.
    assert seen == ["/api/", *CLEAN_TARGETS[1:]]


async def test_a_prefix_in_another_case_or_longer_leads_nowhere() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        for target in ("/API/x", "/apix", "/", "/admin", "/ap"):
            assert status_of(await sent(door, request(target))) == 404
    assert gate.arrivals == []


async def test_head_and_options_are_calls_like_any_other() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        for method in ("HEAD", "OPTIONS"):
            await sent(door, request("/api/x", "Connection: close", method=method))
    assert [arrival.target.method for arrival in gate.arrivals] == ["HEAD", "OPTIONS"]


@given(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40))
def test_what_is_taken_has_no_second_reading(text: str) -> None:
    target = "/" + text
    if refuse_target(target):
        return
    path = target.partition("?")[0]
    assert "#" not in target
    assert ";" not in target
    assert "\\" not in target
    assert not {".", ".."} & set(path.split("/"))
    assert "//" not in path
    assert "%2e" not in path.lower()
    assert "%2f" not in path.lower()
