"""How much of one agent is held: its bytes beside its number, whatever becomes of the holds and of the lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from policy.hold import Hold, State, withdraw
from policy.principal import Identity
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.holds.connection import StoreConnection
from proxy.holds.store import HoldStore, Opened
from tests.holds.held import approved, expired, fresh, kept, leased, opened


async def ask(store: HoldStore, digit: str, length: int, **facts: object) -> Opened | Refused:
    hold = await fresh(store, body_digest=digit * 64, body_length=length, **facts)
    return await store.open(hold, b"x" * length)


async def held(store: HoldStore, digit: str, length: int) -> Hold:
    return await opened(store, b"x" * length, body_digest=digit * 64, body_length=length)


async def withdrawn(store: HoldStore, hold: Hold) -> None:
    await kept(store, hold, withdraw(hold, Identity("corp:robot"), "robot", "", await store.now()))


def too_large(got: Opened | Refused) -> bool:
    if isinstance(got, Opened):
        return False
    assert got.reason is Reason.TOO_MANY_HELD
    return "too large together" in got.detail


async def test_an_agents_held_bytes_have_a_limit_and_others_do_not_count(
    connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    store = new_store(connection, bytes_per_agent=100)
    first = await held(store, "1", 60)
    assert too_large(await ask(store, "2", 41))
    assert isinstance(await ask(store, "3", 40), Opened)
    assert too_large(await ask(store, "4", 1))
    assert isinstance(await ask(store, "5", 0), Opened)
    assert isinstance(await ask(store, "2", 41, agent="corp:second"), Opened)

    await withdrawn(store, first)
    assert too_large(await ask(store, "6", 61))
    assert isinstance(await ask(store, "6", 60), Opened)


async def test_a_repeat_costs_nothing(connection: StoreConnection, new_store: Callable[..., HoldStore]):
    store = new_store(connection, bytes_per_agent=100)
    await held(store, "1", 100)
    for _ in range(3):
        got = await ask(store, "1", 100)
        assert isinstance(got, Opened)
        assert got.attached


async def test_a_flood_from_many_replicas_does_not_pass_the_cap_of_bytes(
    connection: StoreConnection, other_connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    stores = [new_store(each, bytes_per_agent=100) for each in (connection, other_connection)]
    asked = (ask(stores[n % 2], f"{n:x}", 30) for n in range(16))
    got = await asyncio.gather(*asked)
    assert sum(isinstance(each, Opened) for each in got) == 3


async def test_bytes_are_given_back_however_a_hold_ends(
    connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    store = new_store(connection, bytes_per_agent=100)
    hold, now = await held(store, "1", 100), await store.now()
    ready = await kept(store, hold, approved(hold, now))
    assert too_large(await ask(store, "2", 1))
    going = await kept(store, ready, leased(ready, now, until=now))
    assert too_large(await ask(store, "2", 1))
    lost = await kept(store, going, expired(going, now))
    assert lost.state is State.UNKNOWN
    assert isinstance(await ask(store, "2", 100), Opened)


async def test_a_hold_that_was_never_opened_leaves_no_bytes_behind(
    connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    store = new_store(connection, bytes_per_agent=100)
    hold = await fresh(store, body_digest="1" * 64, body_length=100)
    racing = [store.open(replace(hold, call=replace(hold.call, id=f"call_{n:026d}")), b"") for n in range(900, 904)]
    got = await asyncio.gather(*racing)
    assert sum(isinstance(each, Opened) and not each.attached for each in got) == 1
    (one,) = {each.hold.call.id: each.hold for each in got if isinstance(each, Opened)}.values()
    await withdrawn(store, one)
    await store.rebuild_indexes()
    assert isinstance(await ask(store, "2", 100), Opened)


async def test_bytes_are_found_again_after_the_lists_were_lost(
    connection: StoreConnection, new_store: Callable[..., HoldStore]
):
    store = new_store(connection, bytes_per_agent=100)
    hold = await held(store, "1", 70)
    for name in ("revisions", "agents", "sizes", "bytes", "due", "open", f"held:{hold.call.principal.agent}"):
        await connection.command("DEL", connection.key("index", name))
    await store.rebuild_indexes()
    assert too_large(await ask(store, "2", 31))
    assert isinstance(await ask(store, "2", 30), Opened)
