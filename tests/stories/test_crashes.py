"""kill -9 between any two steps of a release: nothing goes twice, nothing goes off the record, nothing is lost.

A click and an agent at one gate that dies (approval and lease are one write there), and a click at a gate that lives
for an agent at one that dies.
"""

from __future__ import annotations

import asyncio

import pytest

from policy.hold import Hold, State, expire
from policy.verdict import Refused
from tests.fakes.house import House, bearer, eventually
from tests.fakes.mortal import STEPS, MortalGate, mortal

REFUND = {"charge": "ch_1", "amount": "25000", "currency": "eur"}
UNSENT = STEPS[: STEPS.index("upstream answered")]
SENT = STEPS[STEPS.index("upstream answered") :]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("clicked_at", ["the gate that dies", "another gate"])
async def test_a_gate_that_is_killed_at_a_step_sent_at_most_once_and_never_without_its_intent(
    home: House, step: str, clicked_at: str
):
    async with mortal(home, step=step) as gate:
        token = home.agent_token()
        held = await _held(home, gate, token)
        # At another gate the click succeeds; the one that dies cannot answer it.
        clicking = home.begin(_clicked(home, gate if clicked_at == "the gate that dies" else home, held))
        await gate.dead()
        await asyncio.wait({clicking})

        assert len(home.upstream.received) == (step in SENT)
        if home.upstream.received:
            assert "released" in gate.kinds(held.call.id)
        left = await home.gate.store.read(held.call.id)
        assert left is not None
        assert left.state is _state_left(step, clicked_at)

        # Whoever asks again finds what was decided, at the gate that lives.
        again = home.begin(home.refund(token=token))
        if left.state is State.PENDING:
            await home.told(held, ends="attached")
            assert (await home.person("ann").approve(left)).status == 200
        if left.state is State.RELEASING:
            await _lease_runs_out(home, left)
        answer = await again

    assert len(home.upstream.received) == (left.state is not State.RELEASING or step in SENT)
    assert answer.call == held.call.id
    assert answer.status == (502 if left.state is State.RELEASING else 200)


def _state_left(step: str, clicked_at: str) -> State:
    if step == "before the lease":
        return State.PENDING if clicked_at == "the gate that dies" else State.APPROVED
    return State.EXECUTED if step == "conclusion kept" else State.RELEASING


async def _held(home: House, gate: MortalGate, token: str) -> Hold:
    home.begin(_hanging_up(home, gate, token))

    async def found() -> Hold | None:
        return next((one for one in await home.open_holds() if "held" in gate.kinds(one.call.id)), None)

    return await eventually(found)


async def _hanging_up(home: House, gate: MortalGate, token: str) -> None:
    await home.knock("POST", f"{gate.agents}/stripe/v1/refunds", headers=bearer(token), form=REFUND)


async def _clicked(home: House, at: MortalGate | House, held: Hold) -> None:
    url = at.approvers if isinstance(at, MortalGate) else at.gate.approvers_url
    headers = bearer(home.person_token("ann"))
    seen = (await home.knock("GET", f"{url}/v1/holds/{held.call.id}", headers=headers)).json
    decision = {"fingerprint": seen["fingerprint"], "shown": seen["shown"]}
    await home.knock("POST", f"{url}/v1/holds/{held.call.id}/approve", headers=headers, document=decision)


async def _lease_runs_out(home: House, left: Hold) -> None:
    """What the clocks of every replica do when its time is over."""
    assert left.lease is not None
    over = expire(left, left.lease.until)
    assert not isinstance(over, Refused)
    assert await home.gate.store.keep(left, over) is not None
