"""From sending an approval to the first byte upstream: one process, and two of which one takes the click.

Everything on: tokens, policies, ledger, a store that syncs each write. The upstream is this process, on the other
core; it writes down when the first byte of a call came. `python -m tests.bench.bench_release [APPROVALS]`.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.bench.holding import on_store
from tests.bench.machine import cores, on_core
from tests.bench.product import Product, product
from tests.bench.site import REFUNDS, Site, site
from tests.bench.stack import Stack
from tests.bench.wire import Wire
from tests.fakes.valkey import PrivateValkey

_LOOK_S = 0.005
_JSON = "Content-Type: application/json"


class FirstBytes:
    """An upstream that answers everything at once, and the moments at which calls to it began."""

    def __init__(self, home: Site) -> None:
        self.came: list[float] = []
        self._jwks = home.keys.jwks().encode()
        self._listener = socket.create_server(("127.0.0.1", home.origin), backlog=512)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            accepted, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(accepted,), daemon=True).start()

    def _answer(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while asked := accepted.recv(1 << 16):
            now = time.perf_counter()
            if asked.startswith(b"POST"):
                self.came.append(now)
            body = self._jwks if b"jwks" in asked else b"{}"
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            accepted.sendall(head + body)


def main(approvals: int) -> None:
    """Prints the table."""
    sys.stdout.write(f"{'approval to first byte upstream':<34}{'p50 ms':>9}{'p90 ms':>9}\n")
    for name, processes in (("one process", 1), ("two processes", 2)):
        with gates(processes) as (home, first, made):
            found = sorted(waits(home, first, made, approvals))
        sys.stdout.write(f"{name:<34}{median(found):>9.2f}{quantiles(found, n=10)[-1]:>9.2f}\n")


@contextmanager
def gates(processes: int) -> Iterator[tuple[Site, FirstBytes, list[Product]]]:
    """So many gates on one store, all on one core, and their upstream."""
    used = cores()
    with ExitStack() as closing, on_core(used.load):
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        home = site(folder)
        first = FirstBytes(home)
        shared = closing.enter_context(PrivateValkey(tcp=True)).url if processes > 1 else None
        stack = closing.enter_context(Stack(folder))
        made = [product(home, name=f"gate{number}") for number in range(processes)]
        for one in made if shared is None else [on_store(shared, one, home) for one in made]:
            stack.start(one.program, core=used.tested)
        yield home, first, made


def waits(home: Site, first: FirstBytes, made: list[Product], approvals: int) -> Iterator[float]:
    """Milliseconds of each approval: the agent is at the first gate, the person at the last."""
    agents = (f"Authorization: Bearer {home.keys.agent()}", _JSON)
    people = (f"Authorization: Bearer {home.keys.person('ann')}", _JSON)
    for number in range(1, approvals + 1):
        agent = Wire(made[0].port)
        agent.send("POST", REFUNDS, headers=agents, body=json.dumps({"amount": number}).encode())
        seen = _only_hold(made[-1], people)
        decision = json.dumps({"fingerprint": seen["fingerprint"], "shown": seen["shown"]}).encode()
        click, before = Wire(made[-1].approvers), len(first.came)
        began = time.perf_counter()
        click.send("POST", f"/v1/holds/{seen['call']}/approve", headers=people, body=decision)
        answers = [agent.status_and_body()[0], click.status_and_body()[0]]
        if answers != [200, 200] or len(first.came) != before + 1:
            raise ValueError(f"the approved call was answered {answers}, and sent {len(first.came) - before} times")
        yield (first.came[-1] - began) * 1000
        agent.close()
        click.close()


def _only_hold(gate: Product, people: tuple[str, ...]) -> dict[str, str]:
    end = time.monotonic() + 30
    while not (holds := _ask(gate, "/v1/holds", people)["holds"]):
        if time.monotonic() > end:
            raise TimeoutError("the call was not held in time")
        time.sleep(_LOOK_S)
    (held,) = holds
    whole = _ask(gate, f"/v1/holds/{held['id']}", people)
    return {"call": held["id"], "fingerprint": whole["fingerprint"], "shown": whole["shown"]}


def _ask(gate: Product, target: str, people: tuple[str, ...]) -> Any:
    wire = Wire(gate.approvers)
    try:
        wire.send("GET", target, headers=people)
        return json.loads(wire.status_and_body()[1])
    finally:
        wire.close()


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["50"])[0]))
