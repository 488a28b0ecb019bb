"""`assentry serve` and `assentry demo`: run until told to stop.

SIGTERM or Ctrl-C: no new calls, what is being sent is finished, held calls stay in the store for the next start. The
same again: at once. SIGHUP: policies and catalogues are read anew. Exit status 0: stopped; 2: cannot start or go on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.config import ConfigOption, loaded_or_exit


def serve(config: ConfigOption = None) -> None:
    """Serve the three doors with these settings, until SIGTERM or Ctrl-C."""
    # Until the watcher listens to it, a hang-up would end us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    loaded = loaded_or_exit(config)
    _logging(loaded.settings.log.value)

    async def work() -> None:
        from proxy.wiring import running

        async with running(loaded) as gate:
            log = logging.getLogger("assentry.serve")
            log.info("agents %s, approvers %s, operators %s", gate.agents_url, gate.approvers_url, gate.operators_url)
            try:
                await asyncio.Event().wait()
            finally:
                log.info("stopping")

    _until_stopped(work)


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo keeps its files.")] = Path(".demo"),
    agent: Annotated[bool, typer.Option("--agent/--no-agent", help="Run the scripted agent.")] = True,
) -> None:
    """Run everything embedded, with an agent that needs your assent. No network needed."""
    if agent and not all(find_spec(name) for name in ("openai", "stripe")):
        typer.echo("The agent needs the vendors' SDKs: install assentry[demo], or say --no-agent.", err=True)
        raise typer.Exit(2)
    _logging("warning")

    async def work() -> None:
        from proxy.demo.run import run

        await run(folder, agent=agent)

    _until_stopped(work)


def _until_stopped(work: Callable[[], Coroutine[None, None, None]]) -> None:
    from proxy.errors import AssentryError

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_stoppable(work))
    except* AssentryError as faults:
        for fault in _leaves(faults):
            typer.echo(f"Cannot go on: {fault.detail if isinstance(fault, AssentryError) else fault}", err=True)
        raise typer.Exit(2) from None


async def _stoppable(work: Callable[[], Coroutine[None, None, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for fault in group.exceptions:
        leaves += _leaves(fault) if isinstance(fault, BaseExceptionGroup) else [fault]
    return leaves


def _logging(level: str) -> None:
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
