"""An add-on for mitmproxy that decides each call. Loaded by `mitmdump -s`, in the environment where mitmproxy is."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# By name, because neither is installed where the tests are checked.
http = importlib.import_module("mitmproxy.http")
deciding = importlib.import_module("deciding")


class Gate:
    """One hook: before a call is sent."""

    def __init__(self) -> None:
        self.held: set[asyncio.Future[None]] = set()

    async def running(self) -> None:
        """Writes the log from then on."""
        self.writing = asyncio.get_running_loop().create_task(self._write())

    async def request(self, flow) -> None:
        """Ends the call, or lets it go on without its bearer."""
        asked = flow.request
        if asked.path in ("/approve", "/held"):
            flow.response = http.Response.make(200, self._control(asked.path))
            return
        decision, subject = deciding.decide(asked.method, asked.path, asked.headers.get("authorization"))
        if decision is deciding.Decision.HOLD:
            approved = asyncio.get_running_loop().create_future()
            self.held.add(approved)
            await approved
        elif decision is not deciding.Decision.ALLOW:
            flow.response = http.Response.make(decision.value)
            return
        asked.headers["x-agent"] = subject
        del asked.headers["authorization"]

    def _control(self, path: str) -> bytes:
        count = len(self.held)
        if path == "/approve":
            for approved in self.held:
                approved.set_result(None)
            self.held.clear()
        return str(count).encode()

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            deciding.write_log()


addons = [Gate()]
