"""A small OpenID provider for the demo and the tests: three people, two agents, keys made at start.

Anyone can sign in as anyone here, so it refuses to run outside demo mode and off the loopback interface. It speaks
discovery, JWKS, the code flow with PKCE (RFC 7636) for people and client credentials (RFC 6749 section 4.4) for agents.
"""

from __future__ import annotations

import html
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import jwt
from aiohttp import BasicAuth, web
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from policy.reasons import Reason
from proxy.errors import OperatorFault

_CODE_LIFETIME_S = 120
_TOKEN_LIFETIME_S = 8 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPerson:
    """Someone who may sign in by a click."""

    subject: str
    name: str
    groups: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAgent:
    """A client that may fetch tokens for itself."""

    client_id: str
    secret: str
    owner: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    person: DemoPerson
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    issued_at: float


@dataclass(slots=True, kw_only=True)
class DemoIssuer:
    """The provider. `start` binds it; `url` is its `iss` from then on."""

    people: Mapping[str, DemoPerson]
    agents: Mapping[str, DemoAgent]
    people_audience: str
    agents_audience: str
    client_id: str
    redirect_uris: tuple[str, ...]
    demo: bool
    url: str = ""
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _kid: str = field(default_factory=lambda: secrets.token_hex(4))
    _codes: dict[str, _Code] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """The issuer's URL. Raises OperatorFault outside demo mode or off loopback."""
        if not self.demo or host not in {"127.0.0.1", "::1", "localhost"}:
            raise OperatorFault(Reason.INTERNAL, "The demo issuer runs in demo mode and on loopback only.")
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/jwks", self._jwks)
        app.router.add_get("/authorize", self._ask_who)
        app.router.add_post("/authorize", self._signed_in)
        app.router.add_post("/token", self._token)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0][1]
        self.url = f"http://{host}:{bound}"
        return self.url

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def person_token(self, subject: str) -> str:
        """An access token for the approvers' API, as a sign-in would give."""
        person = self.people[subject]
        return self._signed({**self._facts_of(person), "aud": self.people_audience}, kind="at+jwt")

    def agent_token(self, client_id: str, **claims: object) -> str:
        """An access token for the agents' door, as client credentials would give."""
        agent = self.agents[client_id]
        facts = {"sub": client_id, "client_id": client_id, "owner": agent.owner, "groups": list(agent.groups)}
        return self._signed({**facts, "aud": self.agents_audience, **claims}, kind="at+jwt")

    def _facts_of(self, person: DemoPerson) -> dict[str, object]:
        now = int(time.time())
        return {
            "sub": person.subject,
            "name": person.name,
            "groups": list(person.groups),
            "auth_time": now,
            "amr": ["pwd", "mfa"],
        }

    def _signed(self, claims: Mapping[str, object], *, kind: str) -> str:
        now = int(time.time())
        whole = {"iss": self.url, "iat": now, "exp": now + _TOKEN_LIFETIME_S, "jti": secrets.token_hex(8), **claims}
        return jwt.encode(whole, self._key, algorithm="ES256", headers={"kid": self._kid, "typ": kind})

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
                "grant_types_supported": ["authorization_code", "client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
            }
        )

    async def _jwks(self, _: web.Request) -> web.Response:
        key = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**key, "kid": self._kid, "use": "sig", "alg": "ES256"}]})

    async def _ask_who(self, asked: web.Request) -> web.Response:
        wrong = self._wrong_ask(asked.query)
        if wrong:
            return web.Response(status=400, text=wrong)
        hidden = "".join(_hidden(name, value) for name, value in asked.query.items())
        buttons = "".join(
            f"<button name='as' value='{html.escape(person.subject)}'><b>{html.escape(person.name)}</b>"
            f"<span>{html.escape(person.about)}</span></button>"
            for person in self.people.values()
        )
        return web.Response(text=_PAGE.format(hidden=hidden, buttons=buttons), content_type="text/html")

    async def _signed_in(self, asked: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await asked.post()).items()}
        person = self.people.get(form.get("as", ""))
        wrong = self._wrong_ask(form) or ("" if person else "Choose one of the people.")
        if wrong or person is None:
            return web.Response(status=400, text=wrong)
        code = secrets.token_urlsafe(24)
        self._codes[code] = _Code(
            person=person,
            client_id=form["client_id"],
            redirect_uri=form["redirect_uri"],
            challenge=form["code_challenge"],
            nonce=form.get("nonce"),
            issued_at=time.monotonic(),
        )
        back = urlencode({"code": code, "state": form.get("state", ""), "iss": self.url})
        raise web.HTTPSeeOther(f"{form['redirect_uri']}?{back}")

    def _wrong_ask(self, asked: Mapping[str, str]) -> str:
        if asked.get("response_type") != "code" or asked.get("client_id") != self.client_id:
            return "Unknown client or response type."
        # RFC 8252 section 7.3: the port of a loopback redirect is the client's to choose.
        if not any(asked.get("redirect_uri", "").startswith(known) for known in self.redirect_uris):
            return "This redirect URI is not registered."
        if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
            return "PKCE with S256 is required."
        return ""

    async def _token(self, asked: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await asked.post()).items()}
        if form.get("grant_type") == "client_credentials":
            return self._for_agent(asked, form)
        if form.get("grant_type") == "authorization_code":
            return self._for_person(form)
        return web.json_response({"error": "unsupported_grant_type"}, status=400)

    def _for_agent(self, asked: web.Request, form: Mapping[str, str]) -> web.Response:
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if "Authorization" in asked.headers:
            basic = BasicAuth.decode(asked.headers["Authorization"])
            name, secret = basic.login, basic.password
        agent = self.agents.get(name)
        if agent is None or not secrets.compare_digest(agent.secret, secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        return _granted({"access_token": self.agent_token(name)})

    def _for_person(self, form: Mapping[str, str]) -> web.Response:
        code = self._codes.pop(form.get("code", ""), None)
        known = (
            code is not None
            and time.monotonic() - code.issued_at < _CODE_LIFETIME_S
            and form.get("redirect_uri") == code.redirect_uri
            and create_s256_code_challenge(form.get("code_verifier", "")) == code.challenge
        )
        if code is None or not known:
            return web.json_response({"error": "invalid_grant"}, status=400)
        claims = {**self._facts_of(code.person), "aud": code.client_id}
        if code.nonce:
            claims["nonce"] = code.nonce
        tokens = {
            "id_token": self._signed(claims, kind="JWT"),
            "access_token": self.person_token(code.person.subject),
        }
        return _granted(tokens)


def _granted(tokens: Mapping[str, str]) -> web.Response:
    answer = {**tokens, "token_type": "Bearer", "expires_in": _TOKEN_LIFETIME_S}
    return web.json_response(answer, headers={"Cache-Control": "no-store"})


def _hidden(name: str, value: str) -> str:
    return f"<input type='hidden' name='{html.escape(name)}' value='{html.escape(value)}'>"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Demo sign-in</title><link rel="icon" href="data:,"><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:12vh auto;padding:0 1rem;color:#1c2430}}
button{{display:block;width:100%;text-align:left;margin:.6rem 0;padding:.8rem 1rem;border:1px solid #c8d0da;
border-radius:10px;background:#fff;font:inherit;cursor:pointer}}button:hover,button:focus{{border-color:#2457d6}}
span{{display:block;color:#5b6675;font-size:.9rem}}</style>
<h1>Demo sign-in</h1><p>This issuer belongs to the demo: choose who you are.</p>
<form method="post" action="/authorize">{hidden}{buttons}</form></html>"""
