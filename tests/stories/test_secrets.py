"""The store and the ledger in hostile hands: what was changed is not sent, and nothing readable is a secret."""

from __future__ import annotations

import base64
import logging

import pytest

from policy.hold import State
from proxy.holds.documents import Documents
from proxy.holds.sealing import Sealer
from tests.fakes.house import CREDENTIAL, ENCRYPTION_KEY, House, basic
from tests.fakes.upstream import reply
from tests.fakes.valkey import PrivateValkey

SWAPPED = b"charge=ch_1&amount=99000000&currency=eur"


@pytest.fixture
async def absent(open_house):
    """A house in which an approved call waits for its agent to come back."""
    async with open_house(holds={"detached_after_s": 600}) as home:
        yield home


async def approved(home: House):
    asked = home.begin(home.refund())
    held = await home.wait_for_hold()
    asked.cancel()
    await home.person("ann").approve(held)
    return await home.wait_until(held, State.APPROVED)


async def test_a_body_swapped_by_somebody_with_the_key_is_not_sent(absent: House):
    held = await approved(absent)
    forged = Documents(Sealer(base64.b64decode(ENCRYPTION_KEY))).body(held.call.id, SWAPPED)
    async with absent.store_connection() as store:
        await store.command("SET", store.key(held.call.id, "body"), forged)

    answer = await absent.refund()

    assert (answer.status, answer.json["reason"]) == (403, "fingerprint-changed")
    assert absent.upstream.received == []
    assert (await absent.wait_until(held, State.REJECTED)).conclusion is not None
    assert (await absent.told(held, ends="moved rejected"))[-1] == "moved rejected"


async def test_a_body_that_is_gone_from_the_store_is_not_sent_as_an_empty_one(absent: House):
    held = await approved(absent)
    async with absent.store_connection() as store:
        await store.command("DEL", store.key(held.call.id, "body"))

    answer = await absent.refund()

    assert (answer.status, answer.json["reason"]) == (403, "fingerprint-changed")
    assert absent.upstream.received == []


@pytest.mark.parametrize("kind", ["body", "hold"])
async def test_what_somebody_without_the_key_changed_is_not_sent(absent: House, kind: str):
    held = await approved(absent)
    async with absent.store_connection() as store:
        key = store.key(held.call.id, kind)
        if kind == "body":
            await store.command("SETRANGE", key, 20, "swapped")
        else:
            sealed = await store.command("HGET", key, "document")
            assert isinstance(sealed, bytes)
            await store.command("HSET", key, "document", sealed[:-1] + bytes([sealed[-1] ^ 1]))

    answer = await absent.refund()

    assert (answer.status, answer.json["reason"]) == (503, "store-unavailable")
    assert absent.upstream.received == []
    assert "released" not in await absent.told(held)


async def test_a_pending_hold_that_was_made_an_approved_one_in_the_store_is_not_sent(absent: House):
    asked = absent.begin(absent.refund())
    held = await absent.wait_for_hold()
    asked.cancel()
    async with absent.store_connection() as store:
        await store.command("HSET", store.key(held.call.id, "hold"), "state", "approved", "revision", 1)

    assert (await absent.refund()).status == 503
    assert absent.upstream.received == []


async def test_no_secret_is_in_ledger_logs_metrics_or_store(open_house, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with PrivateValkey() as server:
        async with open_house(store=server.url) as home:
            # An upstream that echoes its credential: what it says is passed on sealed, and never written down.
            home.upstream.default = reply(200, CREDENTIAL.encode(), ("x-echo", f"Bearer {CREDENTIAL}"))
            key = await home.agent_key()
            tokens = [home.agent_token(), key, home.agent_token(groups=())]
            for token in tokens:
                await home.refund(5_000, token=token)
            await home.refund(5_000, token=f"{key}x")
            await home.refund(5_000, headers=basic("user", key), token="")
            for token in tokens[:2]:
                asked = home.begin(home.refund(token=token))
                held = await home.wait_for_hold()
                await home.person("ann").approve(held, "fine")
                assert (await asked).headers["x-echo"] == "[redacted]"
                await home.wait_until(held, State.EXECUTED)
            metrics = await home.metrics()
            secrets = {*home.secrets, key.split("_", 2)[2]}
            assert len(home.upstream.received) == 5
        server.ask("BGREWRITEAOF")
        written = {
            "store": server.files(),
            "log": caplog.text.encode(),
            "metrics": metrics.encode(),
            "ledger": b"".join(path.read_bytes() for path in home.ledger.rglob("*") if path.is_file()),
        }
        found = [(where, secret) for where, text in written.items() for secret in secrets if secret.encode() in text]
    assert len(secrets) > 6
    assert b"corp:bot" in written["ledger"]
    assert b'upstream="stripe"' in written["metrics"]
    assert b":body" in written["store"]
    assert b"charge=ch_1" not in written["store"]
    assert found == []
