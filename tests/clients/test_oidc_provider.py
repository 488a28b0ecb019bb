"""Our verifier against an issuer that we did not write."""

from __future__ import annotations

import json
import time

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from config.settings import Algorithm, Claims, Issuer
from policy.principal import Principal
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault
from proxy.identity.issuers import KeySource
from proxy.identity.tokens import TokenVerifier

OUR_AUDIENCE = "https://gate.example.test/agents"
CLIENT = {"Authorization": aiohttp.encode_basic_auth("refund-bot", "a-secret-for-a-test")}


@pytest.fixture
async def verifier(provider):
    issuer = Issuer(
        name="npm",
        issuer=provider,
        algorithms=(Algorithm.ES256,),
        agents_audience=OUR_AUDIENCE,
        claims=Claims(groups="realm.groups"),
    )
    keys = KeySource([issuer])
    yield TokenVerifier([issuer], keys)
    await keys.close()


async def obtain(provider: str, resource: str, **headers: str) -> BearerText:
    """An access token by the client credentials grant (RFC 6749 section 4.4, RFC 8707)."""
    form = {"grant_type": "client_credentials", "resource": resource, "scope": "call"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{provider}/token", data=form, headers={**CLIENT, **headers}) as answer,
    ):
        body = await answer.json()
        assert answer.status == 200, body
        return BearerText(body["access_token"])


async def test_a_token_of_an_independent_issuer_proves_the_agent(provider, verifier):
    text = await obtain(provider, OUR_AUDIENCE)
    assert jwt.get_unverified_header(text)["typ"] == "at+jwt"
    agent = await verifier.agent(text)
    assert isinstance(agent, Principal)
    assert (agent.agent, agent.owner, agent.client) == ("npm:refund-bot", "npm:ann", "refund-bot")
    assert agent.groups == {"bots", "refunds"}
    assert verifier.believed(text).proof == agent


@pytest.mark.parametrize("resource", ["https://elsewhere.example.test/", "https://opaque.example.test/"])
async def test_its_tokens_for_others_prove_nothing_here(provider, verifier, resource):
    with pytest.raises(IdentityFault) as caught:
        await verifier.agent(await obtain(provider, resource))
    assert caught.value.reason is Reason.IDENTITY_INVALID


async def test_its_token_with_one_changed_letter_is_refused(provider, verifier):
    text = await obtain(provider, OUR_AUDIENCE)
    head, payload, signature = text.split(".")
    other = "A" if signature[0] != "A" else "B"
    with pytest.raises(IdentityFault):
        await verifier.agent(BearerText(f"{head}.{payload}.{other}{signature[1:]}"))


async def test_its_token_that_is_bound_to_a_key_does_not_pass_as_a_bearer_token(provider, verifier):
    """RFC 9449: whoever stole it could not prove the key, so it must not be enough."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(key.public_key()))
    proof = {"htm": "POST", "htu": f"{provider}/token", "jti": "one", "iat": int(time.time())}
    text = await obtain(
        provider, OUR_AUDIENCE, DPoP=jwt.encode(proof, key, "ES256", headers={"typ": "dpop+jwt", "jwk": public})
    )
    with pytest.raises(IdentityFault) as caught:
        await verifier.agent(text)
    assert "bound to a key" in caught.value.detail
