"""Anything at all at the doors: a name or an IdentityFault, and nothing else."""

# ruff: noqa: F401, F811 -- fixtures are imported by name
from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault
from tests.fakes.issuer import AGENTS, PEOPLE, b64, compact
from tests.fakes.verifiers import clock, idp, verify

segments = st.one_of(
    st.binary(max_size=80).map(b64),
    st.text(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: b64(json.dumps(value).encode())),
)
headers = st.fixed_dictionaries(
    {"alg": st.sampled_from(["ES256", "none", "HS256", None, 1])},
    optional={
        name: st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=8)
        | st.lists(st.text(max_size=4), max_size=2)
        for name in ("kid", "typ", "crit", "jku", "jwk", "x5c", "b64")
    },
)


async def only_identity_faults(verifier, text) -> None:
    for door in (verifier.agent, verifier.person):
        with pytest.raises(IdentityFault) as caught:
            await door(BearerText(text))
        assert caught.value.reason in {Reason.IDENTITY_INVALID, Reason.NOT_A_PERSON, Reason.NOT_AN_AGENT}


relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(text=st.one_of(st.text(max_size=200), st.lists(segments, max_size=6).map(".".join)))
async def test_any_text_meets_a_refusal_and_nothing_else(idp, verify, text):
    await only_identity_faults(verify(idp.settings()), text)


@relaxed
@given(header=headers, signature=st.binary(max_size=140))
async def test_any_header_and_signature_over_honest_claims_meet_a_refusal(idp, verify, header, signature):
    await only_identity_faults(verify(idp.settings()), compact(header, idp.claims("bot", AGENTS), signature))


claim_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@relaxed
@given(
    changes=st.dictionaries(
        st.sampled_from(
            ["sub", "aud", "exp", "iat", "nbf", "act", "groups", "owner", "azp", "jti", "amr", "auth_time", "name"]
        ),
        claim_values,
        max_size=4,
    )
)
async def test_an_honest_signature_over_any_claims_gives_a_name_or_a_refusal(idp, verify, changes):
    verifier = verify(idp.settings())
    for door, audience in ((verifier.agent, AGENTS), (verifier.person, PEOPLE)):
        token = idp.sign({**idp.claims("bot", audience), **changes})
        try:
            found = await door(token)
        except IdentityFault as fault:
            assert fault.reason in {Reason.IDENTITY_INVALID, Reason.IDENTITY_EXPIRED, Reason.NOT_A_PERSON}  # noqa: PT017
        else:
            assert getattr(found, "agent", None) or found.identity
