"""Claims into principals and persons, as values."""

from __future__ import annotations

import pytest

from config.settings import Claims, Issuer
from policy.principal import Person, Principal
from policy.reasons import Reason
from proxy.errors import IdentityFault
from proxy.identity.principals import (
    GROUP_CHARACTERS,
    MOST_ACTORS,
    MOST_GROUPS,
    Issuers,
    VerifiedClaims,
    person,
    principal,
)

CORP = Issuer(name="corp", issuer="https://idp.example.test", vouches_for=("fleet",))
FLEET = Issuer(name="fleet", issuer="https://fleet.example.test")
ISSUERS = Issuers({i.issuer: i for i in (CORP, FLEET)})


def verified(*, issuer=CORP, **claims) -> VerifiedClaims:
    return VerifiedClaims(issuer=issuer, claims={"sub": "bot", **claims}, issued_at=90.9, expires_at=100.9)


def agent(**claims) -> Principal:
    return principal(verified(**claims), issuers=ISSUERS)


def refused(*, of=agent, **claims) -> IdentityFault:
    with pytest.raises(IdentityFault) as caught:
        of(**claims)
    return caught.value


def human(**claims) -> Person:
    return person(verified(**claims))


def test_without_an_actor_the_subject_is_the_agent():
    assert agent() == Principal(agent="corp:bot", expires_at=100)


def test_with_an_actor_the_subject_is_whom_it_acts_for():
    found = agent(sub="ann", act={"sub": "bot"})
    assert (found.agent, found.subject, found.chain) == ("corp:bot", "corp:ann", ())
    assert found.requesters == {"corp:bot", "corp:ann"}


def test_earlier_actors_are_the_chain_latest_first():
    """RFC 8693 section 4.1, figure 6."""
    found = agent(sub="ann", act={"sub": "c", "act": {"sub": "b", "act": {"sub": "a"}}})
    assert (found.agent, found.chain) == ("corp:c", ("corp:b", "corp:a"))
    assert found.requesters == {"corp:ann", "corp:a", "corp:b", "corp:c"}


def test_an_actor_may_be_of_an_issuer_that_the_tokens_issuer_vouches_for():
    found = agent(sub="ann", act={"sub": "bot", "iss": FLEET.issuer, "act": {"sub": "b"}})
    assert (found.agent, found.chain) == ("fleet:bot", ("corp:b",))


def test_an_actor_of_the_tokens_own_issuer_may_say_so():
    assert agent(sub="ann", act={"sub": "bot", "iss": CORP.issuer}).agent == "corp:bot"


@pytest.mark.parametrize("iss", ["https://elsewhere.example.test", "corp", "", None, 5, [CORP.issuer]], ids=repr)
def test_an_actor_of_an_issuer_that_is_not_ours_is_refused(iss):
    assert refused(sub="ann", act={"sub": "bot", "iss": iss}).reason is Reason.IDENTITY_INVALID


def test_an_issuer_does_not_speak_for_anothers_agents_unless_it_may():
    claims = verified(issuer=FLEET, sub="ann", act={"sub": "bot", "iss": CORP.issuer})
    with pytest.raises(IdentityFault):
        principal(claims, issuers=ISSUERS)


@pytest.mark.parametrize(
    "act", [None, "bot", [], ["bot"], {}, {"act": {"sub": "b"}}, {"sub": "b", "act": None}], ids=repr
)
def test_an_actor_chain_that_is_not_one_is_refused(act):
    assert refused(act=act).reason is Reason.IDENTITY_INVALID


def test_an_endless_chain_is_refused():
    def chain(length: int) -> dict:
        return {"sub": "bot", "act": chain(length - 1)} if length > 1 else {"sub": "bot"}

    assert len(agent(act=chain(MOST_ACTORS)).chain) == MOST_ACTORS - 1
    refused(act=chain(MOST_ACTORS + 1))


def test_the_owner_is_a_subject_of_the_same_issuer():
    found = agent(owner="ann")
    assert found.owner == "corp:ann"
    assert "corp:ann" in found.requesters


@pytest.mark.parametrize("owner", ["", "ann\n", ["ann"], 5, {"sub": "ann"}], ids=repr)
def test_an_owner_that_cannot_be_read_refuses_the_token(owner):
    refused(owner=owner)


def test_the_client_is_the_authorized_party_or_the_client_id():
    assert agent(azp="a", client_id="b").client == "a"
    assert agent(client_id="b", jti="t-1").client == "b"
    assert agent(jti="t-1").token_id == "t-1"


def with_groups(path: str, **claims):
    issuer = Issuer(name="corp", issuer="https://idp.example.test", claims=Claims(groups=path))
    return principal(verified(issuer=issuer, **claims), issuers=ISSUERS).groups


def test_groups_are_found_under_their_name_or_along_a_path():
    assert with_groups("groups", groups=["a", "b", "a"]) == {"a", "b"}
    assert with_groups("realm_access.roles", realm_access={"roles": ["a"]}) == {"a"}
    assert with_groups("https://x.test/roles", **{"https://x.test/roles": ["a"]}) == {"a"}


def test_a_claim_of_the_very_name_goes_before_a_path():
    assert with_groups("a.b", **{"a.b": ["literal"], "a": {"b": ["path"]}}) == {"literal"}


def test_no_groups_are_no_groups():
    assert with_groups("a.b.c") == with_groups("a.b.c", a=5) == with_groups("a.b.c", a={"b": None}) == frozenset()


@pytest.mark.parametrize(
    "groups",
    [
        *("admins", {"a": 1}, 5, True, [5], ["a", None], [["a"]], [""], ["a\n"], ["a\u202eb"], ["a\x00"], ["\ud800"]),
        ["g" * (GROUP_CHARACTERS + 1)],
        [str(n) for n in range(MOST_GROUPS + 1)],
    ],
    ids=lambda value: repr(value)[:30],
)
def test_groups_that_are_not_a_list_of_plain_names_refuse_the_token(groups):
    refused(groups=groups)


def test_as_many_and_as_long_groups_as_allowed_are_taken():
    names = [f"{n:0{GROUP_CHARACTERS}}" for n in range(MOST_GROUPS)]
    assert agent(groups=names).groups == set(names)


def test_a_person_has_a_name_groups_and_a_time_of_sign_in():
    found = human(sub="ann", name="Ann Ó Briain", groups=["sre"], auth_time=1234.5, amr=["pwd", "hwk"])
    assert found == Person(
        identity="corp:ann",
        name="Ann Ó Briain",
        groups=frozenset({"sre"}),
        authenticated_at=1234,
        methods=frozenset({"pwd", "hwk"}),
        issued_at=90,
    )


@pytest.mark.parametrize("name", [None, "", 5, "Ann\u202e", "Ann\n", "a" * 201], ids=repr)
def test_a_name_that_should_not_be_shown_gives_way_to_the_subject(name):
    assert human(sub="ann", name=name).name == "ann"


@pytest.mark.parametrize(
    "changes", [{"auth_time": "1"}, {"auth_time": True}, {"auth_time": -1}, {"amr": "pwd"}], ids=str
)
def test_a_sign_in_that_cannot_be_read_refuses_the_token(changes):
    refused(of=human, sub="ann", **changes)


@pytest.mark.parametrize(
    "claims", [{"act": {"sub": "bot"}}, {"act": None}, {"azp": "bot"}, {"client_id": "bot"}, {"idtyp": "app"}], ids=str
)
def test_a_machine_is_not_a_person(claims):
    assert refused(of=human, **claims).reason is Reason.NOT_A_PERSON
