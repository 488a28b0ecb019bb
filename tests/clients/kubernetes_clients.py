"""The clients of Kubernetes, real and unmodified: the Python package in an environment of its own, and kubectl.

The package needs a python-dateutil that botocore cannot bear, so it is installed below `build/` from its own lock.
Where a client is not to be had, its tests skip and say so, except with CI=true, where they fail.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import venv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

LOCK = Path(__file__).parent / "kubernetes-client" / "requirements.lock"
INSTALLED = Path(__file__).resolve().parents[2] / "build" / "kubernetes-client"
KUBECTL = shutil.which("kubectl")
LIMIT_S = 60.0

PRELUDE = """
import json, os, sys
from kubernetes import client
from kubernetes.client.rest import ApiException
settings = client.Configuration(host=sys.argv[1])
settings.ssl_ca_cert = os.environ["GATE_CA"]
settings.api_key["authorization"] = os.environ["GATE_KEY"]
settings.api_key_prefix["authorization"] = "Bearer"
core = client.CoreV1Api(client.ApiClient(settings))
def told(what):
    try:
        found = what()
        return {"type": type(found).__name__, "name": getattr(found.metadata, "name", None)} | (
            {"items": [one.metadata.name for one in found.items]} if hasattr(found, "items") else {})
    except ApiException as no:
        return {"error": str(no), "status": no.status, "body": json.loads(no.body)}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> object:
        """The JSON document that it wrote."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def unavailable(why: str) -> None:
    """Skips, or fails in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"the clients of Kubernetes must run in CI: {why}")
    pytest.skip(f"NOT TESTED with a client of Kubernetes: {why}")


@cache
def python() -> Path:
    """The Python that has the locked `kubernetes` package."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    wanted, done, program = LOCK.read_bytes(), INSTALLED / "installed.lock", INSTALLED / "venv" / "bin" / "python"
    with (INSTALLED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_bytes() != wanted:
            venv.create(INSTALLED / "venv", clear=True, with_pip=True)
            command = [program, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
            ran = subprocess.run([*command, "-r", LOCK], capture_output=True, text=True, timeout=300, check=False)
            if ran.returncode:
                unavailable(f"the kubernetes package cannot be installed: {ran.stderr[-300:]}")
            done.write_bytes(wanted)
    return program


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a client goes, and with what. Over TLS: kubectl shows no token without it."""

    url: str
    ca: Path
    key: str


async def ask(program: str, place: Place) -> Ran:
    """Runs a piece of Python that has `core`, `client` and `told`."""
    return await run(str(await asyncio.to_thread(python)), "-c", PRELUDE + program, place.url, place=place)


async def kubectl(folder: Path, place: Place, *words: str) -> Ran:
    """Runs kubectl with a kubeconfig that has this server and token."""
    if KUBECTL is None:
        unavailable("there is no kubectl on PATH")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gate", "cluster": {"server": place.url, "certificate-authority": str(place.ca)}}],
        "users": [{"name": "agent", "user": {"token": place.key}}],
        "contexts": [{"name": "gate", "context": {"cluster": "gate", "user": "agent", "namespace": "shop"}}],
        "current-context": "gate",
    }
    file = folder / "kubeconfig.json"
    await asyncio.to_thread(file.write_text, json.dumps(config))
    return await run(str(KUBECTL), f"--kubeconfig={file}", f"--cache-dir={folder / 'cache'}", *words, place=place)


async def run(*command: str, place: Place | None = None) -> Ran:
    """Runs a program with the key in its environment."""
    pipe = asyncio.subprocess.PIPE
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    environment |= {"GATE_KEY": place.key, "GATE_CA": str(place.ca)} if place else {}
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(code=process.returncode or 0, out=out.decode(), err=err.decode())
