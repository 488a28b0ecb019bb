"""A call that was certainly not sent, under a lease of which nobody knows whether it was kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from policy.hold import Hold, State
from policy.reasons import Reason
from proxy.holds.endings import End, Endings
from proxy.holds.store import HoldStore
from proxy.meters import Meters
from proxy.tasks import Tasks
from tests.fakes import ledgers
from tests.holds.held import approved, kept, leased, opened

NOT_SENT = End(State.FAILED, Reason.STORE_UNAVAILABLE, "The store did not answer. Nothing was sent.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    endings: Endings
    tasks: Tasks
    folder: Path

    async def renounced(self, lease: Hold) -> None:
        self.endings.renounce(lease, NOT_SENT)
        await self.tasks.finish(within_s=20)

    def states(self) -> list[str]:
        return [line["state"] for line in map(orjson.loads, ledgers.lines(self.folder)) if line["kind"] == "moved"]


@pytest.fixture
async def scene(store: HoldStore, tmp_path: Path) -> AsyncIterator[Scene]:
    async with ledgers.running(tmp_path) as ledger, asyncio.TaskGroup() as group:
        tasks = Tasks(group)
        endings = Endings(store=store, ledger=ledger, meters=Meters(), tasks=tasks)
        yield Scene(endings=endings, tasks=tasks, folder=tmp_path)


async def test_a_lease_that_was_kept_after_all_is_given_back_and_the_call_has_failed(store: HoldStore, scene: Scene):
    now = await store.now()
    hold = await opened(store)
    ready = approved(hold, now)
    going = await kept_together(store, hold, ready, leased(ready, now))
    await scene.renounced(going)
    ended = await store.read(hold.call.id)
    assert ended is not None
    assert ended.state is State.FAILED
    assert ended.conclusion is not None
    assert ended.conclusion.reason is Reason.STORE_UNAVAILABLE
    assert scene.states() == ["failed"]


async def test_a_lease_that_was_not_kept_changes_nothing(store: HoldStore, scene: Scene):
    now = await store.now()
    hold = await opened(store)
    ready = await kept(store, hold, approved(hold, now))
    await scene.renounced(leased(ready, now))
    assert await store.read(hold.call.id) == ready
    assert scene.states() == []


async def test_the_lease_of_another_replica_at_the_same_revision_is_left_alone(
    store: HoldStore, other_store: HoldStore, scene: Scene
):
    now = await store.now()
    hold = await opened(store)
    ready = await kept(store, hold, approved(hold, now))
    theirs = await kept(other_store, ready, leased(ready, now, fence="theirs"))
    await scene.renounced(leased(ready, now, fence="ours"))
    assert await store.read(hold.call.id) == theirs
    assert scene.states() == []


async def kept_together(store: HoldStore, before: Hold, *moves: Hold) -> Hold:
    after = await store.keep(before, *moves)
    assert after is not None
    return after
