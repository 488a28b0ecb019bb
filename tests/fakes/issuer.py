"""An issuer that works: discovery, a JWK Set and signatures, on a loopback socket of its own.

It signs whatever it is asked to sign, so that tests can ask for what no honest issuer would. It can rotate its keys, go
down and come back on the same port, serve garbage, be slow until told otherwise, and it counts who asked for what.

    async with FakeIssuer() as idp:
        settings = idp.settings()                   # a config.settings.Issuer named "corp"
        text = idp.agent_token("bot")               # BearerText
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from config.settings import Algorithm, Issuer
from proxy.doors.arrival import BearerText

AGENTS = "https://gate.example.test/agents"
PEOPLE = "https://gate.example.test/people"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/jwks"


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(header: Any, claims: Any, signature: bytes = b"x") -> BearerText:
    """A compact JWS of exactly these parts; bytes go in as they are."""
    parts = (p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, claims))
    return BearerText(".".join([*(b64(p) for p in parts), b64(signature)]))


@dataclass
class SigningKey:
    """A private key with a name, able to show its public half."""

    kid: str
    algorithm: Algorithm
    private: Any

    @classmethod
    def make(cls, kid: str, algorithm: Algorithm = Algorithm.ES256) -> Self:
        """A new key of the algorithm's family."""
        name = algorithm.value
        if name.startswith(("RS", "PS")):
            return cls(kid, algorithm, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        if name == "EdDSA":
            return cls(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
        curve = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[name]
        return cls(kid, algorithm, ec.generate_private_key(curve()))

    def public_jwk(self, **changes: Any) -> dict[str, Any]:
        """Its JWK; `changes` replace members, None removes them."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm.value)
        jwk = {**algorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}
        jwk = {**jwk, "alg": self.algorithm.value, **changes}
        jwk.pop("key_ops", None) if "key_ops" not in changes else None
        return {name: value for name, value in jwk.items() if value is not None}

    def sign(self, claims: Any, **header: Any) -> BearerText:
        """A compact JWS signed by it. `header` replaces header members, None removes them; claims may be bytes."""
        head = {"alg": self.algorithm.value, "kid": self.kid, "typ": "at+jwt", **header}
        head = {name: value for name, value in head.items() if value is not None}
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signing_input = f"{b64(json.dumps(head).encode())}.{b64(payload)}"
        signature = jwt.get_algorithm_by_name(self.algorithm.value).sign(signing_input.encode(), self.private)
        return BearerText(f"{signing_input}.{b64(signature)}")


@dataclass
class Served:
    """What a path answers with instead of the honest document."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class FakeIssuer:
    """An OpenID provider's verification side. Use as an async context manager."""

    def __init__(
        self, *, name: str = "corp", algorithm: Algorithm = Algorithm.ES256, now: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self.algorithm = algorithm
        self.now = now
        self.fetches: Counter[str] = Counter()
        """Requests by path."""
        self.cookies_seen: list[str] = []
        self.keys = [SigningKey.make("key-1", algorithm)]
        """Published and able to sign; the last one signs."""
        self.answers: dict[str, Served] = {}
        """What to answer by path instead of the honest document."""
        self.metadata: dict[str, Any] = {}
        """Additions to the discovery document."""
        self.extra_jwks: list[Any] = []
        """Members of the published set besides `keys`."""
        self.open_gate = asyncio.Event()
        """Cleared: requests are taken and not answered until it is set."""
        self.open_gate.set()
        self.asked = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Its `iss`, and where it listens."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.open_gate.set()
        await self.down()

    async def up(self) -> None:
        """Listens, on the port it had before if it had one."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def rotate(self, *, keep_old: bool = True) -> SigningKey:
        """A new key signs from now on, and is published; the old ones too, unless not kept."""
        key = SigningKey.make(f"key-{len(self.keys) + 1}", self.algorithm)
        self.keys = [*self.keys, key] if keep_old else [key]
        return key

    def settings(self, **changes: Any) -> Issuer:
        """The entry of `issuers` that believes it."""
        ours: dict[str, Any] = {
            "name": self.name,
            "issuer": self.url,
            "algorithms": (self.algorithm,),
            "agents_audience": AGENTS,
            "people_audience": PEOPLE,
        }
        return Issuer.model_validate({**ours, **changes})

    def claims(self, sub: str, audience: str, **changes: Any) -> dict[str, Any]:
        """Honest claims, five minutes long; `changes` replace members, None removes them."""
        now = int(self.now())
        honest = {"iss": self.url, "sub": sub, "aud": audience, "iat": now, "exp": now + 300}
        return {name: value for name, value in {**honest, **changes}.items() if value is not None}

    def sign(self, claims: Any, **header: Any) -> BearerText:
        """Any claims (or payload bytes), signed with the newest key."""
        return self.keys[-1].sign(claims, **header)

    def agent_token(self, sub: str = "bot", **changes: Any) -> BearerText:
        """An agent's token."""
        return self.sign(self.claims(sub, AGENTS, **changes))

    def person_token(self, sub: str = "ann", **changes: Any) -> BearerText:
        """A person's token."""
        return self.sign(self.claims(sub, PEOPLE, **changes))

    async def was_asked(self, path: str, *, times: int = 1) -> None:
        """Returns once a path has been asked for so many times."""
        async with self.asked:
            await asyncio.wait_for(self.asked.wait_for(lambda: self.fetches[path] >= times), 10)

    async def _answer(self, request: web.Request) -> web.Response:
        async with self.asked:
            self.fetches[request.path] += 1
            self.asked.notify_all()
        if "Cookie" in request.headers:
            self.cookies_seen.append(request.path)
        await self.open_gate.wait()
        if (served := self.answers.get(request.path)) is not None:
            return web.Response(body=served.body, status=served.status, headers=served.headers)
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.url, "jwks_uri": self.url + JWKS, **self.metadata})
        if request.path == JWKS:
            return web.json_response({"keys": [*(key.public_jwk() for key in self.keys), *self.extra_jwks]})
        return web.Response(status=404)
