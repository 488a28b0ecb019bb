"""The first minute of a newcomer: `assentry demo` from start to finish, with people who decide through the API."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from proxy.demo.issuer import DemoIssuer
from proxy.errors import OperatorFault
from tests.fakes.command import Started, ran, started

DEAD = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
"""Whatever wanted the network would come out here, and fail."""
SMALL, LARGE = "charge=ch_1042&amount=25000", "charge=ch_1042&amount=250000"


async def told(url: str, token: str = "", **decision: str) -> dict:
    """The answer to a look, or with a decision to a click."""
    headers = {"Authorization": f"Bearer {token}"}
    method, body = ("POST", decision) if decision else ("GET", None)
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers, json=body) as answer:
        return {"status_code": answer.status, **json.loads(await answer.read())}


async def hold(console: str, token: str) -> dict:
    """The one open hold, once there is one."""
    async with asyncio.timeout(20):
        while not (holds := (await told(f"{console}/v1/holds", token))["holds"]):
            pass
    return await told(f"{console}/v1/holds/{holds[0]['id']}", token)


async def decide(console: str, token: str, act: str, reason: str = "") -> dict:
    """What became of the one open hold."""
    one = await hold(console, token)
    decision = {"fingerprint": one["fingerprint"], "shown": one["shown"], "reason": reason}
    return await told(f"{console}/v1/holds/{one['id']}/{act}", token, **decision)


def tokens(folder: Path) -> tuple[str, str, str]:
    ann, ben, olga = ((folder / "tokens" / name).read_text() for name in ("ann", "ben", "olga"))
    return ann, ben, olga


async def console_of(demo: Started) -> str:
    return (await demo.says(r"Open +(http://127\.0\.0\.1:\d+) "))[1]


async def test_two_people_decide_and_each_refund_arrives_once(tmp_path: Path):
    async with started("demo", "--folder", "mine", cwd=tmp_path, environ=DEAD) as demo:
        console = await console_of(demo)
        received = (await demo.says(r"Payments receive +(\S+)"))[1]
        await demo.says("agent  > refunds 250.00 EUR")
        ann, ben, olga = tokens(tmp_path / "mine")
        page = (await demo.says(rf"gate +holds it: {console}/holds/(call_\w+)"))[1]
        assert page == (await hold(console, ann))["id"]
        assert (await decide(console, olga, "approve"))["reason"] == "own-call"
        assert (await decide(console, ann, "approve"))["status_code"] == 200
        await demo.says(r"agent  < refunded: re_0001, 250\.00 EUR, succeeded")
        await demo.says("gate +Ann: approve")
        await demo.says("agent  > refunds 2,500.00 EUR")
        assert (await decide(console, ann, "approve"))["state"] == "pending"
        assert len((await told(received))["received"]) == 2
        assert (await decide(console, ben, "approve"))["status_code"] == 200
        await demo.says(r"agent  < refunded: re_0002, 2,500\.00 EUR, succeeded")
        await demo.says("Ctrl-C ends the demo")

        calls = [(one["call"], one["body"]) for one in (await told(received))["received"]]
        assert [call for call, _ in calls] == ["POST /openai/v1/chat/completions", *["POST /stripe/v1/refunds"] * 2]
        assert [body for _, body in calls[1:]] == [SMALL, LARGE]
        said = re.findall(r"^agent  < (.*)$", demo.printed, re.MULTILINE)
        assert said[0].startswith("allowed: ")
        assert said[1].startswith("PermissionError: Agents never pay out.")
        assert "Traceback" not in demo.printed

        # What it prints to type is typed, where the user is: in the folder in which the demo was started.
        verify = (await demo.says(r"assentry (audit verify \S+)"))[1].split()
        while_running = await ran(*verify, cwd=tmp_path)
        assert while_running.status == 0, while_running
        exported = await demo.says(r'export PATH="(\S+):\$PATH" ASSENTRY_URL=(\S+) ASSENTRY_TOKEN_FILE=(\S+)')
        assert (Path(exported[1]) / "assentry").exists()
        environ = {"ASSENTRY_URL": exported[2], "ASSENTRY_TOKEN_FILE": exported[3]}
        assert (await ran("holds", "ls", cwd=tmp_path, environ=environ)).out == "Nothing is held.\n"
        assert (tmp_path / (await demo.says(r"The law +(\S+)"))[1]).exists()
        assert await demo.end(signal.SIGINT) == 0

    stopped = await ran(*verify, cwd=tmp_path)
    assert stopped.status == 0, stopped
    chain = next((tmp_path / "mine/state/ledger").glob("*/*.jsonl"))
    lines = chain.read_bytes()
    at = lines.index(b'"amount":25000') + len(b'"amount":')
    chain.write_bytes(lines[:at] + b"3" + lines[at + 1 :])
    broken = await ran(*verify, cwd=tmp_path)
    assert broken.status == 1
    line = lines[:at].count(b"\n") + 1
    assert f"{chain.relative_to(tmp_path)}:{line}: edited" in broken.out


async def test_it_ends_quickly_and_quietly_while_the_agent_waits_and_goes_on_later(tmp_path: Path):
    async with started("demo", "--folder", tmp_path / "d", environ=DEAD) as demo:
        console = await console_of(demo)
        await demo.says("agent  > refunds 250.00 EUR")
        ann, *_ = tokens(tmp_path / "d")
        first = await hold(console, ann)
        async with asyncio.timeout(10):
            assert await demo.end(signal.SIGINT) == 0
        assert re.fullmatch(r"gate +holds it: \S+", demo.printed.rstrip().splitlines()[-1])

    law = tmp_path / "d" / "policies" / "payments.cedar"
    law.write_text(law.read_text() + "\n// mine\n")
    async with started("demo", "--folder", tmp_path / "d", "--no-agent", environ=DEAD) as demo:
        console = await console_of(demo)
        ann, *_ = tokens(tmp_path / "d")
        assert (await hold(console, ann))["id"] == first["id"]
        # Nobody waits for it any more: the gate sends it by itself.
        assert (await decide(console, ann, "approve"))["status_code"] == 200
        received = (await demo.says(r"Payments receive +(\S+)"))[1]
        async with asyncio.timeout(20):
            while not (calls := (await told(received))["received"]):
                pass
        assert [one["body"] for one in calls] == [SMALL]
        assert await demo.end(signal.SIGTERM) == 0
    assert law.read_text().endswith("// mine\n")
    verified = await ran("audit", "verify", tmp_path / "d" / "state" / "ledger")
    assert (verified.status, verified.out.count("whole")) == (0, 1), verified


async def test_ports_that_are_taken_are_left_to_others(tmp_path: Path):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 8401))
            other.listen()
        except OSError:
            pass  # taken already: as good
        async with started("demo", "--folder", tmp_path, "--no-agent") as demo:
            console = await console_of(demo)
            assert not console.endswith(":8401")
            assert (await told(f"{console}/v1/me", tokens(tmp_path)[0]))["identity"] == "demo:ann"
            assert await demo.end(signal.SIGINT) == 0


async def test_an_edit_of_the_demos_law_is_in_force_at_once(tmp_path: Path):
    async with started("demo", "--folder", tmp_path, "--no-agent") as demo:
        await console_of(demo)
        metrics = (await demo.says(r"Metrics +(\S+)"))[1]
        ready = metrics.replace("/metrics", "/readyz")
        before = (await told(ready))["bundle"]
        assert before.startswith((await demo.says(r"now (\w+)\)"))[1])
        law = tmp_path / "policies" / "payments.cedar"
        law.write_text(law.read_text().replace("input.amount > 10000 ", "input.amount > 20000 "))
        async with asyncio.timeout(20):
            while (await told(ready))["bundle"] == before:
                pass
        assert await demo.end(signal.SIGINT) == 0


@pytest.mark.parametrize(("demo", "host"), [(False, "127.0.0.1"), (True, "0.0.0.0"), (True, "192.0.2.1")])
async def test_the_demo_issuer_refuses_to_be_anything_else(demo: bool, host: str):
    issuer = DemoIssuer(
        people={}, agents={}, people_audience="p", agents_audience="a", client_id="c", redirect_uris=(), demo=demo
    )
    with pytest.raises(OperatorFault):
        await issuer.start(host)
