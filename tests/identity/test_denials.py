"""The deny list: what it names, whom it reaches, and what happens when it cannot be read."""

from __future__ import annotations

import logging

import pytest

from config import settings
from policy.principal import Identity, Person, Principal
from policy.reasons import Reason
from proxy.errors import CallerFault, Outage
from proxy.holds.connection import connect
from proxy.identity.denials import MOST_STALE_S, Denial, Denials, Kind
from tests.fakes.valkey import PrivateValkey
from tests.fakes.verifiers import Clock

BOT = Principal(
    agent=Identity("corp:bot"), owner=Identity("corp:olga"), client="billing", token_id="t-1", expires_at=2_000_000_000
)
DELEGATED = Principal(
    agent=Identity("lab:worker"),
    subject=Identity("corp:ann"),
    chain=(Identity("corp:planner"),),
    client="billing",
    token_id="t-2",
    expires_at=2_000_000_000,
)


def entry(kind, value, at=1):
    return Denial(kind=kind, value=value, by="corp:olga", reason="lost laptop", at=at)


@pytest.fixture
def monotonic():
    return Clock(100.0)


@pytest.fixture
async def denials(connection, monotonic):
    made = Denials(connection, monotonic=monotonic)
    await made.refresh()
    return made


@pytest.mark.parametrize(
    ("who", "kind", "value"),
    [
        (BOT, Kind.SUBJECT, "corp:bot"),
        (BOT, Kind.SUBJECT, "corp:olga"),
        (BOT, Kind.CLIENT, "corp:billing"),
        (BOT, Kind.TOKEN, "corp:t-1"),
        (DELEGATED, Kind.SUBJECT, "lab:worker"),
        (DELEGATED, Kind.SUBJECT, "corp:ann"),
        (DELEGATED, Kind.SUBJECT, "corp:planner"),
        (DELEGATED, Kind.TOKEN, "corp:t-2"),
        (DELEGATED, Kind.CLIENT, "corp:billing"),
    ],
)
async def test_everyone_behind_a_call_is_reached(denials, who, kind, value):
    assert not denials.shut_out(who)
    assert not await denials.shut_out_now(who)
    await denials.add(entry(kind, value))
    assert denials.shut_out(who)
    assert await denials.shut_out_now(who)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.SUBJECT, "lab:bot"),
        (Kind.CLIENT, "corp:bot"),
        (Kind.TOKEN, "lab:t-1"),
        (Kind.SUBJECT, "corp:bo"),
        (Kind.TOKEN, "corp:billing"),
    ],
)
async def test_a_namesake_elsewhere_is_not_reached(denials, kind, value):
    await denials.add(entry(kind, value))
    assert not denials.shut_out(BOT)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Kind.SUBJECT, "corp:ann"), (Kind.CLIENT, "corp:console"), (Kind.TOKEN, "corp:t-9")],
)
async def test_a_person_is_reached_by_subject_client_and_token(denials, kind, value):
    ann = Person(identity=Identity("corp:ann"), name="Ann", client="console", token_id="t-9")
    assert not await denials.shut_out_now(ann)
    await denials.add(entry(kind, value))
    assert await denials.shut_out_now(ann)


async def test_a_copy_that_is_too_old_counts_as_not_knowing(denials, monotonic):
    monotonic.now += MOST_STALE_S
    assert not denials.shut_out(BOT)
    monotonic.now += 0.1
    with pytest.raises(Outage) as fault:
        denials.shut_out(BOT)
    assert fault.value.reason is Reason.STORE_UNAVAILABLE


async def test_a_copy_never_read_counts_as_not_knowing(connection):
    with pytest.raises(Outage):
        Denials(connection).shut_out(BOT)


async def test_another_replica_sees_it_after_its_next_look(denials, connection):
    other = Denials(connection)
    await other.refresh()
    before = other.epoch
    await denials.add(entry(Kind.SUBJECT, "corp:bot"))
    assert await other.shut_out_now(BOT)
    await other.refresh()
    assert other.shut_out(BOT)
    assert other.epoch > before


async def test_who_is_let_in_again_is_in(denials):
    await denials.add(entry(Kind.SUBJECT, "corp:bot"))
    assert await denials.remove(Kind.SUBJECT, "corp:bot")
    assert not denials.shut_out(BOT)
    assert not await denials.remove(Kind.SUBJECT, "corp:bot")


async def test_the_list_says_who_why_and_when_oldest_first(denials):
    await denials.add(entry(Kind.SUBJECT, "corp:bot", at=2))
    await denials.add(entry(Kind.TOKEN, "corp:t-1", at=1))
    assert await denials.listing() == (entry(Kind.TOKEN, "corp:t-1", at=1), entry(Kind.SUBJECT, "corp:bot", at=2))


@pytest.mark.parametrize("value", ["", "bot", "corp:", "Corp:bot", "corp:b ot", "corp:" + "x" * 256, "corp:\u202e"])
async def test_a_value_that_names_nobody_is_refused(denials, value):
    with pytest.raises(CallerFault):
        await denials.add(entry(Kind.SUBJECT, value))


async def test_a_store_that_does_not_answer_is_an_outage_and_not_a_free_pass(caplog):
    with PrivateValkey() as server:
        made = connect(settings.Store(timeout_s=1), url=server.url)
        denials = Denials(made)
        await denials.refresh()
        server.kill()
        with caplog.at_level(logging.CRITICAL), pytest.raises(Outage):
            await denials.shut_out_now(BOT)
        await made.close()
