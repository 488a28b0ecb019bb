"""Clients that leave, ask later, or ask again: one hold, one execution, and the answer for whoever comes back."""

from __future__ import annotations

from policy.hold import State
from tests.fakes.house import House
from tests.fakes.upstream import reply

REFUNDED = b'{"id": "re_1"}'


async def test_a_call_whose_agent_left_is_sent_once_and_its_response_waits(open_house):
    async with open_house(holds={"detached_after_s": 0}) as home:
        home.upstream.script(reply(201, REFUNDED))
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()
        await home.person("ann").approve(held)
        await home.wait_until(held, State.EXECUTED)

        status = await home.status(held.call.id)
        stranger = await home.status(held.call.id, token=home.agent_token("other"))

        assert (status.status, status.body, status.headers["assentry-replayed"]) == (201, REFUNDED, "true")
        assert (stranger.status, stranger.json["reason"]) == (404, "no-such-hold")
        assert len(home.upstream.received) == 1
        assert await home.told(held, ends="concluded") == [
            "held",
            "clicked approve",
            "moved approved",
            "released",
            "concluded executed",
        ]
        assert home.ledger_records(held)[3]["detached"] is True


async def test_the_repeat_of_a_call_that_was_sent_without_its_agent_gets_the_response(open_house):
    async with open_house(holds={"detached_after_s": 0}) as home:
        home.upstream.script(reply(201, REFUNDED))
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()
        await home.person("ann").approve(held)
        await home.wait_until(held, State.EXECUTED)

        again = await home.refund()

        assert (again.status, again.body, again.call) == (201, REFUNDED, held.call.id)
        assert again.headers["assentry-replayed"] == "true"
        assert len(home.upstream.received) == 1
        assert len(await home.holds()) == 1
        assert (await home.told(held, ends="attached"))[-1] == "attached"

        # Delivered to somebody, so the next like call is meant as a new one.
        anew = home.begin(home.refund())
        await home.wait_for_hold(besides=[held])
        anew.cancel()


async def test_a_hold_that_is_to_end_with_its_client_is_withdrawn_when_the_client_leaves(open_house):
    async with open_house(holds={"on_client_gone": "withdraw"}) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()

        withdrawn = await home.wait_until(held, State.WITHDRAWN)
        late = await home.person("ann").approve(held)

        assert withdrawn.settled_by == "corp:bot"
        assert (late.status, late.json["reason"]) == (409, "already-decided")
        assert home.upstream.received == []
        assert await home.told(held, ends="moved") == ["held", "moved withdrawn"]


async def test_a_hold_that_is_to_end_with_its_client_lives_while_a_repeat_of_it_waits(open_house):
    async with open_house(holds={"on_client_gone": "withdraw"}) as home:
        first = home.begin(home.refund())
        held = await home.wait_for_hold()
        second = home.begin(home.refund())
        await home.told(held, ends="attached")
        first.cancel()

        await home.person("ann").approve(held)

        assert (await second).status == 200
        assert len(home.upstream.received) == 1


async def test_a_client_that_prefers_not_to_wait_gets_202_and_the_response_later(open_house):
    async with open_house(holds={"detached_after_s": 0}) as home:
        home.upstream.script(reply(201, REFUNDED))

        answer = await home.refund(headers={"Prefer": "respond-async"})

        assert (answer.status, answer.headers["preference-applied"]) == (202, "respond-async")
        assert "retry-after" in answer.headers
        location = answer.headers["location"]
        assert location == f"{home.gate.agents_url}/v1/calls/{answer.call}"
        assert home.upstream.received == []
        assert (await home.status(answer.call)).status == 202

        held = await home.wait_for_hold()
        await home.person("ann").approve(held)
        await home.wait_until(held, State.EXECUTED)

        later = await home.status(answer.call)
        assert (later.status, later.body, later.headers["assentry-replayed"]) == (201, REFUNDED, "true")
        assert len(home.upstream.received) == 1


async def test_a_client_that_preferred_not_to_wait_learns_of_the_rejection(home: House):
    answer = await home.refund(headers={"Prefer": "respond-async"})
    await home.person("ann").reject(await home.wait_for_hold(), "Not ours")

    later = await home.status(answer.call)

    assert (later.status, later.json["reason"], later.json["decision_reason"]) == (403, "rejected", "Not ours")
    assert home.upstream.received == []


async def test_an_idempotency_key_with_another_body_is_refused(home: House):
    key = {"Idempotency-Key": "order-1042"}
    asked = home.begin(home.refund(25_000, headers=key))
    held = await home.wait_for_hold()

    other = await home.refund(26_000, headers=key)

    assert (other.status, other.json["reason"]) == (422, "idempotency-key-reused")
    assert len(await home.holds()) == 1
    assert await home.told(other.call) == ["refused idempotency-key-reused"]

    await home.person("ann").approve(held)
    assert (await asked).status == 200
    assert [one.header("idempotency-key") for one in home.upstream.received] == ["order-1042"]


async def test_the_same_idempotency_key_gets_the_same_response_however_often_it_comes(home: House):
    key = {"Idempotency-Key": "order-1042"}
    home.upstream.script(reply(201, REFUNDED))
    asked = home.begin(home.refund(headers=key))
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)
    first = await asked

    repeats = [await home.refund(headers=key) for _ in range(3)]

    assert [(one.status, one.body, one.call) for one in (first, *repeats)] == [(201, REFUNDED, held.call.id)] * 4
    assert [one.headers.get("assentry-replayed") for one in (first, *repeats)] == [None, "true", "true", "true"]
    assert len(home.upstream.received) == 1


async def test_an_agent_with_too_many_open_holds_is_told_to_wait(open_house):
    async with open_house(holds={"open_per_agent": 2}) as home:
        for amount in (20_000, 30_000):
            await home.refund(amount, headers={"Prefer": "respond-async"})

        third = await home.refund(40_000)

        assert (third.status, third.json["reason"]) == (429, "too-many-held")
        assert await home.told(third.call) == ["refused too-many-held"]
        assert len(await home.open_holds()) == 2
        assert home.upstream.received == []
