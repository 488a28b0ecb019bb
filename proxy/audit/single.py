"""Records of the command line: one process, one record, on the disk before what it speaks of takes effect.

The command line writes a chain of its own beside the gate's, because a chain has one writer. Blocking: there is
nobody else to wait for. A running gate ships the chain to the sinks.
"""

from __future__ import annotations

import os
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
from proxy.audit.spool import Spool, lock
from proxy.errors import OperatorFault, Outage

CHAINS: Final = ("cli", *(f"cli-{number}" for number in range(2, 10)))
"""The first that nobody writes is taken: a chain is kept for as long as a gate ships it to a sink that is down."""


def write(settings: config.Ledger, *, directory: Path, record: Record) -> None:
    """The record is on the disk and counted by a checkpoint.

    Raises OperatorFault or Outage, and then nothing may be done that needed it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        redactor = Redactor(veiling_key(directory))
        spool = _opened(directory, redactor=redactor, segment_bytes=settings.segment_bytes)
        try:
            # What sinks were sent so far is not all there is any more.
            (directory / spool.chain / COMPLETE).unlink(missing_ok=True)
            spool.append([Entry(json=redactor.encode(record.members), at=time.time())])
            spool.checkpoint()  # syncs first
        finally:
            spool.close()
    except OSError as exc:
        detail = f"The ledger in {str(directory)!r} cannot be written: {exc.strerror}. Nothing was done."
        raise Outage(Reason.LEDGER_UNAVAILABLE, detail) from exc


def _opened(directory: Path, *, redactor: Redactor, segment_bytes: int) -> Spool:
    key = signing_key(directory)
    for chain in CHAINS:
        spool = Spool(directory / chain, key=key, redactor=redactor, segment_bytes=segment_bytes)
        try:
            spool.open(now=time.time())
        except OperatorFault:
            if not _in_use(directory / chain):
                raise
        else:
            return spool
    raise Outage(Reason.LEDGER_UNAVAILABLE, "Every chain of the command line is being written. Nothing was done.")


def _in_use(folder: Path) -> bool:
    try:
        os.close(lock(folder))
    except OperatorFault:
        return True
    return False
