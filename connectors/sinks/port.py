"""What every sink promises to the ledger's shipper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class SinkUnavailable(Exception):
    """The sink did not take the lines. They will be offered again."""


class Sink(Protocol):
    """Where records stream to. Each record arrives at least once, and those of one chain in order."""

    async def ship(self, lines: Sequence[bytes]) -> None:
        """Returns when the sink has all the lines, each of which ends in a newline.

        Raises SinkUnavailable, and then the same lines come again; a cancelled call counts as not taken.
        """

    async def close(self) -> None:
        """Lets go of what the sink holds open. Never raises."""
