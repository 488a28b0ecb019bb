"""Every row of the matrix. A client that comes with a connector of its own is a module here with its own `ROWS`."""

from __future__ import annotations

from tests.clients.matrix import plain, sdks
from tests.clients.matrix.asking import Client

ROWS: tuple[Client, ...] = (*sdks.ROWS, *plain.ROWS)
