"""When policies are published anew, and what is kept when that fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from config.load import Loaded, load
from policy.reasons import Reason
from proxy.errors import OperatorFault
from proxy.reload import Reload, Watch, watch


class Press:
    """Publishes a policy file: its digest is its text; text with `bad` in it is not published."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tries = 0
        self.in_force = ""
        self.counted: list[str | None] = []

    async def publish(self) -> str:
        self.tries += 1
        text = self.file.read_text()
        if "bad" in text:
            raise OperatorFault(Reason.POLICY_ERROR, f"{self.file.name}:1:1: {text}")
        if "bug" in text:
            raise ZeroDivisionError
        self.in_force = text
        return text


class Place:
    """A running system's worth of files, and a reload that looks after them."""

    def __init__(self, folder: Path) -> None:
        self.policies = folder / "policies"
        self.policies.mkdir()
        self.settings = folder / "assentry.yaml"
        self.settings.write_text("policy: {files: [policies]}\n")
        self.press = Press(self.policies / "main.cedar")
        self.press.file.write_text("one")
        self.clock = 100.0
        self.reload = Reload(
            self.press.publish,
            running=self.load(),
            reread=self.load,
            watch=Watch(content=(self.policies,), settle_ms=20, recheck_ms=60_000),
            now=lambda: self.clock,
            published=self.press.counted.append,
        )

    def load(self) -> Loaded:
        return load(self.settings, environ={})


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    await place.reload.first()
    return place


@pytest.fixture
async def running(place: Place) -> AsyncIterator[Place]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(place.reload.run())
        # Publishing once by `ask` shows that it runs; that files are watched shows in the tests themselves.
        tries = place.press.tries
        place.reload.ask()
        await until(lambda: place.press.tries > tries)
        yield place
        task.cancel()


async def until(condition: Callable[[], bool], *, while_doing: Callable[[], object] = lambda: None) -> None:
    async with asyncio.timeout(20):
        while not condition():
            while_doing()
            await asyncio.sleep(0.01)


async def test_the_first_publication_is_in_force_from_the_start(place: Place):
    standing = place.reload.standing
    assert standing is not None
    assert (standing.digest, standing.since, standing.failure) == ("one", 100.0, None)


async def test_without_a_good_first_publication_nothing_starts(tmp_path: Path):
    place = Place(tmp_path)
    place.press.file.write_text("bad")
    with pytest.raises(OperatorFault):
        await place.reload.first()
    assert place.reload.standing is None


async def test_a_good_change_comes_into_force(place: Place):
    place.press.file.write_text("two")
    place.clock = 200.0
    assert await place.reload.try_publishing()
    assert (place.reload.standing.digest, place.reload.standing.since) == ("two", 200.0)
    assert place.press.counted == ["one", "two"]


@pytest.mark.parametrize(("text", "said"), [("bad", "main.cedar:1:1: bad"), ("bug", "ZeroDivisionError")])
async def test_a_broken_change_leaves_the_last_good_one_in_force(place: Place, text: str, said: str):
    place.press.file.write_text(text)
    place.clock = 200.0
    assert not await place.reload.try_publishing()
    standing = place.reload.standing
    assert (standing.digest, standing.since, place.press.in_force) == ("one", 100.0, "one")
    assert standing.failure.at == 200.0
    assert said in standing.failure.what
    assert place.press.counted == ["one", None]


async def test_a_repaired_change_clears_the_failure(place: Place):
    place.press.file.write_text("bad")
    await place.reload.try_publishing()
    place.press.file.write_text("one")
    place.clock = 300.0
    await place.reload.try_publishing()
    assert (place.reload.standing.failure, place.reload.standing.since) == (None, 100.0)


async def test_publications_are_tried_one_at_a_time(tmp_path: Path):
    place = Place(tmp_path)
    inside = 0
    most = 0

    async def slow() -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return "x"

    reload = Reload(
        slow,
        running=place.load(),
        reread=place.load,
        watch=Watch(content=()),
        now=lambda: 0.0,
        published=lambda digest: None,
    )
    await asyncio.gather(*(reload.try_publishing() for _ in range(5)))
    assert most == 1


async def test_settings_that_need_a_restart_are_named(place: Place):
    place.settings.write_text("policy: {files: [policies]}\nlog: debug\n")
    await place.reload.try_publishing()
    assert place.reload.standing.restart_needed == ("log",)
    place.settings.write_text("policy: {files: [policies]}\n")
    await place.reload.try_publishing()
    assert place.reload.standing.restart_needed == ()


async def test_broken_settings_do_not_hold_up_good_policies(place: Place):
    place.settings.write_text("lgo: debug\n")
    place.press.file.write_text("two")
    assert await place.reload.try_publishing()
    assert place.reload.standing.digest == "two"


def test_policies_and_catalogues_are_watched(tmp_path: Path):
    file = tmp_path / "assentry.yaml"
    file.write_text(
        "policy: {files: [policies, extra.cedar]}\n"
        "upstreams: [{name: a, url: 'https://a.example', catalogue: a.yaml}, {name: b, url: 'https://b.example'}]\n"
    )
    content = watch(load(file, environ={}).settings).content
    assert content == tuple(tmp_path / name for name in ("policies", "extra.cedar", "a.yaml"))


async def test_a_hangup_signal_publishes(running: Place):
    tries = running.press.tries
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: running.press.tries > tries)


async def test_a_changed_file_publishes(running: Place):
    # Written until seen: the watch begins a moment after the rest.
    await until(
        lambda: running.reload.standing.digest.startswith("two"),
        while_doing=lambda: running.press.file.write_text("two"),
    )


async def test_a_file_swapped_by_its_link_publishes(running: Place, tmp_path: Path):
    # A ConfigMap volume: main.cedar -> ..data/main.cedar, and ..data is replaced by a rename.
    for name, text in (("v1", "three"), ("v2", "four")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.cedar").write_text(text)
    swap(running.policies, tmp_path / "v1")
    running.press.file.unlink()
    running.press.file.symlink_to("..data/main.cedar")
    await until(lambda: running.press.in_force == "three", while_doing=lambda: swap(running.policies, tmp_path / "v1"))
    swap(running.policies, tmp_path / "v2")
    await until(lambda: running.press.in_force == "four")


def swap(folder: Path, target: Path) -> None:
    new = folder / "..data_tmp"
    new.symlink_to(target)
    new.rename(folder / "..data")
