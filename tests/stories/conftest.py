"""Houses for stories: one Valkey for all, a namespace for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.house import House, house
from tests.fakes.valkey import PrivateValkey

_numbers = itertools.count()


@pytest.fixture(scope="session")
def valkey() -> Iterator[PrivateValkey]:
    with PrivateValkey() as server:
        yield server


@pytest.fixture
def open_house(tmp_path: Path, valkey: PrivateValkey) -> Callable[..., AbstractAsyncContextManager[House]]:
    """`async with open_house(policies=…, holds={…}) as home:` for stories that need settings of their own."""

    def opened(**settings: Any) -> AbstractAsyncContextManager[House]:
        number = next(_numbers)
        own = {"store": valkey.url, **settings}
        return house(tmp_path / f"house{number}", namespace=f"s{number}", **own)

    return opened


@pytest.fixture
async def home(open_house: Callable[..., AbstractAsyncContextManager[House]]) -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened
