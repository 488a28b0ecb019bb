"""The sign-in of people, against a real provider: state, nonce, PKCE, one browser, one answer, one time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web

from config.settings import Issuer, SignIn
from policy.reasons import Reason
from proxy.demo.issuer import DemoAgent, DemoIssuer, DemoPerson
from proxy.errors import IdentityFault, OperatorFault, Outage
from proxy.holds.sealing import Sealer
from proxy.identity.issuers import KeySource
from proxy.identity.login import Login
from proxy.identity.tokens import TokenVerifier

BACK = "http://127.0.0.1:9/signed-in"


def provider():
    return DemoIssuer(
        people={
            name: DemoPerson(subject=name, name=name.title(), groups=("leads",), about="") for name in ("ann", "ben")
        },
        agents={"bot": DemoAgent(client_id="bot", secret="s", owner="ann", groups=())},
        people_audience="people",
        agents_audience="agents",
        client_id="console",
        redirect_uris=(BACK,),
        demo=True,
    )


@dataclass
class Asked:
    """Where a browser was sent."""

    url: str

    @property
    def sent(self):
        return {name: value for name, (value,) in parse_qs(urlsplit(self.url).query).items()}


@pytest.fixture
async def idp():
    made = provider()
    await made.start()
    yield made
    await made.stop()


def settings_of(url):
    return Issuer(name="demo", issuer=url, algorithms=("ES256",), agents_audience="agents", people_audience="people")


@pytest.fixture
async def login_at(connection, sealer):
    sources = []

    def make(url, *, issuers=(), sealed_by=sealer):
        known = [settings_of(url), *issuers]
        sources.append(KeySource(known))
        return Login(
            SignIn(issuer="demo", client_id="console"),
            redirect_uri=BACK,
            keys=sources[-1],
            tokens=TokenVerifier(known, sources[-1]),
            connection=connection,
            sealer=sealed_by,
        )

    yield make
    for source in sources:
        await source.close()


@pytest.fixture
def login(idp, login_at):
    return login_at(idp.url)


async def clicked(asked, *, who="ann", **changes):
    """What the provider sends the browser back with."""
    form = {**asked.sent, "as": who, **changes}
    async with (
        aiohttp.ClientSession() as session,
        session.post(asked.url.split("?")[0], data=form, allow_redirects=False) as answer,
    ):
        assert answer.status == 303, await answer.text()
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


async def begun(login, browser="browser-1", back_to="/settled"):
    return Asked(await login.begin(browser=browser, back_to=back_to))


async def refusal(login, back, browser="browser-1"):
    with pytest.raises(IdentityFault) as caught:
        await login.finish(code=back["code"], state=back["state"], browser=browser)
    assert caught.value.reason is Reason.IDENTITY_INVALID
    return caught.value


async def test_who_signed_in_comes_back_where_they_wanted_to_go(login):
    back = await clicked(await begun(login))
    ann, back_to = await login.finish(code=back["code"], state=back["state"], browser="browser-1")
    assert (ann.identity, ann.name, ann.groups, back_to) == ("demo:ann", "Ann", {"leads"}, "/settled")
    assert ann.authenticated_at is not None
    assert "mfa" in ann.methods


async def test_the_browser_is_sent_with_state_nonce_and_an_s256_challenge(login, idp):
    sent = (await begun(login)).sent
    assert sent["code_challenge_method"] == "S256"
    assert min(len(sent[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert "code_verifier" not in sent
    again = (await begun(login)).sent
    assert all(sent[name] != again[name] for name in ("state", "nonce", "code_challenge"))


async def test_an_answer_in_another_browser_is_refused(login):
    back = await clicked(await begun(login))
    for browser in ("browser-2", "", "é\udcff"):
        await refusal(login, back, browser)


async def test_an_answer_in_another_browser_uses_the_question_up(login):
    back = await clicked(await begun(login))
    await refusal(login, back, "browser-2")
    await refusal(login, back, "browser-1")


async def test_an_answer_that_was_used_is_refused(login):
    back = await clicked(await begun(login))
    await login.finish(code=back["code"], state=back["state"], browser="browser-1")
    await refusal(login, back)


async def test_of_two_answers_at_once_one_counts(login):
    back = await clicked(await begun(login))
    both = await asyncio.gather(
        *(login.finish(code=back["code"], state=back["state"], browser="browser-1") for _ in range(2)),
        return_exceptions=True,
    )
    assert sorted(isinstance(one, IdentityFault) for one in both) == [False, True]


@pytest.mark.parametrize("state", ["", "invented", "}x{", "\udcff", "s" * 5000], ids=range(5))
async def test_a_state_that_was_not_given_here_is_refused(login, state):
    await refusal(login, {"code": "c", "state": state})


async def test_an_answer_without_a_code_is_refused_in_words(login):
    asked = await begun(login)
    fault = await refusal(login, {"code": "", "state": asked.sent["state"]})
    assert "did not sign you in" in fault.detail


async def test_a_code_that_belongs_to_another_question_is_refused(login):
    """PKCE: the code was given for another challenge, so this question's verifier does not open it."""
    mine, theirs = await begun(login), await begun(login, "browser-2")
    stolen = await clicked(theirs, who="ben")
    await refusal(login, {"code": stolen["code"], "state": mine.sent["state"]})


async def test_an_id_token_with_another_nonce_is_refused(login):
    asked = await begun(login)
    back = await clicked(asked, nonce="somebody-elses")
    fault = await refusal(login, back)
    assert "does not belong to this sign-in" in fault.detail


async def test_an_id_token_without_a_nonce_is_refused(login):
    await refusal(login, await clicked(await begun(login), nonce=""))


async def test_the_store_holds_nothing_that_finishes_a_sign_in(login, valkey):
    asked = await begun(login, browser="a-secret-of-the-browser")
    kept = valkey.files()
    for secret in (b"a-secret-of-the-browser", asked.sent["state"].encode(), asked.sent["nonce"].encode()):
        assert secret not in kept


async def test_a_question_written_by_somebody_else_is_not_ours(login, login_at, idp):
    forger = login_at(idp.url, sealed_by=Sealer(b"f" * 32))
    asked = await begun(forger)
    with pytest.raises(OperatorFault):
        await login.finish(code="c", state=asked.sent["state"], browser="browser-1")


async def test_an_issuer_that_is_down_is_an_outage(login, idp):
    back = await clicked(await begun(login))
    await idp.stop()
    with pytest.raises(Outage) as fault:
        await login.finish(code=back["code"], state=back["state"], browser="browser-1")
    assert fault.value.reason is Reason.ISSUER_UNAVAILABLE


async def test_nobody_is_sent_to_an_issuer_that_was_never_reached(login_at):
    with pytest.raises(Outage):
        await begun(login_at("http://127.0.0.1:9"))


@asynccontextmanager
async def odd_issuer(status, text):
    """A provider whose token endpoint answers just this, and the forms that it was sent."""
    forms = []

    async def answer(asked):
        own = f"http://{asked.host}"
        ends = {"jwks_uri": "jwks", "token_endpoint": "token", "authorization_endpoint": "authorize"}
        if asked.path == "/token":
            forms.append(dict(await asked.post()))
            return web.Response(status=status, text=text, headers={"Location": "/elsewhere"})
        return web.json_response({"issuer": own, "keys": [], **{name: f"{own}/{end}" for name, end in ends.items()}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", forms
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (500, "", Outage),
        (302, "", IdentityFault),
        (400, '{"error":"invalid_grant"}', IdentityFault),
        (200, "not json", Outage),
        (200, '{"access_token":"x"}', IdentityFault),
        (200, '{"id_token":5}', IdentityFault),
        (200, '{"id_token":"a.b.c"}', IdentityFault),
        (200, '{"id_token":"' + "x" * 3_000_000 + '"}', Outage),
    ],
    ids=["500", "redirect", "400", "text", "no-id-token", "number", "garbage", "endless"],
)
async def test_an_odd_answer_of_the_issuer_signs_nobody_in(login_at, status, text, expected):
    async with odd_issuer(status, text) as (url, forms):
        login = login_at(url)
        asked = await begun(login)
        with pytest.raises(expected):
            await login.finish(code="c", state=asked.sent["state"], browser="browser-1")
    (form,) = forms
    assert (form["code"], form["redirect_uri"]) == ("c", BACK)
    assert len(form["code_verifier"]) >= 43
