"""What a held call costs: memory while it waits, and the time from an approval to the first byte of the answer.

Peers that can hold do it in memory, in an authorizer or an add-on, and lose it when they stop. The gate keeps its holds
in the store and on the ledger, and its approval is a person's, checked and recorded before anything is sent.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import median
from typing import Protocol

from tests.bench.keys import Keys
from tests.bench.load import Load
from tests.bench.machine import on_core
from tests.bench.product import Product, product
from tests.bench.running import Live, Run, start, stop
from tests.bench.site import REFUNDS, Site
from tests.bench.variants import Variant
from tests.bench.wire import Wire
from tests.fakes.valkey import PrivateValkey

_SETTLE_S = 1.0
_OPEN_S = 60.0
BODY_BYTES = 1024
"""Of a held call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Of one variant."""

    idle_mib: float
    """Resident memory before its first call."""
    held_kib: float | None
    """Resident memory for each held call; None for what cannot hold."""
    approve_ms: float | None
    """From sending the approval to the first byte of the answer, the median."""
    across_ms: float | None = None
    """The same where the approval is given to another process than the one the call waits at; None: not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """How much to hold."""

    at_once: int
    approvals: int


class Approving(Protocol):
    """How somebody lets held calls go on."""

    def opened(self) -> int:
        """How many are held, or were since the start; it grows by one with each new one."""
        ...

    def approve(self) -> Iterator[None]:
        """The first step prepares, the second sends the approval of the only held call, the third reads its answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A post to the peer itself, without any check."""

    port: int

    def opened(self) -> int:
        """Those that are held now."""
        return int(_ask(self.port, "GET", "/held"))

    def approve(self) -> Iterator[None]:
        """All that are held."""
        wire = Wire(self.port)
        yield
        wire.send("POST", "/approve")
        yield
        wire.status_and_body()
        wire.close()
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A person's decision through the approvers' API."""

    product: Product
    keys: Keys
    held_at: Product
    """Where agents call; the same, or another on the same store."""

    def opened(self) -> int:
        """Those that were opened since the start."""
        shown = _ask(self.held_at.operators, "GET", "/metrics").decode()
        found = re.findall(r"^assentry_holds_opened_total\{[^}]*\} ([0-9.]+)$", shown, re.MULTILINE)
        return int(sum(map(float, found)))

    def approve(self) -> Iterator[None]:
        """Looks at the only open hold, then approves what was shown."""
        headers = (f"Authorization: Bearer {self.keys.person('ann')}", "Content-Type: application/json")
        (seen,) = json.loads(_ask(self.product.approvers, "GET", "/v1/holds", headers))["holds"]
        whole = json.loads(_ask(self.product.approvers, "GET", f"/v1/holds/{seen['id']}", headers))
        decision = json.dumps({"fingerprint": whole["fingerprint"], "shown": whole["shown"]}).encode()
        wire = Wire(self.product.approvers)
        yield
        wire.send("POST", f"/v1/holds/{seen['id']}/approve", headers=headers, body=decision)
        yield
        status, said = wire.status_and_body()
        wire.close()
        if status != 200:
            raise ValueError(f"the approval was not taken: {said[:300]!r}")
        yield


def holding(run: Run, variants: Sequence[Variant], *, plan: Holds) -> Mapping[str, Holding]:
    """By name. Each is started anew: a heap that calls have stretched would hide what a hold takes."""
    found = {}
    for variant in variants:
        live, _ = start(run, [variant])
        time.sleep(_SETTLE_S)
        with on_core(run.load.core):
            found.update({one.name: _of(run, one, plan) for one in live})
        stop(run, live)
        if variant.ours is not None and variant.name in found:
            across = _across_ms(run, plan.approvals)
            found[variant.name] = replace(found[variant.name], across_ms=across)
    return found


def on_store(url: str, made: Product, site: Site) -> Product:
    """The gate, keeping its holds in the store at this URL, as others do."""
    settings = site.folder / f"{made.program.name}.yaml"
    key = base64.b64encode(b"e" * 32).decode()
    settings.write_text(f"{settings.read_text()}\nstore: {{url: '{url}', encryption_key: '{key}'}}\n")
    return made


def _across_ms(run: Run, approvals: int) -> float:
    with on_core(run.load.core), PrivateValkey(tcp=True) as store:
        agents, people = (on_store(store.url, product(run.site, name=f"replica{n}"), run.site) for n in (1, 2))
        live = [run.stack.start(one.program, core=run.used.tested) for one in (agents, people)]
        approving = Decided(product=people, keys=run.site.keys, held_at=agents)
        waits = [_approved_ms(agents.port, run.load, approving, amount) for amount in range(1, approvals + 1)]
        for one in live:
            run.stack.stop(one)
    return median(waits)


def _of(run: Run, one: Live, plan: Holds) -> Holding:
    idle = one.memory_bytes()
    approving = _approving(one, run.site.keys)
    if approving is None:
        return Holding(idle_mib=idle / 2**20, held_kib=None, approve_ms=None)
    amounts = count(1)
    waits = [_approved_ms(one.port, run.load, approving, next(amounts)) for _ in range(plan.approvals)]
    held = _held_bytes(one, run.load, plan.at_once, approving, amounts)
    return Holding(idle_mib=idle / 2**20, held_kib=held / 1024, approve_ms=median(waits))


def _approving(one: Live, keys: Keys) -> Approving | None:
    if one.variant.ours is not None:
        return Decided(product=one.variant.ours, keys=keys, held_at=one.variant.ours)
    return None if one.variant.control is None else Posted(port=one.variant.control)


def _approved_ms(port: int, load: Load, approving: Approving, amount: int) -> float:
    before = approving.opened()
    agent = _refund(port, load, amount)
    _wait_for(approving, before + 1)
    steps = approving.approve()
    next(steps)
    began = time.perf_counter()
    next(steps)
    agent.wait()
    took_ms = (time.perf_counter() - began) * 1000
    next(steps)
    status, said = agent.status_and_body()
    agent.close()
    if status != 200:
        raise ValueError(f"the approved call was answered {status}: {said[:300]!r}")
    return took_ms


def _held_bytes(one: Live, load: Load, at_once: int, approving: Approving, amounts: Iterator[int]) -> float:
    before, memory = approving.opened(), one.memory_bytes()
    agents = [_refund(one.port, load, next(amounts)) for _ in range(at_once)]
    _wait_for(approving, before + at_once)
    time.sleep(_SETTLE_S)
    grown = one.memory_bytes() - memory
    for agent in agents:
        agent.close()
    return max(0, grown) / at_once


def _refund(port: int, load: Load, amount: int) -> Wire:
    agent = Wire(port)
    bare = len(json.dumps({"amount": amount, "note": ""}))
    body = json.dumps({"amount": amount, "note": "x" * (BODY_BYTES - bare)}).encode()
    agent.send("POST", REFUNDS, headers=(*load.headers(), "Content-Type: application/json"), body=body)
    return agent


def _wait_for(approving: Approving, held: int) -> None:
    end = time.monotonic() + _OPEN_S
    while approving.opened() < held:
        if time.monotonic() > end:
            raise TimeoutError("the calls were not held in time")
        time.sleep(0.01)


def _ask(port: int, method: str, target: str, headers: Sequence[str] = ()) -> bytes:
    wire = Wire(port)
    try:
        wire.send(method, target, headers=headers)
        return wire.status_and_body()[1]
    finally:
        wire.close()
