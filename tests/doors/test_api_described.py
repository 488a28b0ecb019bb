"""The API does what its own description says, for whatever can be sent to it (Schemathesis on the live socket)."""

from __future__ import annotations

import asyncio

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.fakes.approvers import approvers

EXAMPLES = 15
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.negative_data_rejection,
    checks.ignored_auth,
]


def exercise(url, *, token, only=None, skip=(), call=None):
    """Every operation with valid and with broken input; returns how many answers were looked at."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    seen = []
    for found in schema.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name in skip or (only is not None and name not in only):
            continue
        held = {"path_parameters": {"id": call}} if call and "{id}" in operation.path else {}
        for mode in GenerationMode:
            seen += _answers(operation, mode, token=token, **held)
    return seen


def _answers(operation, mode, *, token, **held):
    seen = []
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    @given(case=operation.as_strategy(mode, **held))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def each(case):
        answer = case.call_and_validate(headers=headers, checks=CHECKS, timeout=10)
        seen.append((operation.definition.raw["operationId"], answer.status_code))

    each()
    return seen


@pytest.fixture
async def office(tmp_path):
    async with approvers(tmp_path) as running:
        yield running


async def test_the_api_is_as_described_to_a_person(office):
    """Ann may read the ledger: a stream without end, so that one is left out."""
    call = await office.held()
    token = office.demo.issuer.person_token("ann")
    seen = await asyncio.to_thread(exercise, office.url, token=token, skip=("followLedger",))
    statuses = {status for _, status in seen}
    assert {200, 400, 403, 404} <= statuses
    seen = await asyncio.to_thread(
        exercise, office.url, token=token, only=("showHold", "approveHold", "rejectHold"), call=call
    )
    assert ("showHold", 200) in seen
    assert ("approveHold", 409) in seen
    assert (await office.show(call))["state"] == "pending"


async def test_the_deny_list_is_as_described_to_an_operator(office):
    token = office.demo.issuer.person_token("olga")
    only = ("listDenials", "addDenial", "removeDenial")
    seen = await asyncio.to_thread(exercise, office.url, token=token, only=only)
    assert ("addDenial", 200) in seen
    assert ("removeDenial", 404) in seen


@pytest.mark.parametrize("whose", ["nobody", "agent"])
async def test_the_api_is_as_described_to_who_may_not(office, whose):
    token = office.demo.agent_token if whose == "agent" else ""
    seen = await asyncio.to_thread(exercise, office.url, token=token)
    assert {status for _, status in seen} <= {401, 403, 404, 405}
    assert {name for name, status in seen if status == (403 if whose == "agent" else 401)} == {
        "me", "listHolds", "showHold", "approveHold", "rejectHold", "withdrawHold",
        "followLedger", "listDenials", "addDenial", "removeDenial",
    }  # fmt: skip
