"""What others left behind: chains that nobody writes any more, healed, checkpointed and shipped to the end.

A worker that was killed leaves records that no sink has and no checkpoint counts; a command leaves its own. A worker
of the same ledger looks for such chains when it starts and from time to time, takes their locks and finishes them. It
never adds a call's record to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.audit import segments
from proxy.audit.shipper import Shipper
from proxy.audit.spool import Spool
from proxy.errors import OperatorFault, Outage

COMPLETE = "complete"
"""File in a chain's folder: names the sinks that have all of it, a line each."""

_log = logging.getLogger("assentry.audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finishing:
    """How chains are opened and shipped: the ledger's own ways."""

    spool_of: Callable[[Path], Spool]
    shipper_of: Callable[[Spool], Shipper]
    now: Callable[[], float]


async def adopt(directory: Path, finishing: Finishing, *, own: str, every_s: float) -> None:
    """Finishes every chain but `own` that nobody writes, one after another, again and again until cancelled."""
    left_alone: dict[str, str] = {}
    while True:
        await _adopt(directory, finishing, own, left_alone)
        await asyncio.sleep(every_s)


async def _adopt(directory: Path, finishing: Finishing, own: str, left_alone: dict[str, str]) -> None:
    try:
        folders = await asyncio.to_thread(segments.chains, directory)
    except OSError as exc:
        _log.warning("chains of earlier workers cannot be looked at: %s", exc.strerror)
        return
    for folder in folders:
        if folder.name == own:
            continue
        spool = finishing.spool_of(folder)
        try:
            if _is_complete(folder, finishing.shipper_of(spool)):
                continue
            await asyncio.to_thread(spool.open, now=finishing.now())
        except OperatorFault as exc:
            # In use by a living worker, or damaged: not ours to finish. Said once.
            if left_alone.get(folder.name) != exc.detail:
                _log.info("chain %s is left alone: %s", folder.name, exc.detail)
            left_alone[folder.name] = exc.detail
            continue
        except Outage as exc:
            _log.warning("chain %s cannot be finished now: %s", folder.name, exc.detail)
            continue
        try:
            await _finish(folder, spool, finishing.shipper_of(spool))
        finally:
            spool.close()


def mark_complete(folder: Path, shipper: Shipper) -> None:
    """Notes which sinks have the whole chain, so that nobody looks at it again for them. Raises OSError."""
    done = [name for name, lag in shipper.lag.items() if lag == 0]
    (folder / COMPLETE).write_text("".join(f"{name}\n" for name in sorted(done)))


async def _finish(folder: Path, spool: Spool, shipper: Shipper) -> None:
    try:
        if spool.size > spool.checkpointed:
            await asyncio.to_thread(spool.checkpoint)
        shipper.finish()
        await shipper.run()
        await asyncio.to_thread(mark_complete, folder, shipper)
    except (Outage, OSError) as exc:
        _log.warning("chain %s cannot be finished now: %s", folder.name, exc)


def _is_complete(folder: Path, shipper: Shipper) -> bool:
    try:
        done = (folder / COMPLETE).read_text().split()
    except OSError:
        return False
    return set(shipper.lag) <= set(done)
