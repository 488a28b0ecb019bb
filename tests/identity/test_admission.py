"""Who is let in at which door, and who is not."""

from __future__ import annotations

import pytest

from policy.principal import Identity
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault, Outage
from proxy.identity.admission import Admission
from proxy.identity.agent_keys import AgentKeys
from proxy.identity.denials import Denial, Denials, Kind
from proxy.identity.issuers import KeySource
from proxy.identity.people import People
from proxy.identity.tokens import TokenVerifier
from tests.fakes.issuer import FakeIssuer


@pytest.fixture
async def idp():
    async with FakeIssuer() as issuer:
        yield issuer


@pytest.fixture
async def admission(connection, sealer, idp):
    source = KeySource([idp.settings()])
    denials = Denials(connection)
    await denials.refresh()
    people = People(connection, sealer=sealer, groups={}, max_age_s=86_400, denials=denials)
    yield Admission(
        tokens=TokenVerifier([idp.settings()], source),
        keys=AgentKeys(connection, sealer=sealer),
        denials=denials,
        people=people,
    )
    await source.close()


async def deny(admission, kind, value):
    await admission.denials.add(Denial(kind=kind, value=value, by="corp:olga", reason="", at=1))


async def key(admission, agent="corp:bot", owner="corp:olga"):
    made, text = admission.keys.draft(Identity(agent), owner=Identity(owner), lifetime_s=3600)
    await admission.keys.keep(made)
    return made, text


async def agent_refused(admission, bearer):
    with pytest.raises(IdentityFault) as caught:
        await admission.agent(bearer)
    return caught.value.reason


async def person_refused(admission, bearer):
    with pytest.raises(IdentityFault) as caught:
        await admission.person(bearer)
    return caught.value.reason


async def test_an_agent_comes_in_with_a_token_or_a_key(admission, idp):
    _, text = await key(admission)
    assert (await admission.agent(idp.agent_token("bot"))).agent == "corp:bot"
    assert (await admission.agent(text)).agent == "corp:bot"


async def test_a_person_comes_in_with_a_persons_token_and_is_remembered(admission, idp):
    ann = await admission.person(idp.person_token("ann", groups=["leads"], name="Ann"))
    assert await admission.people.read([ann.identity]) == {"corp:ann": ann}


async def test_nobody_comes_in_with_nothing(admission):
    assert await agent_refused(admission, None) is Reason.IDENTITY_MISSING
    assert await person_refused(admission, None) is Reason.IDENTITY_MISSING


async def test_no_agent_comes_in_as_a_person(admission, idp):
    _, text = await key(admission)
    assert await person_refused(admission, idp.agent_token("bot")) is Reason.NOT_A_PERSON
    assert await person_refused(admission, idp.person_token("ann", act={"sub": "bot"})) is Reason.NOT_A_PERSON
    assert await person_refused(admission, idp.person_token("bot", client_id="bot")) is Reason.NOT_A_PERSON
    assert await person_refused(admission, text) is Reason.IDENTITY_INVALID
    assert await admission.people.read([Identity("corp:bot"), Identity("corp:ann")]) == {}


async def test_no_person_comes_in_as_an_agent(admission, idp):
    assert await agent_refused(admission, idp.person_token("ann")) is Reason.NOT_AN_AGENT


@pytest.mark.parametrize(
    ("kind", "value"), [(Kind.SUBJECT, "corp:bot"), (Kind.SUBJECT, "corp:olga"), (Kind.TOKEN, "corp:jti-1")]
)
async def test_an_agent_that_was_shut_out_stays_out_though_its_token_was_good_a_moment_ago(admission, idp, kind, value):
    token = idp.agent_token("bot", owner="olga", jti="jti-1")
    await admission.agent(token)
    await deny(admission, kind, value)
    assert await agent_refused(admission, token) is Reason.IDENTITY_REVOKED


async def test_an_agent_key_can_be_shut_out_by_its_id(admission):
    made, text = await key(admission)
    await admission.agent(text)
    await deny(admission, Kind.TOKEN, f"corp:{made.id}")
    assert await agent_refused(admission, text) is Reason.IDENTITY_REVOKED


@pytest.mark.parametrize(
    ("kind", "value"), [(Kind.SUBJECT, "corp:ann"), (Kind.TOKEN, "corp:jti-2"), (Kind.CLIENT, "corp:cli")]
)
async def test_a_person_who_was_shut_out_stays_out_and_so_does_their_session(admission, idp, kind, value):
    token = idp.person_token("ann", jti="jti-2", client_id="cli")
    ann = await admission.person(token)
    await deny(admission, kind, value)
    assert await person_refused(admission, token) is Reason.IDENTITY_REVOKED
    with pytest.raises(IdentityFault):
        await admission.known(ann)


async def test_agents_are_turned_away_while_the_deny_list_cannot_be_known(admission, idp, connection):
    blind = Admission(
        tokens=admission.tokens, keys=admission.keys, denials=Denials(connection), people=admission.people
    )
    with pytest.raises(Outage):
        await blind.agent(idp.agent_token("bot"))


async def test_text_that_only_looks_like_a_key_is_refused_as_one(admission):
    assert await agent_refused(admission, BearerText("ask_nothing")) is Reason.IDENTITY_INVALID
