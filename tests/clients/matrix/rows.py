"""Every row of the matrix. A client that comes with a connector of its own is a module here with its own `ROWS`."""

from __future__ import annotations

from tests.clients.matrix import cloud, cluster, plain, sdks, tools
from tests.clients.matrix.asking import Client

ROWS: tuple[Client, ...] = (*sdks.ROWS, *cloud.ROWS, *cluster.ROWS, *tools.ROWS, *plain.ROWS)
