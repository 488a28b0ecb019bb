"""Every client, real and unmodified, finds a held call to be a slow call; the table of the pages says what was seen."""

from __future__ import annotations

import asyncio

import pytest

from tests.clients import kubernetes_clients
from tests.clients.matrix import cluster
from tests.clients.matrix.asking import Client
from tests.clients.matrix.deciding import Outcome, When, outcomes
from tests.clients.matrix.rows import ROWS
from tests.clients.matrix.table import documented, table

NOT_LOCKED = {"curl", "kubectl"}
"""Programs of the system, which not every system has."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """All of them at once: most of their time they wait."""
    rows = list(ROWS)
    try:
        kubernetes_clients.python()
    except pytest.skip.Exception:
        rows.remove(cluster.PYTHON)
    return asyncio.run(outcomes(rows, tmp_path_factory.mktemp("matrix")))


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("client", ROWS, ids=lambda client: client.name)
def test_a_held_call_is_one_hold_one_announcement_and_one_call_upstream(
    client: Client, when: When, ran: list[Outcome]
) -> None:
    own = [one for one in ran if one.case.client is client and one.case.when is when]
    if not any(one.case.client is client for one in ran):
        pytest.skip(f"NOT TESTED with {client.name}: it cannot be installed here")
    if when is When.UNHEARD and client.unheard is None:
        assert own == []  # Nothing is said to it that could be swallowed.
        return
    assert sorted(one.case.approve for one in own) == [False, True]
    for one in own:
        one.check()


def test_the_page_shows_what_was_seen_with_the_locked_versions(ran: list[Outcome]) -> None:
    absent = {row.name for row in ROWS} - {one.case.client.name for one in ran}
    absent |= NOT_LOCKED - {row.name for row in ROWS}
    assert documented(without=absent) == table(ran), "write it anew: python -m tests.clients.matrix --write"
