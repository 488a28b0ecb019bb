"""A real store for tests of what identity keeps there: one server for all, a namespace for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from config import settings
from proxy.holds.connection import StoreConnection, connect
from proxy.holds.sealing import Sealer
from tests.fakes.valkey import PrivateValkey

_namespaces = itertools.count()


@pytest.fixture(scope="session")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture
async def connection(valkey: PrivateValkey) -> AsyncIterator[StoreConnection]:
    made = connect(settings.Store(namespace=f"i{next(_namespaces)}", timeout_s=5), url=valkey.url)
    yield made
    await made.close()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(b"k" * 32)
