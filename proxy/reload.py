"""Which publication of policies and catalogues is in force, and when a new one is tried.

A publication is tried on SIGHUP and when a watched file changes. `publish`, handed in by the wiring, reads, validates
and swaps; this file decides when, one at a time, and keeps the account: what is in force since when, what failed last.
A publication that fails leaves the last good one in force. Other settings take effect at the next start only; when they
change, that is said, and nothing else happens.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from watchfiles import awatch

from config.check import differences
from config.errors import SettingsRefused
from config.load import Loaded
from config.settings import BUILTIN, Settings
from proxy.errors import AssentryError

_log = logging.getLogger("assentry.reload")

Publish = Callable[[], Awaitable[str]]
"""Reads, validates and puts in force; gives the digest of what is in force then. If it is not good: raises, no change.

Compiling untrusted policy text belongs in a child process: it can end the process that compiles it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A publication that did not come into force."""

    at: float
    """Unix seconds."""
    what: str
    """For the operator: file, line and problem. No secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force, and what was wrong with what is not. Readiness and metrics read it."""

    digest: str
    since: float
    """Unix seconds at which this digest came into force."""
    failure: Failure | None = None
    """The last try, if it failed; None once one succeeds."""
    restart_needed: tuple[str, ...] = ()
    """Dotted paths of settings that differ from those the process runs with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is looked at, and how patiently."""

    content: tuple[Path, ...]
    """Policies and catalogues: files or folders whose content comes into force without a restart."""
    settle_ms: int = 400
    """How long changes are gathered before they are acted on: editors and ConfigMaps write in several steps."""
    recheck_ms: int = 5000
    """How often files are compared unasked: network file systems announce nothing."""


def watch(settings: Settings) -> Watch:
    """What these settings say is read anew without a restart: policies, and catalogues that are files.

    A file that another catalogue extends is not looked at: send SIGHUP after changing one.
    """
    catalogues = (upstream.catalogue for upstream in settings.upstreams if upstream.catalogue is not None)
    own = (file for file in (*settings.policy.files, *catalogues) if not str(file).startswith(BUILTIN))
    return Watch(content=tuple(own))


class Reload:
    """Tries publications, one at a time, and remembers how it went."""

    def __init__(
        self,
        publish: Publish,
        *,
        running: Loaded,
        reread: Callable[[], Loaded],
        watch: Watch,
        now: Callable[[], float],
        published: Callable[[str | None], None],
    ) -> None:
        """`published` counts: the digest, or None for a failure. `reread` loads the settings anew, for comparison."""
        self._publish = publish
        self._running = running
        self._reread = reread
        self._watch = watch
        self._now = now
        self._published = published
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._standing: Standing | None = None
        self._seen = ""

    @property
    def standing(self) -> Standing | None:
        """What is in force; None until the first publication succeeded, and then never again."""
        return self._standing

    async def first(self) -> Standing:
        """The first publication. Raises what `publish` raises: without a law nothing starts."""
        async with self._turn:
            self._seen = await asyncio.to_thread(self._state_on_disk)
            return self._in_force(await self._publish())

    async def try_publishing(self) -> bool:
        """Whether what is on disk now is in force. If not, the last good publication still is; the failure is kept."""
        async with self._turn:
            await self._compare_settings()
            try:
                self._seen = await asyncio.to_thread(self._state_on_disk)
                digest = await self._publish()
            except AssentryError as fault:
                self._failed(fault.detail)
                return False
            except Exception as fault:  # noqa: BLE001 - the operators' door: a bad file never ends the process
                self._failed(f"{type(fault).__name__}: {fault}")
                return False
            self._in_force(digest)
            return True

    def ask(self) -> None:
        """Asks for a publication soon; several askings before it begins are one."""
        self._asked.set()

    async def run(self) -> None:
        """Publishes whenever asked, by signal, by a changed file or by `ask`; until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.ask)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_files(), name="watch files")
                while True:
                    await self._asked.wait()
                    self._asked.clear()
                    await self.try_publishing()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)

    async def _watch_files(self) -> None:
        folders = await asyncio.to_thread(self._folders)
        if not folders:
            return
        changes = awatch(
            *folders,
            watch_filter=None,  # a mounted ConfigMap changes by a symbolic link beside the files
            recursive=False,
            debounce=self._watch.settle_ms,
            rust_timeout=self._watch.recheck_ms,
            yield_on_timeout=True,
        )
        try:
            async for _ in changes:
                if await asyncio.to_thread(self._state_on_disk) != self._seen:
                    self.ask()
        except (OSError, RuntimeError) as fault:
            _log.warning("files are no longer watched (%s); send SIGHUP after a change", type(fault).__name__)

    def _paths(self) -> tuple[Path, ...]:
        settings = (self._running.file,) if self._running.file else ()
        return (*self._watch.content, *settings)

    def _folders(self) -> set[Path]:
        folders = {path if path.is_dir() else path.parent for path in self._paths()}
        return {folder for folder in folders if folder.is_dir()}

    def _state_on_disk(self) -> str:
        """A digest of names and contents, so that a touched file is not taken for a changed one."""
        state = hashlib.sha256()
        for path in self._paths():
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                state.update(repr((str(file), _digest(file))).encode())
        return state.hexdigest()

    async def _compare_settings(self) -> None:
        try:
            changed = differences(self._running, await asyncio.to_thread(self._reread))
        except SettingsRefused as refused:
            _log.error("the settings file is refused; the process keeps what it started with:\n%s", refused)
            return
        if changed:
            _log.warning("these settings take effect at the next start: %s", ", ".join(changed))
        if self._standing is not None:
            self._standing = replace(self._standing, restart_needed=changed)

    def _in_force(self, digest: str) -> Standing:
        before = self._standing
        if before is None:
            self._standing = Standing(digest=digest, since=self._now())
        elif before.digest == digest:
            self._standing = replace(before, failure=None)
        else:
            self._standing = replace(before, digest=digest, since=self._now(), failure=None)
        self._published(digest)
        _log.info("in force: bundle %s", digest)
        return self._standing

    def _failed(self, what: str) -> None:
        if self._standing is not None:
            self._standing = replace(self._standing, failure=Failure(at=self._now(), what=what))
        self._published(None)
        in_force = self._standing.digest if self._standing else "nothing"
        _log.error("not published, in force stays %s:\n%s", in_force, what)


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as fault:
        return type(fault).__name__
