"""A real store for every test: one server for all, a namespace for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from config import settings
from proxy.holds.connection import StoreConnection, connect
from proxy.holds.sealing import Sealer
from proxy.holds.store import HoldStore
from tests.fakes.valkey import PrivateValkey, single_node_cluster

KEY = b"k" * 32
_namespaces = itertools.count()


@pytest.fixture(scope="session")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[PrivateValkey]:
    with single_node_cluster() as server:
        yield server


@pytest.fixture(params=["valkey", "cluster"])
def server(request: pytest.FixtureRequest) -> PrivateValkey:
    return request.getfixturevalue(request.param)


@pytest.fixture
def url(server: PrivateValkey) -> str:
    return server.url.replace("redis://", "redis+cluster://")


@pytest.fixture
def store_settings() -> settings.Store:
    return settings.Store(namespace=f"t{next(_namespaces)}", timeout_s=5)


@pytest.fixture
async def connection(url: str, store_settings: settings.Store) -> AsyncIterator[StoreConnection]:
    made = connect(store_settings, url=url)
    yield made
    await made.close()


@pytest.fixture
async def other_connection(url: str, store_settings: settings.Store) -> AsyncIterator[StoreConnection]:
    made = connect(store_settings, url=url)
    yield made
    await made.close()


@pytest.fixture
def new_store() -> Callable[..., HoldStore]:
    def build(connection: StoreConnection, **changes: object) -> HoldStore:
        return HoldStore(connection, sealer=Sealer(KEY), holds=settings.Holds.model_validate(changes))

    return build


@pytest.fixture
def store(connection: StoreConnection, new_store: Callable[..., HoldStore]) -> HoldStore:
    return new_store(connection)


@pytest.fixture
def other_store(other_connection: StoreConnection, new_store: Callable[..., HoldStore]) -> HoldStore:
    return new_store(other_connection)
