"""Signed-in browsers: begun here only, good for a while, ended everywhere."""

from __future__ import annotations

import pytest

from policy.principal import Identity, Person
from proxy.errors import OperatorFault
from proxy.holds.sealing import Sealer
from proxy.identity.sessions import Sessions, carries
from tests.fakes.verifiers import Clock

ANN = Person(identity=Identity("corp:ann"), name="Ann Ó Briain", groups=frozenset({"leads"}), issued_at=1)
LIFETIME_S = 3600


@pytest.fixture
def now():
    return Clock()


@pytest.fixture
def sessions(connection, sealer, now):
    return Sessions(connection, sealer=sealer, lifetime_s=LIFETIME_S, now=now)


async def test_a_session_gives_back_the_person_who_began_it(sessions):
    name = await sessions.begin(ANN)
    found = await sessions.find(name)
    assert found.person == ANN


async def test_every_session_has_a_name_and_a_form_token_of_its_own(sessions):
    names = {await sessions.begin(ANN) for _ in range(20)}
    tokens = {(await sessions.find(name)).form_token for name in names}
    assert len(names) == len(tokens) == 20
    assert min(map(len, names | tokens)) >= 43  # 256 bits


@pytest.mark.parametrize("name", ["", "chosen-by-somebody", "\udcff", "}x{", "a" * 10_000], ids=range(5))
async def test_a_name_that_was_not_given_here_is_nobodys(sessions, name):
    assert await sessions.find(name) is None


async def test_a_session_ends_with_its_time_and_not_before(sessions, now):
    name = await sessions.begin(ANN)
    now.now += LIFETIME_S - 1
    assert await sessions.find(name)
    now.now += 1
    assert await sessions.find(name) is None


async def test_looking_at_a_session_does_not_prolong_it(sessions, connection, valkey):
    name = await sessions.begin(ANN)
    (key,) = [key async for key in connection.scan(connection.key("session:*", "session"))]
    ends = await connection.command("EXPIRETIME", key)
    await sessions.find(name)
    assert await connection.command("EXPIRETIME", key) == ends


async def test_an_ended_session_is_ended_on_every_replica(sessions, connection, sealer, now):
    name, other = await sessions.begin(ANN), await sessions.begin(ANN)
    await Sessions(connection, sealer=sealer, lifetime_s=LIFETIME_S, now=now).end(name)
    assert await sessions.find(name) is None
    assert await sessions.find(other)


async def test_a_session_cannot_be_planted_by_who_can_write_to_the_store(sessions, connection):
    name = await sessions.begin(ANN)
    (key,) = [key async for key in connection.scan(connection.key("session:*", "session"))]
    forger = Sessions(connection, sealer=Sealer(b"f" * 32), lifetime_s=LIFETIME_S)
    forged = await forger.begin(ANN)
    with pytest.raises(OperatorFault):
        await sessions.find(forged)
    await connection.command(
        "SET", key, b'{"person":{"identity":"corp:ann","name":"Ann"},"form_token":"x","until":9e9}'
    )
    with pytest.raises(OperatorFault):
        await sessions.find(name)


async def test_the_sealed_bytes_of_one_session_are_none_under_another_name(sessions, connection):
    ours, theirs = await sessions.begin(ANN), await sessions.begin(ANN)
    one, two = [key async for key in connection.scan(connection.key("session:*", "session"))]
    swapped = await connection.command("GET", one)
    await connection.command("SET", two, swapped)
    results = []
    for name in (ours, theirs):
        try:
            results.append(await sessions.find(name) is not None)
        except OperatorFault:
            results.append(False)
    assert sorted(results) == [False, True]


async def test_neither_name_nor_person_nor_form_token_is_in_the_store(sessions, valkey):
    name = await sessions.begin(ANN)
    found = await sessions.find(name)
    kept = valkey.files()
    assert name.encode() not in kept
    assert found.form_token.encode() not in kept
    assert "Ó Briain".encode() not in kept


async def test_a_form_belongs_to_its_session_only(sessions):
    mine, other = [await sessions.find(await sessions.begin(ANN)) for _ in range(2)]
    assert carries(mine, mine.form_token)
    for token in (other.form_token, "", mine.form_token[:-1], mine.form_token + "x", "é\udcff"):
        assert not carries(mine, token)
