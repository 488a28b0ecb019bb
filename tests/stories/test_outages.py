"""What fails beside the gate: the store, the upstream, the ledger's disk. Nothing goes twice, or off the record."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from policy.hold import State
from tests.fakes.house import House
from tests.fakes.upstream import drop
from tests.fakes.valkey import PrivateValkey

LEASED = ["held", "clicked approve", "moved approved", "released"]


async def test_a_hold_survives_the_death_of_the_store(open_house):
    with PrivateValkey() as server:
        async with open_house(store=server.url) as home:
            asked = home.begin(home.refund())
            held = await home.wait_for_hold()
            ann = home.person("ann")
            assert (await ann.see(held)).status == 200

            server.kill()
            other = await home.refund(26_000)
            click = await ann.ask("POST", f"/v1/holds/{held.call.id}/approve", {"fingerprint": held.fingerprint})
            assert (other.status, other.json["reason"]) == (503, "store-unavailable")
            assert "retry-after" in other.headers
            assert click.status == 503
            assert home.upstream.received == []

            server.start()
            survived = await home.wait_until(held, State.PENDING)
            assert survived == held
            assert (await ann.approve(held)).status == 200
            assert (await asked).status == 200
            assert len(home.upstream.received) == 1
            assert await home.told(held, ends="concluded") == [*LEASED, "concluded executed"]
            assert await home.told(other.call) == ["refused store-unavailable"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_upstream_that_drops_an_allowed_call_sees_it_once(home: House, method: str):
    home.upstream.default = drop()

    answer = await home.call(method, "/crm/notes/1", document={"title": "x"})

    assert (answer.status, answer.json["reason"]) == (502, "upstream-broke-off")
    assert answer.headers["x-should-retry"] == "false"
    assert [one.method for one in home.upstream.received] == [method]
    assert await home.told(answer.call, ends="concluded") == ["judged allow", "concluded upstream-broke-off"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_upstream_that_drops_an_approved_call_sees_it_once_and_its_outcome_is_unknown(
    home: House, method: str
):
    home.upstream.default = drop()
    asked = home.begin(home.call(method, "/crm/archive/1", document={"title": "x"}))
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)

    answer = await asked

    assert (answer.status, answer.json["reason"]) == (502, "upstream-broke-off")
    assert answer.headers["x-should-retry"] == "false"
    assert (await home.wait_until(held, State.UNKNOWN)).lease is not None
    assert await home.told(held, ends="concluded") == [*LEASED, "concluded unknown"]

    # A repeat finds the outcome, not the upstream.
    again = await home.call(method, "/crm/archive/1", document={"title": "x"})
    assert (again.status, again.call) == (502, held.call.id)
    assert [one.method for one in home.upstream.received] == [method]


async def test_an_unreachable_upstream_fails_the_hold_and_nothing_was_sent(home: House):
    await home.upstream.close()
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()
    await home.person("ann").approve(held)

    answer = await asked

    assert (answer.status, answer.json["reason"]) == (503, "upstream-unreachable")
    assert "Nothing was sent" in answer.json["detail"]
    assert (await home.wait_until(held, State.FAILED)).lease is not None
    assert home.upstream.received == []
    assert await home.told(held, ends="concluded") == [*LEASED, "concluded failed"]


async def test_a_call_that_failed_before_it_was_sent_may_be_asked_for_again(home: House):
    await home.upstream.close()
    asked = home.begin(home.refund())
    failed = await home.wait_for_hold()
    await home.person("ann").approve(failed)
    assert (await asked).status == 503
    await home.upstream.reopen()

    again = home.begin(home.refund())
    held = await home.wait_for_hold(besides=[failed])
    await home.person("ann").approve(held)

    assert (await again).status == 200
    assert len(home.upstream.received) == 1


@pytest.mark.parametrize("amount", [5_000, 25_000])
async def test_a_ledger_that_cannot_be_written_stops_calls_before_they_are_sent(home: House, amount: int):
    with full_disk(home):
        answer = await home.refund(amount)

        assert (answer.status, answer.json["reason"]) == (503, "ledger-unavailable")
        assert "retry-after" in answer.headers
        assert home.upstream.received == []
        assert await home.open_holds() == []

    assert (await home.refund(5_000)).status == 200


async def test_an_approval_that_cannot_be_recorded_sends_nothing(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()
    with full_disk(home):
        click = await home.person("ann").approve(held)
        answer = await asked

    assert (click.status, click.json["reason"]) == (503, "ledger-unavailable")
    assert (answer.status, answer.json["reason"]) == (503, "ledger-unavailable")
    assert (await home.wait_until(held, State.FAILED)).conclusion is not None
    assert home.upstream.received == []
    assert await home.told(held) == ["held"]


@contextmanager
def full_disk(home: House) -> Iterator[None]:
    """No file of this process can grow beyond the ledger's, and so neither can that."""
    home.verify_ledger()
    (segment,) = home.ledger.glob("*/*.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
