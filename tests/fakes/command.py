"""The installed `assentry` command in a process of its own: run to its end, or running until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ASSENTRY = Path(sys.executable).parent / "assentry"
LIMIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str


@dataclass(slots=True)
class Started:
    """A command that runs, with what it has printed so far (both streams, in order of arrival)."""

    process: asyncio.subprocess.Process
    printed: str = ""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def says(self, pattern: str) -> re.Match[str]:
        """The first match in what was printed; fails with the whole print when the command ends without it."""
        async with asyncio.timeout(LIMIT_S), self.news:
            while not (match := re.search(pattern, self.printed)):
                assert self.process.stdout is not None
                assert not self.process.stdout.at_eof(), f"ended without {pattern!r}:\n{self.printed}"
                await self.news.wait()
            return match

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status, once the command has ended upon this signal."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), LIMIT_S)

    async def read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(4096):
            async with self.news:
                self.printed += chunk.decode("utf-8", "replace")
                self.news.notify_all()
        async with self.news:
            self.news.notify_all()


async def ran(
    *words: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: bytes = b""
) -> Ended:
    """The command run to its end, without a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(ASSENTRY, *map(str, words)),
        env=_environ(environ),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), LIMIT_S)
    return Ended(status=process.returncode or 0, out=out.decode(), err=err.decode())


@asynccontextmanager
async def started(
    *words: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[Started]:
    """The command, running until the block ends, and told to stop if it still runs then."""
    process = await asyncio.create_subprocess_exec(
        *(ASSENTRY, *map(str, words)),
        env=_environ(environ),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Started(process)
    async with asyncio.TaskGroup() as group:
        group.create_task(running.read())
        try:
            yield running
        finally:
            await _stopped(process)


async def _stopped(process: asyncio.subprocess.Process) -> None:
    # Killed at once, a gate would leave its store behind.
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _environ(changes: Mapping[str, str] | None) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ASSENTRY")}
    return {**inherited, **(changes or {})}
