"""The directory of people: whose word about groups counts, and for how long."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from config.settings import Group
from policy.principal import Identity, Person
from policy.reasons import Reason
from proxy.errors import IdentityFault, OperatorFault
from proxy.identity.denials import Denial, Denials, Kind
from proxy.identity.people import People

DAY = 86_400
ANN = Identity("corp:ann")


def ann(*groups, ago=0, **facts):
    return Person(identity=ANN, name="Ann", groups=frozenset(groups), issued_at=int(time.time()) - ago, **facts)


@pytest.fixture
def denials(connection):
    return Denials(connection)


@pytest.fixture
def people(connection, sealer, denials):
    def build(max_age_s=DAY, **groups):
        return People(connection, sealer=sealer, groups=groups, max_age_s=max_age_s, denials=denials)

    return build


async def known(directory):
    return (await directory.read([ANN])).get(ANN)


async def test_who_was_seen_is_known(people):
    directory = people()
    seen = await directory.seen(ann("leads"))
    assert seen == await known(directory)
    assert seen.groups == {"leads"}


async def test_who_was_never_seen_is_not_known(people):
    assert await people().read([Identity("corp:nobody")]) == {}


async def test_an_older_telling_never_replaces_a_later_one(people):
    directory = people()
    await directory.seen(ann(ago=5))
    await directory.seen(ann("leads", ago=60))
    assert (await known(directory)).groups == set()


async def test_an_older_token_does_not_bring_back_a_group_that_was_left(people):
    directory = people()
    await directory.seen(ann("staff", ago=5))
    back = await directory.seen(ann("staff", "leads", ago=60, authenticated_at=7, methods=frozenset({"mfa"})))
    assert back.groups == {"staff"}
    assert (back.authenticated_at, back.methods) == (7, {"mfa"})


async def test_a_later_telling_counts_at_once(people):
    directory = people()
    await directory.seen(ann("leads", ago=60))
    assert (await directory.seen(ann(ago=5))).groups == set()


async def test_members_named_in_the_settings_are_in_the_group_whatever_their_token_says(people):
    directory = people(leads=Group(members=(ANN,)))
    assert (await directory.seen(ann())).groups == {"leads"}


async def test_a_group_that_is_not_taken_from_claims_cannot_be_claimed(people):
    directory = people(leads=Group(from_claims=False))
    assert (await directory.seen(ann("leads", "staff"))).groups == {"staff"}
    assert (await known(directory)).groups == {"staff"}


async def test_what_settings_say_of_groups_today_counts_and_not_what_they_said_then(people):
    await people(leads=Group(members=(ANN,))).seen(ann())
    assert (await known(people())).groups == set()


async def test_what_is_too_old_is_not_known_and_asks_for_a_new_sign_in(people):
    directory = people(max_age_s=60)
    with pytest.raises(IdentityFault) as refused:
        await directory.seen(ann("leads", ago=61))
    assert refused.value.reason is Reason.IDENTITY_EXPIRED
    assert await known(directory) is None


async def test_using_an_old_telling_does_not_make_it_last_longer(people, connection):
    directory = people(max_age_s=100)
    telling = ann("leads", ago=40)
    for _ in range(3):
        await directory.seen(telling)
    assert await connection.command("EXPIRETIME", connection.key(f"person:{ANN}", "said")) == telling.issued_at + 100


async def test_who_is_shut_out_is_not_known(people, denials):
    directory = people()
    await directory.seen(ann("leads"))
    await denials.add(Denial(kind=Kind.SUBJECT, value=ANN, by="corp:olga", reason="left", at=1))
    assert await known(directory) is None


async def test_nobody_writes_themselves_into_a_group(people, connection, sealer):
    directory = people()
    await directory.seen(ann())
    mallory = replace(ann("leads"), identity=Identity("corp:mallory"))
    await directory.seen(mallory)
    key = connection.key("person:corp:mallory", "said")
    moved = await connection.command("HGET", key, "text")
    await connection.command("HSET", connection.key(f"person:{ANN}", "said"), "text", moved)
    with pytest.raises(OperatorFault):
        await directory.read([ANN])
    await connection.command("HSET", key, "text", b'{"identity":"corp:mallory","name":"M","groups":["root"]}')
    with pytest.raises(OperatorFault):
        await directory.read([Identity("corp:mallory")])


async def test_what_is_known_already_is_not_written_again_and_what_is_new_is(people, connection):
    directory, key = people(), connection.key(f"person:{ANN}", "said")
    telling = ann("leads", "staff")
    await directory.seen(telling)
    kept = await connection.command("HGET", key, "text")
    await directory.seen(telling)
    assert await connection.command("HGET", key, "text") == kept
    # Another token of the same second, with other groups.
    assert (await directory.seen(replace(telling, groups=frozenset({"staff"})))).groups == {"staff"}
    assert (await known(directory)).groups == {"staff"}


async def test_a_shorter_memory_counts_for_what_is_known_already(people, connection):
    telling = ann("leads", ago=10)
    await people(max_age_s=100).seen(telling)
    await people(max_age_s=60).seen(telling)
    assert await connection.command("EXPIRETIME", connection.key(f"person:{ANN}", "said")) == telling.issued_at + 60
