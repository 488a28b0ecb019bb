"""Threats J6 and J7: key sets that should not be believed, issuers that fail, callers who make us ask."""

# ruff: noqa: F401, F811 -- fixtures are imported by name
from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from config.settings import Algorithm, Issuer
from policy.reasons import Reason
from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault, OperatorFault, Outage
from proxy.identity.documents import LIMIT_BYTES
from proxy.identity.issuers import KeyAlarm, KeySource
from proxy.identity.kept import COOL_DOWN_S, FRESH_S, KEEP_S
from proxy.identity.tokens import TokenVerifier
from tests.fakes.issuer import AGENTS, DISCOVERY, JWKS, FakeIssuer, Served, SigningKey, b64, compact
from tests.fakes.verifiers import Clock, clock, idp, refusal, verify


class Watched:
    """A verifier of one issuer whose monotonic clock is moved by hand and whose alarms are kept."""

    def __init__(self, *issuers: Issuer, wall: Clock) -> None:
        self.monotonic = Clock(0.0)
        self.wall = wall
        self.alarms: list[tuple[str, KeyAlarm]] = []
        self.keys = KeySource(issuers, clock=self.monotonic, alarm=lambda name, what: self.alarms.append((name, what)))
        self.verifier = TokenVerifier(issuers, self.keys, now=wall, cache_size=0)

    def pass_time(self, seconds: float) -> None:
        self.monotonic.now += seconds
        self.wall.now += seconds

    async def accepts(self, text: str) -> bool:
        try:
            await self.verifier.agent(BearerText(text))
        except IdentityFault as fault:
            assert fault.reason is Reason.IDENTITY_INVALID  # noqa: PT017
            return False
        return True


@pytest.fixture
async def watch(clock):
    made: list[Watched] = []

    def make(*issuers):
        made.append(Watched(*issuers, wall=clock))
        return made[-1]

    yield make
    for watched in made:
        await watched.keys.close()


async def outage(watched: Watched, text: str) -> Outage:
    with pytest.raises(Outage) as caught:
        await watched.verifier.agent(BearerText(text))
    assert caught.value.reason is Reason.ISSUER_UNAVAILABLE
    return caught.value


# --- J6: what is published --------------------------------------------------------------------------------------------


async def test_an_rsa_key_of_1024_bits_verifies_nothing(watch, clock):
    async with FakeIssuer(algorithm=Algorithm.RS256, now=clock) as idp:
        short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        idp.keys = [SigningKey("key-1", Algorithm.RS256, short)]
        assert not await watch(idp.settings()).accepts(idp.agent_token())


async def test_a_key_for_encryption_verifies_nothing(idp, watch):
    idp.answers[JWKS] = Served(json.dumps({"keys": [idp.keys[0].public_jwk(use="enc")]}).encode())
    assert not await watch(idp.settings()).accepts(idp.agent_token())


async def test_a_shared_secret_in_a_key_set_verifies_nothing(idp, watch):
    secret = b"a secret of thirty-two characters"
    idp.extra_jwks = [{"kty": "oct", "kid": "oct", "k": b64(secret), "alg": "HS256", "use": "sig"}]
    watched = watch(idp.settings())
    for alg in ("HS256", "ES256"):
        signing_input = compact({"alg": alg, "kid": "oct"}, idp.claims("bot", AGENTS)).rpartition(".")[0]
        tag = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        assert not await watched.accepts(f"{signing_input}.{b64(tag)}")


async def test_two_keys_of_one_id_verify_nothing_and_raise_an_alarm(idp, watch):
    idp.keys = [idp.keys[0], SigningKey.make("key-1")]
    watched = watch(idp.settings())
    for key in idp.keys:
        assert not await watched.accepts(key.sign(idp.claims("bot", AGENTS)))
    assert ("corp", KeyAlarm.KEYS_LEFT_OUT) in watched.alarms


@pytest.mark.parametrize("uri", ["http://keys.example.test/jwks", "http://10.0.0.1/jwks", "http://127.0.0.1@x.test/"])
def test_keys_over_plain_http_from_another_machine_are_a_fault_of_the_settings(uri):
    settings = {"name": "corp", "issuer": "https://idp.example.test", "jwks_uri": uri}
    with pytest.raises(OperatorFault):
        KeySource([Issuer.model_construct(**{**Issuer(name="x", issuer="https://x").__dict__, **settings})])


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example.test"},
        {"issuer": None},
        {"jwks_uri": "http://keys.example.test/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "ftp://127.0.0.1/jwks"},
        {"jwks_uri": ["https://keys.example.test"]},
        {"jwks_uri": None},
        {"jwks_uri": "http://[::1"},
        {"token_endpoint": "http://elsewhere.example.test/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
async def test_a_discovery_document_that_misleads_is_not_believed(idp, watch, changes):
    idp.metadata = changes
    await outage(watch(idp.settings()), idp.agent_token())
    assert idp.fetches[JWKS] == 0


async def test_discovery_of_a_remote_issuer_does_not_lead_to_this_machine():
    from proxy.identity.issuers import read_discovery

    document = {"issuer": "https://idp.example.test", "jwks_uri": "http://127.0.0.1:6379/"}
    with pytest.raises(Outage):
        read_discovery(document, issuer="https://idp.example.test")


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize(
    "served",
    [
        Served(b"<html>sign in</html>"),
        Served(b"[]"),
        Served(b'{"keys": 5}'),
        Served(b'{"keys": [], "keys": []}'),
        Served(b"\xff\xfe{}"),
        Served(b'{"keys":' * 5000),
        Served(b"", status=204),
        Served(b"", status=500),
        Served(b'{"keys":[]}', status=203),
        Served(b'{"keys":["' + b"x" * LIMIT_BYTES + b'"]}'),
        Served(gzip.compress(b'{"keys":[]}', mtime=0), headers={"Content-Encoding": "gzip"}),
    ],
    ids=lambda served: f"{served.status}-{served.body[:12]!r}" if isinstance(served, Served) else served,
)
async def test_garbage_in_place_of_a_document_is_an_outage(idp, watch, path, served):
    idp.answers[path] = served
    await outage(watch(idp.settings()), idp.agent_token())


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(idp, watch, path, status):
    async with FakeIssuer(name="evil") as evil:
        idp.answers[path] = Served(status=status, headers={"Location": evil.url + path})
        await outage(watch(idp.settings()), idp.agent_token())
        assert evil.fetches.total() == 0


async def test_an_issuers_cookies_are_not_sent_back(idp, watch):
    idp.answers["/other"] = Served(json.dumps({"keys": []}).encode(), headers={"Set-Cookie": "a=b"})
    # By name: the jar of the client would not keep cookies of a bare address anyway.
    url = idp.url.replace("127.0.0.1", "localhost")
    watched = watch(idp.settings(jwks_uri=url + "/other"))
    assert not await watched.accepts(idp.agent_token())
    watched.pass_time(COOL_DOWN_S)
    assert not await watched.accepts(idp.agent_token())
    assert idp.fetches["/other"] >= 2
    assert idp.cookies_seen == []


async def test_a_proxy_in_the_environment_is_not_used(idp, watch, monkeypatch):
    async with FakeIssuer(name="evil") as evil:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, evil.url)
        monkeypatch.setenv("no_proxy", "")
        assert await watch(idp.settings()).accepts(idp.agent_token())
        assert evil.fetches.total() == 0


# --- J7: who makes us ask, and what serves meanwhile ------------------------------------------------------------------


async def test_random_key_ids_do_not_hammer_the_issuer(idp, watch):
    watched = watch(idp.settings())
    assert await watched.accepts(idp.agent_token())
    for n in range(60):
        assert not await watched.accepts(idp.sign(idp.claims("bot", AGENTS), kid=f"random-{n}"))
    assert idp.fetches[JWKS] == 2
    assert await watched.accepts(idp.agent_token())


async def test_random_tokens_at_once_cause_one_fetch(idp, watch):
    watched = watch(idp.settings())
    texts = [idp.sign(idp.claims("bot", AGENTS), kid=f"random-{n}") for n in range(60)]
    assert not any(await asyncio.gather(*(watched.accepts(text) for text in texts)))
    assert idp.fetches[JWKS] <= 2


async def test_junk_that_names_no_issuer_or_algorithm_of_ours_causes_no_fetch(idp, watch):
    watched = watch(idp.settings())
    assert not await watched.accepts(idp.agent_token(iss="https://elsewhere.example.test"))
    assert not await watched.accepts(compact({"alg": "RS256"}, idp.claims("bot", AGENTS)))
    assert not await watched.accepts(idp.sign(idp.claims("bot", AGENTS), typ="logout+jwt"))
    assert idp.fetches.total() == 0


async def test_a_key_that_was_just_rotated_in_is_taken_at_once(idp, watch):
    watched = watch(idp.settings())
    assert await watched.accepts(idp.agent_token())
    idp.rotate()
    assert await watched.accepts(idp.agent_token())
    assert idp.fetches[JWKS] == 2


async def test_a_key_rotated_in_behind_a_flood_of_junk_is_taken_after_the_cool_down(idp, watch):
    watched = watch(idp.settings())
    assert not await watched.accepts(idp.sign(idp.claims("bot", AGENTS), kid="junk"))
    idp.rotate()
    assert not await watched.accepts(idp.agent_token())
    watched.pass_time(COOL_DOWN_S)
    assert await watched.accepts(idp.agent_token())


async def test_a_key_that_was_withdrawn_stops_verifying(idp, watch):
    watched = watch(idp.settings())
    old = idp.agent_token(exp=clock_end(watched), iat=watched.wall.now)
    assert await watched.accepts(old)
    idp.rotate(keep_old=False)
    watched.pass_time(FRESH_S)
    assert not await watched.accepts(old)


async def test_a_set_emptied_by_its_issuer_is_believed(idp, watch):
    watched = watch(idp.settings())
    text = idp.agent_token(exp=clock_end(watched), iat=watched.wall.now)
    assert await watched.accepts(text)
    idp.keys.clear()
    watched.pass_time(FRESH_S)
    assert not await watched.accepts(text)
    assert set(watched.alarms) == {("corp", KeyAlarm.KEYS_LEFT_OUT)}


async def test_a_dead_issuer_is_an_outage_for_those_it_never_served(idp, watch):
    watched = watch(idp.settings())
    await idp.down()
    fault = await outage(watched, idp.agent_token())
    assert idp.url not in fault.detail
    assert watched.alarms[-1] == ("corp", KeyAlarm.GONE)


@pytest.mark.parametrize("failing", ["down", "garbage"])
async def test_known_keys_serve_for_a_day_without_their_issuer_under_alarm(idp, watch, failing):
    watched = watch(idp.settings())
    assert await watched.accepts(idp.agent_token())
    if failing == "down":
        await idp.down()
    else:
        idp.answers = {JWKS: Served(b"<html>maintenance</html>")}
    watched.pass_time(KEEP_S - 1)
    assert await watched.accepts(idp.agent_token())
    assert watched.alarms == [("corp", KeyAlarm.STALE)] * (2 if failing == "down" else 1)
    assert not await watched.accepts(idp.sign(idp.claims("bot", AGENTS), kid="unknown"))
    watched.pass_time(1)
    await outage(watched, idp.agent_token())
    idp.answers.clear()
    if failing == "down":
        await idp.up()
    watched.pass_time(COOL_DOWN_S)
    assert await watched.accepts(idp.agent_token())


async def test_one_issuer_down_leaves_the_others_alone(idp, watch, clock):
    async with FakeIssuer(name="other", now=clock) as other:
        watched = watch(idp.settings(), other.settings())
        await idp.down()
        await outage(watched, idp.agent_token())
        assert await watched.accepts(other.agent_token())


async def test_an_issuer_that_does_not_answer_is_given_up_on(idp):
    idp.open_gate.clear()
    keys = KeySource([idp.settings()], timeout_s=0.05)
    with pytest.raises(Outage):
        await keys.metadata("corp")
    await keys.close()


async def test_keys_are_fetched_ahead_in_the_background(idp, watch):
    watched = watch(idp.settings())
    async with asyncio.TaskGroup() as group:
        tending = group.create_task(watched.keys.run())
        await idp.was_asked(JWKS)
        assert await watched.accepts(idp.agent_token())
        tending.cancel()
    assert idp.fetches[JWKS] == 1


def clock_end(watched: Watched) -> float:
    """An expiry beyond the time that the test lets pass."""
    return watched.wall.now + 2 * FRESH_S
