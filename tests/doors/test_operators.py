"""The operators' door: alive, ready, and what it counts."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from config import settings
from policy.reasons import Reason
from proxy.doors.operators import OperatorsDoor
from proxy.errors import Outage
from proxy.holds.connection import connect
from proxy.meters import Meters
from tests.fakes.approvers import approvers
from tests.fakes.valkey import PrivateValkey


@asynccontextmanager
async def operators(**checks):
    """The door with these checks, and what it answers to a path."""
    door = OperatorsDoor(host="127.0.0.1", port=0, meters=Meters(), checks=checks, facts=lambda: {"bundle": "b1"})
    await door.start()

    async def ask(path):
        async with session.get("http://{}:{}{}".format(*door.address, path)) as answer:
            body = await answer.json() if answer.content_type == "application/json" else await answer.text()
            return answer.status, body

    try:
        async with ClientSession() as session:
            yield door, ask
    finally:
        await door.stop()


async def well():
    """Nothing is wrong."""


async def test_a_running_process_is_alive_whatever_is_wrong_with_its_parts():
    async def broken():
        raise Outage(Reason.STORE_UNAVAILABLE, "The store did not answer.")

    async with operators(store=broken) as (_, ask):
        assert await ask("/livez") == (200, "alive\n")
        status, report = await ask("/readyz")
    assert status == 503
    assert report == {"ready": False, "not_ready": {"store": "The store did not answer."}, "bundle": "b1"}


async def test_ready_means_that_every_part_is():
    async with operators(store=well, ledger=well) as (_, ask):
        assert await ask("/readyz") == (200, {"ready": True, "not_ready": {}, "bundle": "b1"})


async def test_a_part_that_does_not_answer_is_not_ready_and_does_not_keep_the_others_waiting():
    async def silent():
        await asyncio.Event().wait()

    async with operators(a=silent, b=silent, c=well) as (_, ask):
        async with asyncio.timeout(3.5):
            status, report = await ask("/readyz")
    assert (status, report["not_ready"]) == (503, {"a": "no answer in time", "b": "no answer in time"})


async def test_who_is_stopping_is_alive_and_not_ready():
    async with operators(store=well) as (door, ask):
        door.stopping = True
        assert (await ask("/livez"))[0] == 200
        status, report = await ask("/readyz")
    assert (status, report["not_ready"]) == (503, {"serve": "stopping"})


async def test_without_its_store_nobody_is_ready_and_with_it_again_they_are():
    with PrivateValkey() as valkey:
        connection = connect(settings.Store(timeout_s=1), url=valkey.url)
        async with operators(store=connection.ping) as (_, ask):
            assert (await ask("/readyz"))[0] == 200
            valkey.kill()
            status, report = await ask("/readyz")
            assert status == 503
            assert "store" in report["not_ready"]
            valkey.start()
            assert (await ask("/readyz"))[0] == 200
        await connection.close()


async def test_there_is_nothing_else_at_this_door():
    async with operators(store=well) as (_, ask):
        for path in ("/", "/v1/holds", "/v1/me", "/openapi.json", "/sign-in"):
            assert (await ask(path))[0] == 404


async def test_metrics_are_in_the_text_format_and_hold_nothing_that_a_caller_chose(tmp_path):
    marks = ("zzcaller", "zzcharge", "zzreason", "zzmodel")
    async with approvers(tmp_path) as office:
        call = await office.held(charge="zzcharge", said={"Assentry-Reason": "zzreason", "Assentry-Model": "zzmodel"})
        await office.decide("ann", "reject", call, reason="zzreason")
        agents = office.demo.gate.agents_url
        bearer = {"Authorization": f"Bearer {office.demo.agent_token}"}
        for path in ("/stripe/v1/zzcaller", "/zzcaller", "/stripe/v1/charges/zzcaller"):
            async with office.session.get(agents + path, headers=bearer | {"User-Agent": "zzcaller"}) as answer:
                assert answer.status in {200, 403, 404}
        await office.api("ann", "GET", "/v1/holds/zzcaller")
        async with office.session.get(f"{office.demo.gate.operators_url}/metrics") as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = await answer.text()
        async with office.session.get(f"{office.demo.gate.operators_url}/readyz") as answer:
            assert (await answer.json())["ready"] is True
    assert [mark for mark in marks if mark in text] == []
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"assentry_calls", "assentry_refused", "assentry_clicks", "assentry_holds_settled"} <= names
    assert re.search(r'assentry_clicks_total\{act="reject",refused=""\} 1\.0', text)
