"""The verifier's own doings: what it remembers, sign-in, and settings that contradict each other."""
# ruff: noqa: F401, F811 -- fixtures are imported by name

from __future__ import annotations

import pytest

from config.settings import Issuer
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault, OperatorFault
from proxy.identity.cache import BELIEVED_S, ProofCache
from proxy.identity.tokens import check_issuers
from tests.fakes.issuer import AGENTS, PEOPLE, FakeIssuer
from tests.fakes.verifiers import NOW, clock, idp, refusal, verify

CLIENT = "console"


async def test_a_verified_token_is_remembered_for_a_minute(idp, verify, clock):
    verifier = verify(idp.settings())
    text = idp.agent_token(exp=NOW + 300)
    assert verifier.believed(text) is None
    found = await verifier.agent(text)
    clock.now += BELIEVED_S - 1
    assert verifier.believed(text).proof is found
    clock.now += 1
    assert verifier.believed(text) is None


async def test_a_token_is_not_remembered_beyond_its_expiry(idp, verify, clock):
    verifier = verify(idp.settings())
    text = idp.agent_token(exp=NOW + 30)
    await verifier.agent(text)
    clock.now = NOW + 30
    assert verifier.believed(text) is None


async def test_a_clock_set_back_makes_every_token_be_verified_anew(idp, verify, clock):
    verifier = verify(idp.settings())
    text = idp.agent_token()
    await verifier.agent(text)
    clock.now -= 1
    assert verifier.believed(text) is None


async def test_forgetting_makes_every_token_be_verified_anew(idp, verify):
    verifier = verify(idp.settings())
    agents, people = idp.agent_token(), idp.person_token()
    await verifier.agent(agents)
    first = await verifier.person(people)
    assert await verifier.person(people) is first
    verifier.forget()
    assert verifier.believed(agents) is None
    assert await verifier.person(people) is not first


async def test_remembered_tokens_are_limited_in_number(idp, verify):
    verifier = verify(idp.settings(), cache_size=2)
    texts = [idp.agent_token(f"bot-{n}") for n in range(3)]
    for text in texts:
        await verifier.agent(text)
    assert [verifier.believed(text) is not None for text in texts] == [False, True, True]


def test_what_was_never_a_token_is_not_looked_up():
    cache: ProofCache[str] = ProofCache(size=1)
    assert cache.get(BearerText("\ud800é"), now=0) is None
    assert cache.get(BearerText("x" * 1_000_000), now=0) is None


async def test_a_token_without_kid_is_taken_while_the_issuer_has_one_key(idp, verify):
    verifier = verify(idp.settings())
    text = idp.sign(idp.claims("bot", AGENTS), kid=None)
    assert (await verifier.agent(text)).agent == "corp:bot"
    idp.rotate()
    other = verify(idp.settings())
    assert (await refusal(other, idp.sign(idp.claims("bot", AGENTS), kid=None))).reason is Reason.IDENTITY_INVALID


async def test_an_issuer_without_agents_has_none(idp, verify):
    verifier = verify(idp.settings(agents_audience=None))
    assert (await refusal(verifier, idp.agent_token())).reason is Reason.NOT_AN_AGENT
    assert (await verifier.person(idp.person_token())).identity == "corp:ann"


async def test_an_issuer_without_people_has_none(idp, verify):
    verifier = verify(idp.settings(people_audience=None))
    with pytest.raises(IdentityFault) as caught:
        await verifier.person(idp.person_token())
    assert caught.value.reason is Reason.NOT_A_PERSON


# --- sign-in ---------------------------------------------------------------------------------------------------------


def id_token(idp, **changes):
    claims = idp.claims("ann", CLIENT, **{"nonce": "n-1", "name": "Ann", "auth_time": int(NOW) - 5, **changes})
    return idp.sign(claims, typ="JWT")


async def sign_in(verifier, text, *, nonce="n-1", issuer="corp"):
    return await verifier.signed_in(text, issuer=issuer, client_id=CLIENT, nonce=nonce)


async def test_an_id_token_of_our_own_sign_in_proves_a_person(idp, verify):
    verifier = verify(idp.settings(token_types=("at+jwt",)))
    found = await sign_in(verifier, id_token(idp, azp=CLIENT))
    assert (found.identity, found.name, found.authenticated_at) == ("corp:ann", "Ann", NOW - 5)


@pytest.mark.parametrize(
    "changes",
    [
        *({"nonce": "n-2"}, {"nonce": None}, {"nonce": 5}, {"nonce": "\ud800"}),
        *({"azp": "other"}, {"azp": 5}, {"aud": PEOPLE}, {"aud": [CLIENT, "other"]}, {"aud": None}, {"events": {}}),
    ],
    ids=str,
)
async def test_an_id_token_of_another_sign_in_or_client_is_refused(idp, verify, changes):
    with pytest.raises(IdentityFault) as caught:
        await sign_in(verify(idp.settings()), id_token(idp, **changes))
    assert caught.value.reason is Reason.IDENTITY_INVALID


async def test_an_access_token_does_not_sign_in(idp, verify):
    claims = idp.claims("ann", CLIENT, nonce="n-1")
    with pytest.raises(IdentityFault):
        await sign_in(verify(idp.settings()), idp.sign(claims, typ="at+jwt"))


async def test_an_id_token_of_another_issuer_does_not_sign_in(idp, verify, clock):
    async with FakeIssuer(name="other", now=clock) as other:
        with pytest.raises(IdentityFault):
            await sign_in(verify(idp.settings(), other.settings()), id_token(other))


async def test_an_actor_does_not_sign_in(idp, verify):
    with pytest.raises(IdentityFault) as caught:
        await sign_in(verify(idp.settings()), id_token(idp, act={"sub": "bot"}))
    assert caught.value.reason is Reason.NOT_A_PERSON


async def test_an_agents_audience_beside_ours_does_not_sign_in(idp, verify):
    verifier = verify(idp.settings(companion_audiences=(AGENTS,)))
    with pytest.raises(IdentityFault) as caught:
        await sign_in(verifier, id_token(idp, aud=[CLIENT, AGENTS]))
    assert caught.value.reason is Reason.NOT_A_PERSON


# --- settings --------------------------------------------------------------------------------------------------------


def issuer(name: str, **changes) -> Issuer:
    return Issuer(**{"name": name, "issuer": f"https://{name}.example.test", **changes})


@pytest.mark.parametrize(
    "issuers",
    [
        [issuer("a", agents_audience="x", people_audience="x")],
        [issuer("a", agents_audience="x"), issuer("b", people_audience="x")],
        [issuer("a"), issuer("a", issuer="https://b.example.test")],
        [issuer("a"), issuer("b", issuer="https://a.example.test")],
        [issuer("a", vouches_for=("b",))],
    ],
    ids=["one audience", "one audience of two", "one name", "one iss", "vouching for nobody"],
)
def test_issuers_that_contradict_each_other_are_a_fault_of_the_settings(issuers):
    with pytest.raises(OperatorFault):
        check_issuers(issuers)


def test_two_issuers_of_agents_may_share_an_audience():
    check_issuers([issuer("a", agents_audience="x", people_audience="y"), issuer("b", agents_audience="x")])


async def test_metadata_names_the_endpoints_that_the_issuer_names(idp, verify):
    from proxy.identity.issuers import KeySource

    idp.metadata = {
        "token_endpoint": f"{idp.url}/token",
        "authorization_endpoint": f"{idp.url}/authorize",
        "token_endpoint_auth_methods_supported": ["none", 5],
    }
    keys = KeySource([idp.settings(jwks_uri=f"{idp.url}/jwks")])
    found = await keys.metadata("corp")
    await keys.close()
    assert (found.token_endpoint, found.authorization_endpoint) == (f"{idp.url}/token", f"{idp.url}/authorize")
    assert found.userinfo_endpoint is None
    assert found.token_endpoint_auth_methods == ("none",)
