"""A gate in a process of its own that ends itself by SIGKILL at one step of a release.

    async with mortal(home, step="intent written") as gate:
        asked = home.begin(home.knock("POST", gate.agents + "/stripe/v1/refunds", …))
        …
        await gate.dead()

It is the `assentry` command on a copy of the house's settings, with a ledger of its own. `STEPS` are all there are
between a click and an answer, in their order: before and after each write to the store, the ledger, the upstream.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from policy.call import CallId
from policy.hold import State
from proxy.audit.spool import Spool
from proxy.holds.store import HoldStore
from proxy.upstream.connection import Connection
from tests.fakes.house import House, free_port

STEPS = (
    "before the lease",
    "lease kept",
    "intent written",
    "intent synced",
    "before the first byte",
    "upstream answered",
    "before the conclusion is kept",
    "conclusion kept",
)
OUT_OF_TURN = 70
"""Exit status of a gate that would have sent without its lease or its intent."""
_LATE_S = 0.05
"""How late lease and intent are, so that what does not wait for them is found out."""
_LIMIT_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MortalGate:
    """The gate, while it lives and afterwards."""

    agents: str
    """URL of its agents' door."""
    approvers: str
    folder: Path
    process: asyncio.subprocess.Process

    async def dead(self) -> None:
        """Returns once it has killed itself; fails when it ended in another way."""
        async with asyncio.timeout(_LIMIT_S):
            assert await self.process.wait() == -signal.SIGKILL

    def kinds(self, call: CallId) -> list[str]:
        """What its ledger says about a call, by kind."""
        lines = [
            line
            for file in sorted(self.folder.rglob("*.jsonl"))
            for line in file.read_text().rpartition("\n")[0].splitlines()
        ]
        return [record["kind"] for record in map(json.loads, lines) if record.get("call") == call]


@asynccontextmanager
async def mortal(home: House, *, step: str) -> AsyncIterator[MortalGate]:
    """One beside this house, on the same store; it dies at this step, or when the block ends."""
    folder = home.folder.parent / f"{home.folder.name}-mortal"
    shutil.copytree(home.folder, folder, ignore=shutil.ignore_patterns("state"))
    file, port = folder / "assentry.yaml", free_port()
    settings = yaml.safe_load(file.read_text())
    settings["approvers"] |= {"listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}"}
    file.write_text(yaml.safe_dump(settings))
    command = (sys.executable, "-m", "tests.fakes.mortal", step, "serve", "--config", str(file))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        agents = await _serving(process)
        yield MortalGate(agents=agents, approvers=f"http://127.0.0.1:{port}", folder=folder, process=process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _serving(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(_LIMIT_S):
        while not (found := re.search(rb"agents (http://[^,\s]+)", line := await process.stderr.readline())):
            assert line, "it does not start"
    return found[1].decode()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Armed:
    """This process, which dies at one step, and ends in another way where the first byte is to go out of turn."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._passed: set[str] = set()
        self._written = False
        """Whether the intent is in the ledger's file."""
        for owner, name, wrap in (
            (HoldStore, "keep", self._keep),
            (Spool, "append", self._append),
            (Spool, "append_at_once", self._append),
            (Spool, "sync", self._sync),
            (Connection, "converse", self._converse),
        ):
            original = getattr(owner, name)
            setattr(owner, name, functools.wraps(original)(wrap(original)))

    def _reached(self, name: str) -> None:
        if name == "before the first byte" and not {"lease kept", "intent synced"} <= self._passed:
            os._exit(OUT_OF_TURN)
        if name == self._step:
            _die()
        self._passed.add(name)

    def _keep(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def kept(store: HoldStore, before: Any, *moves: Any, **how: Any) -> Any:
            after = moves[-1].state
            if after is State.RELEASING:
                self._reached("before the lease")
                await asyncio.sleep(2 * _LATE_S)
            if after is State.EXECUTED:
                self._reached("before the conclusion is kept")
            result = await original(store, before, *moves, **how)
            if after is State.RELEASING:
                self._reached("lease kept")
            if after is State.EXECUTED:
                self._reached("conclusion kept")
            return result

        return kept

    def _append(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def appended(spool: Spool, entries: Any) -> Any:
            payload = original(spool, entries)
            if payload is not None and b'"kind":"released"' in payload.replace(b" ", b""):
                self._written = True
                self._reached("intent written")
            return payload

        return appended

    def _sync(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def synced(spool: Spool) -> Any:
            covers = self._written
            time.sleep(_LATE_S if covers else 0)
            place = original(spool)
            if covers:
                self._reached("intent synced")
            return place

        return synced

    def _converse(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def conversed(*what: Any, **how: Any) -> Any:
            self._reached("before the first byte")
            response = await original(*what, **how)
            self._reached("upstream answered")
            return response

        return conversed


if __name__ == "__main__":
    from proxy.cli.main import app

    _Armed(sys.argv.pop(1))
    app()
