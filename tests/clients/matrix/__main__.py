"""`python -m tests.clients.matrix`: runs every row, prints the table; `--write` keeps it in docs/clients/README.md."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.clients.matrix.deciding import outcomes
from tests.clients.matrix.rows import ROWS
from tests.clients.matrix.table import table, write


def main() -> None:
    """Exit status 1 where a promise was not kept."""
    wanted = [client for client in ROWS if not (names := _names()) or client.name in names]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ran = asyncio.run(outcomes(wanted, Path(folder)))
    for outcome in ran:
        outcome.check()
    shown = table(ran)
    sys.stdout.write(f"{shown}\n\n{len(ran)} cases in {time.monotonic() - began:.1f} s\n")
    if "--write" in sys.argv and not _names():
        write(shown)


def _names() -> list[str]:
    return [word for word in sys.argv[1:] if not word.startswith("-")]


if __name__ == "__main__":
    main()
