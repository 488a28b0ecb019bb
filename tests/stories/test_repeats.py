"""Clients that leave, ask later, or ask again: one hold, one execution, and the answer for whoever comes back."""

from __future__ import annotations

from policy.hold import State
from tests.fakes.house import POLICIES, House
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


WITHDRAWING = POLICIES.replace('@id("refund-over-100") ', '@id("refund-over-100") @on_client_gone("withdraw") ')
KEEPING = POLICIES.replace('@id("refund-over-100") ', '@id("refund-over-100") @on_client_gone("keep") ')


async def test_a_gate_may_ask_that_its_holds_end_with_their_client(open_house):
    async with open_house(policies=WITHDRAWING) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()

        await home.wait_until(held, State.WITHDRAWN)

        assert await home.told(held, ends="moved") == ["held", "moved withdrawn"]


async def test_of_two_gates_the_one_that_says_withdraw_counts(open_house):
    async with open_house(policies=KEEPING.replace('@id("refund-over-1000") ', TOO)) as home:
        asked = home.begin(home.refund(250_000))
        held = await home.wait_for_hold()
        assert held.obligations.on_client_gone == "withdraw"
        asked.cancel()
        await home.wait_until(held, State.WITHDRAWN)


TOO = '@id("refund-over-1000") @on_client_gone("withdraw") '


async def test_a_gate_that_says_keep_keeps_what_the_settings_would_withdraw(open_house):
    async with open_house(policies=KEEPING, holds={"on_client_gone": "withdraw", "detached_after_s": 0}) as home:
        asked = home.begin(home.refund())
        held = await home.wait_for_hold()
        asked.cancel()
        await home.shown_as_left(held)

        await home.person("ann").approve(held)

        await home.wait_until(held, State.EXECUTED)
        assert len(home.upstream.received) == 1


async def test_a_hold_that_is_to_end_with_its_client_lives_while_a_client_waits_at_another_replica(open_house):
    async with open_house(policies=WITHDRAWING) as home, home.beside() as other:
        token = home.agent_token()
        here = home.begin(home.refund(token=token))
        held = await home.wait_for_hold()
        there = other.begin(other.refund(token=token))
        await other.told(held, ends="attached")
        here.cancel()
        await home.waiting_for(held, 1)

        await home.person("ann").approve(held)

        assert (await there).status == 200
        assert len(home.upstream.received) == 1


async def test_the_last_client_to_leave_ends_the_hold_at_whichever_replica_it_waited(open_house):
    async with open_house(policies=WITHDRAWING) as home, home.beside() as other:
        token = home.agent_token()
        here = home.begin(home.refund(token=token))
        held = await home.wait_for_hold()
        there = other.begin(other.refund(token=token))
        await other.told(held, ends="attached")
        here.cancel()
        await home.waiting_for(held, 1)
        there.cancel()

        await home.wait_until(held, State.WITHDRAWN)

        assert await other.told(held, ends="moved") == ["attached", "moved withdrawn"]
        assert home.upstream.received == []


async def test_a_hold_that_is_to_end_with_its_client_is_never_sent_without_one(open_house):
    async with open_house(policies=WITHDRAWING, holds={"detached_after_s": 0}) as home:
        told = await home.refund(headers={"Prefer": "wait=0"})
        assert told.json["reason"] == "approval-pending"
        (held,) = await home.open_holds()

        await home.person("ann").approve(held)

        ended = await home.wait_until(held, State.WITHDRAWN)
        assert (ended.settled_by, home.upstream.received) == ("corp:bot", [])
        assert await home.told(held, ends="moved withdrawn") == [
            "held",
            "clicked approve",
            "moved approved",
            "moved withdrawn",
        ]


async def test_a_client_that_asked_to_be_told_later_has_not_left(open_house):
    async with open_house(policies=WITHDRAWING, holds={"detached_after_s": 0}) as home:
        answer = await home.refund(headers={"Prefer": "respond-async"})
        held = await home.wait_for_hold()
        passing = home.begin(home.refund())
        await home.told(held, ends="attached")
        passing.cancel()
        await home.waiting_for(held, 1)
        assert (await home.person("ann").see(held)).json["client_left"] is False

        await home.person("ann").approve(held)

        await home.wait_until(held, State.EXECUTED)
        assert (await home.status(answer.call)).status == 200


async def test_whoever_decides_sees_that_the_client_has_left(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()
    waiting = await home.person("ann").see(held)
    asked.cancel()
    await home.shown_as_left(held)

    left = await home.person("ann").see(held)

    assert (waiting.json["client_left"], left.json["client_left"]) == (False, True)
    assert waiting.json["shown"] == left.json["shown"]


async def test_a_client_that_is_told_to_come_back_is_shown_as_gone_until_it_does(home: House):
    await home.refund(headers={"Prefer": "wait=0"})
    (held,) = await home.open_holds()
    assert (await home.person("ann").see(held)).json["client_left"] is True

    home.begin(home.refund())
    await home.told(held, ends="attached")

    await home.waiting_for(held, 1)
    assert (await home.person("ann").see(held)).json["client_left"] is False


async def test_a_retry_that_says_it_is_one_gets_the_response_that_seemed_to_reach_somebody(home: House):
    home.upstream.script(reply(201, REFUNDED))
    asked = home.begin(home.refund(headers={"x-stainless-retry-count": "0"}))
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)
    first = await asked

    again = await home.refund(headers={"x-stainless-retry-count": "1"})
    third = await home.refund(headers={"amz-sdk-request": "attempt=2; max=5"})

    assert [(one.status, one.body, one.call) for one in (first, again, third)] == [(201, REFUNDED, held.call.id)] * 3
    assert [one.headers.get("assentry-replayed") for one in (first, again, third)] == [None, "true", "true"]
    assert len(home.upstream.received) == 1

    # A count of zero says nothing, so the next like call is meant as a new one.
    home.begin(home.refund(headers={"x-stainless-retry-count": "0"}))
    await home.wait_for_hold(besides=[held])


async def test_two_like_calls_at_once_are_one_call_unless_their_keys_say_otherwise(home: House):
    first = home.begin(home.refund(headers={"x-stainless-retry-count": "0"}))
    held = await home.wait_for_hold()
    second = home.begin(home.refund(headers={"x-stainless-retry-count": "0"}))
    await home.told(held, ends="attached")
    home.begin(home.refund(headers={"Idempotency-Key": "another"}))
    await home.wait_for_hold(besides=[held])

    await home.person("ann").approve(held)

    answers = [await first, await second]
    assert [one.call for one in answers] == [held.call.id] * 2
    assert sorted(one.headers.get("assentry-replayed", "") for one in answers) == ["", "true"]
    assert len(home.upstream.received) == 1


async def test_an_invocation_id_is_a_key(home: House):
    asked = home.begin(home.refund(25_000, headers={"amz-sdk-invocation-id": "one"}))
    held = await home.wait_for_hold()

    other = await home.refund(26_000, headers={"amz-sdk-invocation-id": "one"})

    assert (other.status, other.json["reason"]) == (422, "idempotency-key-reused")
    await home.person("ann").approve(held)
    assert (await asked).status == 200


async def test_a_key_means_its_call_for_as_long_as_the_settings_say(open_house):
    async with open_house(holds={"idempotency_key_s": 1}) as home:
        key = {"Idempotency-Key": "order-1042"}
        asked = home.begin(home.refund(headers=key))
        held = await home.wait_for_hold()
        await home.person("ann").approve(held)
        assert (await asked).status == 200
        ended = await home.wait_until(held, State.EXECUTED)
        assert ended.conclusion is not None
        await home.wait_for_time(ended.conclusion.at + 1)

        home.begin(home.refund(headers=key))
        await home.wait_for_hold(besides=[held])


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


async def test_an_agent_whose_held_calls_are_too_large_together_is_told_to_wait(open_house):
    async with open_house(holds={"bytes_per_agent": 100}) as home:
        later = {"Prefer": "respond-async"}
        first = await home.call("POST", "/crm/no/such/thing", body=b"x" * 60, headers=later)
        held = await home.wait_for_hold()

        second = await home.call("POST", "/crm/no/such/thing", body=b"y" * 60, headers=later)
        small = await home.call("POST", "/crm/no/such/thing", body=b"z" * 40, headers=later)
        repeat = await home.call("POST", "/crm/no/such/thing", body=b"x" * 60, headers=later)
        others = await home.call(
            "POST", "/crm/no/such/thing", body=b"y" * 60, headers=later, token=home.agent_token("other")
        )

        assert (second.status, second.json["reason"], second.json["retryable"]) == (429, "too-many-held", True)
        assert "too large together" in second.json["detail"]
        assert "retry-after" in second.headers
        assert [one.status for one in (first, small, repeat, others)] == [202] * 4

        # What is decided makes room.
        await home.person("ann").reject(held, "no")
        await home.wait_until(held, State.REJECTED)
        assert (await home.call("POST", "/crm/no/such/thing", body=b"y" * 60, headers=later)).status == 202
