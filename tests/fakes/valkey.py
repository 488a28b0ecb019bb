"""A private Valkey for a test: real, on a socket of its own, there in a few hundredths of a second, easy to kill."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from proxy.holds.embedded import binary

START_S = 20.0


class PrivateValkey:
    """`with PrivateValkey() as server:` then `server.url`. `kill` is kill -9; `start` again reads the file back.

    Further options as keywords, `_` for `-`: `PrivateValkey(appendonly="no")`. `tcp=True`: on 127.0.0.1, as clusters
    and replicas need it. `config`: lines of a configuration file.
    """

    def __init__(self, *, tcp: bool = False, config: str = "", **options: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="avk-"))
        self.port = _free_port() if tcp else 0
        self._socket = self.home / "s"
        self._options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.home),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "loglevel": "warning",
            "logfile": str(self.home / "log"),
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._config = self.home / "valkey.conf"
        self._config.write_text(config)
        self._flags: tuple[str, ...] = ()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self._socket}"

    def start(self) -> Self:
        """Itself, once it answers."""
        words = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        self._child = subprocess.Popen(
            [binary(), self._config, *words, *self._flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while self.ask("PING") != "+PONG":
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the test's server does not start: {words}")
            time.sleep(0.005)
        return self

    def ask(self, line: str) -> str:
        """The first line of the answer to an inline command; empty while nobody answers."""
        try:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(5)
                peer.connect(str(self._socket))
                peer.sendall(line.encode() + b"\r\n")
                return peer.makefile("rb").readline().decode().strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def files(self) -> bytes:
        """Every byte that it has written to the disk."""
        while True:
            try:
                return b"".join(path.read_bytes() for path in sorted(self.home.rglob("*")) if path.is_file())
            except FileNotFoundError:
                # It rewrites its append-only file when it likes: the new one has its bytes under another name.
                continue

    def close(self) -> None:
        """Ends it and removes its files."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def single_node_cluster() -> Iterator[PrivateValkey]:
    """A cluster of one: it serves every slot, and refuses a script whose keys are not of one slot."""
    with PrivateValkey(tcp=True, cluster_enabled="yes", cluster_port=str(_free_port())) as server:
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383")
        while server.ask("SET ready 1") != "+OK":
            time.sleep(0.01)
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
