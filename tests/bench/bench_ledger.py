"""How fast the ledger takes records: `python tests/bench/bench_ledger.py [seconds]`.

Prints records a second and what each costs: `posted`, encoded before and so many in a turn of the loop; then by
durability and number of callers, made and encoded anew each time. On a file system that is really on a disk (`TMPDIR`),
or the syncs are worth nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from policy.call import AgentWords, Resource, Target  # noqa: E402
from policy.verdict import Allow  # noqa: E402
from proxy.audit import record  # noqa: E402
from proxy.audit.ledger import Durability, Ledger  # noqa: E402
from proxy.errors import Outage  # noqa: E402
from tests.fakes.ledgers import running  # noqa: E402
from tests.fakes.values import a_call  # noqa: E402


def identifier(number: int) -> str:
    """24 letters and digits, as APIs like them."""
    return base64.b32encode(hashlib.sha256(b"%d" % number).digest()[:15]).decode()


CALLS = tuple(
    a_call(
        id=f"call_{n:026d}",
        target=Target(method="POST", path=f"/v1/charges/ch_{identifier(n)}/refunds"),
        resource=Resource(kind="charge", id=f"stripe/charge/ch_{identifier(n)}"),
        words=AgentWords(reason=f"parcel {n} was lost on its way to the customer"),
    )
    for n in range(20_000)
)
"""No two alike: nothing that is remembered of the last record helps with the next."""
VERDICT = Allow(bundle="b" * 64, policies=("billing-agents-refund",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one run took."""

    records: int
    took_s: float
    cpu_s: float
    latencies_ms: tuple[float, ...]

    def __str__(self) -> str:
        half, most = (statistics.quantiles(self.latencies_ms, n=100)[at] for at in (49, 98))
        return (
            f"{self.records / self.took_s:>9,.0f} records/s  {self.cpu_s / self.records * 1e6:6.1f} us CPU each  "
            f"p50 {half:6.3f} ms  p99 {most:6.3f} ms"
        )


async def measured(ledger: Ledger, durability: Durability, *, callers: int, seconds: float) -> Figure:
    """The figure of so many callers who each write one record after another."""
    calls = itertools.cycle(CALLS)
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def write() -> None:
        while (began := time.perf_counter()) < end:
            await ledger.record(record.judged(next(calls), VERDICT), durability)
            latencies.append((time.perf_counter() - began) * 1000)
            if durability is Durability.QUEUED and ledger.queued > 5_000:
                await asyncio.sleep(0.001)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write() for _ in range(callers)))
    return Figure(
        records=len(latencies),
        took_s=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        latencies_ms=tuple(latencies),
    )


async def posted(ledger: Ledger, *, at_once: int, seconds: float) -> Figure:
    """The figure of one who posts so many records in a turn of the loop, and the next ones when these are written."""
    encoded = itertools.cycle(ledger.encode(record.judged(call, VERDICT)) for call in CALLS[:1_000])
    latencies: list[float] = []
    everything, open_ = asyncio.Event(), 0
    began = end = 0.0

    def turn() -> None:
        nonlocal began, open_
        began, open_ = time.perf_counter(), at_once
        for json in itertools.islice(encoded, at_once):
            ledger.post(json, at=time.time(), settled=settled)

    def settled(_: Outage | None) -> None:
        nonlocal open_
        open_ -= 1
        if open_:
            return
        now = time.perf_counter()
        latencies.append((now - began) * 1000)
        (turn if now < end else everything.set)()

    for json in itertools.islice(encoded, 1_000):  # Encodes all, and has the disk trusted.
        ledger.post(json, at=time.time(), settled=None)
    await ledger.record(record.judged(CALLS[0], VERDICT), Durability.WRITTEN)
    start, cpu = time.perf_counter(), time.process_time()
    end = start + seconds
    turn()
    await everything.wait()
    return Figure(
        records=len(latencies) * at_once,
        took_s=time.perf_counter() - start,
        cpu_s=time.process_time() - cpu,
        latencies_ms=tuple(latencies),
    )


async def main(seconds: float) -> None:
    """Every combination, each on a ledger of its own."""
    for at_once in (1, 8, 32):
        with tempfile.TemporaryDirectory() as directory:
            async with running(Path(directory)) as ledger:
                figure = await posted(ledger, at_once=at_once, seconds=seconds)
        sys.stdout.write(f"{'posted':<8} {at_once:>4} a turn  {figure}\n")
    for durability in Durability:
        for callers in (1, 32, 256):
            with tempfile.TemporaryDirectory() as directory:
                async with running(Path(directory), queue_records=1_000_000) as ledger:
                    figure = await measured(ledger, durability, callers=callers, seconds=seconds)
            sys.stdout.write(f"{durability.value:<8} {callers:>4} callers {figure}\n")


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0))
