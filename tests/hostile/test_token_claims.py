"""Threats J4, J5 and J10: well-signed tokens that are not for us, not for now, or name nobody properly."""

# ruff: noqa: F401, F811 -- fixtures are imported by name
from __future__ import annotations

import pytest

from policy.reasons import Reason
from proxy.errors import IdentityFault
from tests.fakes.issuer import AGENTS, PEOPLE, FakeIssuer, SigningKey
from tests.fakes.verifiers import NOW, clock, idp, refusal, verify


async def assert_invalid(verifier, text) -> None:
    assert (await refusal(verifier, text)).reason is Reason.IDENTITY_INVALID


# --- J4: who it is from, whom it is for, what it is ------------------------------------------------------------------


def iss_variants(iss: str) -> list[object]:
    return [None, "", iss + "/", iss.upper(), iss + "\u200b", "https" + iss[4:], iss[:-1], [iss], {"a": iss}, 5]


async def test_an_issuer_that_is_not_exactly_one_of_ours_is_refused(idp, verify):
    verifier = verify(idp.settings())
    for iss in iss_variants(idp.url):
        await assert_invalid(verifier, idp.agent_token(iss=iss))
    assert idp.fetches.total() == 0


@pytest.mark.parametrize(
    "aud",
    [
        None,
        "",
        5,
        True,
        {"a": AGENTS},
        AGENTS + "/",
        AGENTS.upper(),
        AGENTS[:-1],
        AGENTS + "\u200b",
        AGENTS.replace("a", "а", 1),  # Cyrillic
        "https://gate.example.test",
        [],
        [[AGENTS]],
        [AGENTS, 5],
        [AGENTS, AGENTS],
        [AGENTS, "https://elsewhere.example.test"],
        ["https://elsewhere.example.test"],
        [f"{AGENTS} "],
        [AGENTS, *(str(n) for n in range(30))],
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_us_alone_is_refused(idp, verify, aud):
    await assert_invalid(verify(idp.settings()), idp.agent_token(aud=aud))


async def test_a_list_that_names_us_alone_is_taken(idp, verify):
    assert (await verify(idp.settings()).agent(idp.agent_token(aud=[AGENTS]))).agent == "corp:bot"


async def test_a_list_is_taken_with_companions_that_the_operator_named_and_no_others(idp, verify):
    verifier = verify(idp.settings(companion_audiences=("account",)))
    assert (await verifier.agent(idp.agent_token(aud=["account", AGENTS]))).agent == "corp:bot"
    await assert_invalid(verifier, idp.agent_token(aud=["account"]))
    await assert_invalid(verifier, idp.agent_token(aud=["account", AGENTS, "other"]))


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", "at+jwt ", "at＋jwt", "", 5, ["jwt"]])
async def test_a_token_of_another_kind_is_refused(idp, verify, typ):
    await assert_invalid(verify(idp.settings()), idp.sign(idp.claims("bot", AGENTS), typ=typ))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", None])
async def test_the_kinds_of_real_issuers_are_taken(idp, verify, typ):
    token = idp.sign(idp.claims("bot", AGENTS), typ=typ)
    assert (await verify(idp.settings()).agent(token)).agent == "corp:bot"


async def test_a_look_alike_of_a_kind_is_another_kind(idp, verify):
    """The Kelvin sign is a `k` in lower case."""
    verifier = verify(idp.settings(token_types=("kind+jwt",)))
    assert (await verifier.agent(idp.sign(idp.claims("bot", AGENTS), typ="Kind+jwt"))).agent == "corp:bot"
    await assert_invalid(verifier, idp.sign(idp.claims("bot", AGENTS), typ="\u212aind+jwt"))


async def test_an_issuers_list_of_kinds_is_kept_to(idp, verify):
    verifier = verify(idp.settings(token_types=("at+jwt",)))
    await assert_invalid(verifier, idp.sign(idp.claims("bot", AGENTS), typ="JWT"))
    await assert_invalid(verifier, idp.sign(idp.claims("bot", AGENTS), typ=None))


async def test_a_security_event_is_not_an_access_token(idp, verify):
    event = {"http://schemas.openid.net/event/backchannel-logout": {}}
    await assert_invalid(verify(idp.settings()), idp.agent_token(events=event))


async def test_a_token_bound_to_a_key_does_not_pass_as_a_bearer_token(idp, verify):
    await assert_invalid(verify(idp.settings()), idp.agent_token(cnf={"jkt": "abc"}))


async def test_one_issuers_keys_do_not_sign_for_another(idp, verify, clock):
    async with FakeIssuer(name="evil", now=clock) as evil:
        verifier = verify(idp.settings(), evil.settings())
        await assert_invalid(verifier, evil.sign(idp.claims("bot", AGENTS)))
        assert (await verifier.agent(evil.agent_token())).agent == "evil:bot"


async def test_one_issuers_audience_is_not_taken_from_another(idp, verify, clock):
    async with FakeIssuer(name="other", now=clock) as other:
        verifier = verify(idp.settings(), other.settings(agents_audience="https://other.example.test"))
        await assert_invalid(verifier, other.agent_token(aud=AGENTS))


# --- J5: times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1800000100", True, False, [1], {"a": 1}, -1, ""], ids=repr)
async def test_a_time_that_is_not_a_number_is_refused(idp, verify, claim, value):
    await assert_invalid(verify(idp.settings()), idp.agent_token(**{claim: value}))


@pytest.mark.parametrize("claim", ["exp", "iat"])
async def test_a_token_of_unknown_age_is_refused(idp, verify, claim):
    await assert_invalid(verify(idp.settings()), idp.agent_token(**{claim: None}))


@pytest.mark.parametrize("lifetime", [3601, 10 * 365 * 86_400, 1_800_000_000_000], ids=str)
async def test_a_token_that_lives_too_long_is_refused(idp, verify, lifetime):
    await assert_invalid(verify(idp.settings(max_lifetime_s=3600)), idp.agent_token(exp=NOW + lifetime))


async def test_times_in_milliseconds_are_refused(idp, verify):
    claims = {"iat": NOW * 1000, "exp": NOW * 1000 + 300_000}
    await assert_invalid(verify(idp.settings()), idp.agent_token(**claims))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_a_token_from_the_future_is_refused_beyond_the_leeway(idp, verify, claim):
    verifier = verify(idp.settings(leeway_s=10))
    await assert_invalid(verifier, idp.agent_token(**{claim: NOW + 11}))
    assert (await verifier.agent(idp.agent_token(**{claim: NOW + 10}))).agent == "corp:bot"


async def test_an_expired_token_is_refused_with_a_reason_of_its_own(idp, verify, clock):
    verifier = verify(idp.settings(leeway_s=10))
    text = idp.agent_token(exp=NOW + 100)
    clock.now = NOW + 109
    assert (await verifier.agent(text)).expires_at == NOW + 100
    clock.now = NOW + 110
    assert (await refusal(verifier, text)).reason is Reason.IDENTITY_EXPIRED


async def test_an_expired_forgery_is_a_forgery(idp, verify, clock):
    """What an expired token says is only worth telling once it is known to be the issuer's."""
    forged = SigningKey.make("key-1").sign(idp.claims("bot", AGENTS, exp=NOW - 100, iat=NOW - 200))
    await assert_invalid(verify(idp.settings()), forged)


# --- J10: odd names --------------------------------------------------------------------------------------------------

ODD_NAMES = [
    *(
        "bot\r\nX-Evil: 1",
        "bot\x00",
        "bot\u202etob",
        "bot\u200b",
        "<!channel>",
        "*bot*",
        "bot bot",
        "",
        "b" * 256,
        "bоt",
    ),
    *("bot\ud800", "[x](http://e)", "bot\n"),
]


@pytest.mark.parametrize("name", ODD_NAMES, ids=repr)
async def test_an_odd_name_is_refused_wherever_it_stands(idp, verify, name):
    verifier = verify(idp.settings())
    for changes in ({"sub": name}, {"act": {"sub": name}}, {"owner": name}, {"azp": name}, {"jti": name}):
        await assert_invalid(verifier, idp.agent_token(**changes))


@pytest.mark.parametrize("sub", [5, True, ["bot"], {"a": "bot"}, None], ids=repr)
async def test_a_subject_that_is_not_a_text_is_refused(idp, verify, sub):
    await assert_invalid(verify(idp.settings()), idp.agent_token(sub=sub))


# --- doors -----------------------------------------------------------------------------------------------------------


async def test_a_persons_token_does_not_open_the_agents_door(idp, verify):
    verifier = verify(idp.settings())
    assert (await refusal(verifier, idp.person_token())).reason is Reason.NOT_AN_AGENT
    assert (await refusal(verifier, idp.agent_token(aud=[AGENTS, PEOPLE]))).reason is Reason.NOT_AN_AGENT


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": AGENTS},
        {"aud": [PEOPLE, AGENTS]},
        {"act": {"sub": "bot"}},
        {"act": None, "azp": "ann"},
        {"client_id": "ann"},
        {"gty": "client-credentials"},
        {"idtyp": "app"},
    ],
    ids=str,
)
async def test_an_agents_token_does_not_open_the_approvers_door(idp, verify, changes):
    verifier = verify(idp.settings(companion_audiences=(AGENTS, PEOPLE)))
    with pytest.raises(IdentityFault) as caught:
        await verifier.person(idp.person_token(**changes))
    assert caught.value.reason is Reason.NOT_A_PERSON


async def test_a_proof_for_one_door_is_not_remembered_for_the_other(idp, verify):
    verifier = verify(idp.settings())
    text = idp.agent_token()
    await verifier.agent(text)
    with pytest.raises(IdentityFault):
        await verifier.person(text)
