"""Records of the command line: one process, one record, on the disk before what it speaks of takes effect.

The command line writes a chain of its own beside the gate's, because a chain has one writer. Blocking: there is
nobody else to wait for. The gate checks the chain, ships it to the sinks and leaves its records alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from config import settings as config
from policy.reasons import Reason
from proxy.audit.chain import Entry
from proxy.audit.keys import signing_key, veiling_key
from proxy.audit.orphans import COMPLETE
from proxy.audit.record import Record
from proxy.audit.redact import Redactor
from proxy.audit.spool import Spool
from proxy.errors import OperatorFault, Outage

CHAIN: Final = "cli"
_PATIENCE_S: Final = 5.0
"""How long another command may keep the chain to itself."""
_LOOK_S: Final = 0.02


def write(settings: config.Ledger, *, directory: Path, record: Record) -> None:
    """The record is on the disk and counted by a checkpoint.

    Raises OperatorFault or Outage, and then nothing may be done that needed it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        redactor = Redactor(veiling_key(directory))
        key, folder = signing_key(directory), directory / CHAIN
        spool = Spool(folder, key=key, redactor=redactor, segment_bytes=settings.segment_bytes)
        _open(spool)
        try:
            # What sinks were sent so far is not all there is any more.
            (folder / COMPLETE).unlink(missing_ok=True)
            spool.append([Entry(json=redactor.encode(record.members), at=time.time())])
            spool.checkpoint()  # syncs first
        finally:
            spool.close()
    except OSError as exc:
        detail = f"The ledger in {str(directory)!r} cannot be written: {exc.strerror}. Nothing was done."
        raise Outage(Reason.LEDGER_UNAVAILABLE, detail) from exc


def _open(spool: Spool) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            spool.open(now=time.time())
        except OperatorFault:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOOK_S)
        else:
            return
