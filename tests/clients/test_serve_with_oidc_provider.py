"""The first five minutes of an operator: the shipped quickstart, an issuer that we did not write, one API.

The settings file is the one the README shows; only addresses come from the environment.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp

from proxy.demo.upstreams import DemoUpstreams
from tests.fakes.command import ran, started

QUICKSTART = Path(__file__).resolve().parents[2] / "docs" / "examples" / "quickstart"
AGENTS, APPROVERS = "https://gate.example.com/agents", "https://gate.example.com/approvers"
BOT = aiohttp.encode_basic_auth("refund-bot", "a-secret-for-a-test")
STRIPE_KEY = "sk_test_quickstart"


async def agent_token(provider: str) -> str:
    """By client credentials (RFC 6749 section 4.4)."""
    form = {"grant_type": "client_credentials", "resource": AGENTS, "scope": "call"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{provider}/token", data=form, headers={"Authorization": BOT}) as answer,
    ):
        return (await answer.json())["access_token"]


async def person_token(provider: str, person: str) -> str:
    """By the code flow with PKCE (RFC 7636), through the provider's own sign-in and consent pages."""
    verifier = "a-verifier-that-is-long-enough-for-the-specification"
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "client_id": "people",
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1/signed-in",
        "scope": "openid call",
        "resource": APPROVERS,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    jar = aiohttp.CookieJar(unsafe=True)  # the provider is at an address, not at a name
    async with aiohttp.ClientSession(cookie_jar=jar) as browser:
        async with browser.get(f"{provider}/auth", params=asked, allow_redirects=False) as answer:
            place = urljoin(provider, answer.headers["Location"])
        while not place.startswith("http://127.0.0.1/signed-in"):
            form = None
            if "/interaction/" in place:
                async with browser.get(place) as page:
                    prompt = re.search(r'name="prompt" value="(\w+)"', await page.text())
                form = {"prompt": prompt[1], "login": person, "password": "any"} if prompt else None
            async with browser.request("POST" if form else "GET", place, data=form, allow_redirects=False) as answer:
                place = urljoin(provider, answer.headers["Location"])
        code = parse_qs(urlsplit(place).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "client_id": "people",
            "redirect_uri": asked["redirect_uri"],
            "resource": APPROVERS,
        }
        async with browser.post(f"{provider}/token", data=form) as answer:
            return (await answer.json())["access_token"]


async def refund(gate: str, token: str, amount: int) -> int:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.post(f"{gate}/stripe/v1/refunds", data={"charge": "ch_1042", "amount": str(amount)}) as answer,
    ):
        await answer.read()
        return answer.status


async def test_the_quickstart_holds_a_refund_until_a_person_of_any_issuer_assents(tmp_path: Path, provider: str):
    shutil.copytree(QUICKSTART, tmp_path, dirs_exist_ok=True)
    stripe = DemoUpstreams(stripe_key=STRIPE_KEY, openai_key="")
    await stripe.start()
    environ = {
        "STRIPE_API_KEY": STRIPE_KEY,
        "ASSENTRY_CONFIG": str(tmp_path / "assentry.yaml"),
        "ASSENTRY_ISSUERS__0__ISSUER": provider,
        "ASSENTRY_ISSUERS__0__ALGORITHMS": "[ES256]",
        "ASSENTRY_UPSTREAMS__0__URL": f"{stripe.url}/stripe",
        "ASSENTRY_UPSTREAMS__0__PRIVATE_NETWORKS": "true",
        **{f"ASSENTRY_{door}__LISTEN": "127.0.0.1:0" for door in ("AGENTS", "APPROVERS", "OPERATORS")},
    }
    for words in (("config", "check"), ("policy", "validate")):
        checked = await ran(*words, environ=environ)
        assert checked.status == 0, checked
        assert STRIPE_KEY not in checked.out
    try:
        async with started("serve", environ=environ) as serving:
            doors = await serving.says(r"agents (\S+), approvers (\S+), operators (\S+)")
            bot, ben = await asyncio.gather(agent_token(provider), person_token(provider, "ben"))
            assert await refund(doors[1], bot, 5_000) == 200
            assert await refund(doors[1], "not a token", 5_000) == 401

            async with asyncio.TaskGroup() as agents:
                waiting = agents.create_task(refund(doors[1], bot, 25_000))
                person = {**environ, "ASSENTRY_URL": doors[2], "ASSENTRY_TOKEN": ben}
                hold = await the_hold(person)
                assert len(stripe.received) == 1
                approved = await ran(
                    "holds", "approve", hold["id"], "--fingerprint", hold["fingerprint"], environ=person
                )
                assert approved.status == 0, approved
            assert waiting.result() == 200
            assert [one.body for one in stripe.received] == [
                b"charge=ch_1042&amount=5000",
                b"charge=ch_1042&amount=25000",
            ]
            assert (await ran("audit", "verify", environ=environ)).status == 0
            assert await serving.end() == 0
            assert "Traceback" not in serving.printed
            assert STRIPE_KEY not in serving.printed
    finally:
        await stripe.stop()


async def the_hold(person: dict[str, str]) -> dict:
    """The one open hold, once there is one."""
    async with asyncio.timeout(30):
        while True:
            listed = await ran("holds", "ls", "-o", "json", environ=person)
            assert listed.status == 0, listed
            found = json.loads(listed.out)["holds"]
            if found:
                return found[0]
