"""The demo: an issuer, two fake APIs, the gate with everything embedded, and an agent that needs your assent.

Everything is the real thing but the issuer and the APIs: the same settings file, loader and wiring as in production.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from config.load import load
from policy.principal import Identity
from proxy.audit.ledger import Durability
from proxy.audit.record import Record
from proxy.demo.issuer import DemoAgent, DemoIssuer, DemoPerson
from proxy.demo.upstreams import DemoUpstreams
from proxy.identity.key_office import KeyOffice
from proxy.wiring import Running, running

_PORTS = {"agents": 8400, "approvers": 8401, "operators": 8402, "issuer": 8403, "upstreams": 8404}
_PEOPLE = (
    DemoPerson(
        subject="ann", name="Ann", groups=("finance-leads", "auditors"), about="Finance lead: may approve refunds."
    ),
    DemoPerson(subject="ben", name="Ben", groups=("finance-leads",), about="Finance lead: the second pair of eyes."),
    DemoPerson(
        subject="olga",
        name="Olga",
        groups=("finance-leads", "operators"),
        about="Finance lead too, but she owns the agent: four eyes refuse her.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A running demo."""

    folder: Path
    issuer: DemoIssuer
    upstreams: DemoUpstreams
    gate: Running
    agent_key: str
    agent_token: str


@asynccontextmanager
async def demo(folder: Path, *, ports: dict[str, int] | None = None) -> AsyncIterator[Demo]:
    """A demo that keeps its files in `folder` and runs until the block ends. Ports 0 are any free ones."""
    chosen = ports if ports is not None else {name: _free(port) for name, port in _PORTS.items()}
    upstreams = DemoUpstreams(stripe_key=f"sk_demo_{secrets.token_hex(12)}", openai_key=secrets.token_hex(16))
    issuer = _issuer(chosen["approvers"])
    await issuer.start(port=chosen["issuer"])
    await upstreams.start(port=chosen["upstreams"])
    try:
        settings = _written(folder, issuer, upstreams, chosen)
        async with running(load(settings, environ={})) as gate:
            _, key = await _office(gate).issue(
                Identity("demo:billing-bot"),
                owner=Identity("demo:olga"),
                groups=frozenset({"billing-agents"}),
                lifetime_s=24 * 3600,
                note="demo",
            )
            token = issuer.agent_token("billing-bot")
            yield Demo(folder=folder, issuer=issuer, upstreams=upstreams, gate=gate, agent_key=key, agent_token=token)
    finally:
        await upstreams.stop()
        await issuer.stop()


def _office(gate: Running) -> KeyOffice:
    async def write(record: Record) -> None:
        await gate.ledger.record(record, Durability.SYNCED)

    return KeyOffice(gate.agent_keys, write=write, account="demo")


async def run(folder: Path, *, agent: bool) -> None:
    """Run until interrupted, say what to do, and show what happens."""
    async with demo(folder) as live:
        _end_with_the_terminal()
        _say(_WELCOME, live)
        async with asyncio.TaskGroup() as group:
            group.create_task(_tell_of_holds(live), name="tell of holds")
            if agent:
                await _run_agent(live)
                _say(_AFTERWARDS, live)
            _say(_GOES_ON, live)
            await asyncio.Event().wait()


async def _tell_of_holds(live: Demo) -> None:
    """Says which calls wait and who decides, as the ledger has it."""
    with live.gate.ledger.follow() as lines:
        async for line in lines:
            told = json.loads(line)
            if told["kind"] == "held":
                _say(
                    "[dim]gate     holds it:[/] {hold}\n", live, hold=f"{live.gate.approvers_url}/holds/{told['call']}"
                )
            elif told["kind"] == "clicked":
                _say("[dim]gate     {name}: {act}[/]\n", live, name=told["person"]["name"], act=told["act"])


def _end_with_the_terminal() -> None:
    # A server reads its policies anew on SIGHUP. A demo whose terminal was closed would go on where nobody sees it.
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, task.cancel)


async def _run_agent(live: Demo) -> None:
    environ = {
        **os.environ,
        "DEMO_GATE": live.gate.agents_url,
        "DEMO_TOKEN": live.agent_token,
        "DEMO_KEY": live.agent_key,
        # The agent calls loopback only; a proxy that this machine uses otherwise would not find it.
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "*"),
    }
    agent = await asyncio.create_subprocess_exec(
        # -P: the agent imports the vendors' SDKs, not a folder of the same name.
        *(sys.executable, "-P", "-m", "proxy.demo.agent"),
        env=environ,
        start_new_session=True,  # Ctrl-C is for us; the agent would answer it with a traceback
    )
    try:
        await agent.wait()
    finally:
        if agent.returncode is None:
            agent.kill()  # it keeps nothing
            await agent.wait()


def _issuer(approvers: int) -> DemoIssuer:
    agents = (
        DemoAgent(client_id="billing-bot", secret=secrets.token_hex(16), owner="olga", groups=("billing-agents",)),
        DemoAgent(client_id="research-bot", secret=secrets.token_hex(16), owner="ann", groups=("research-agents",)),
    )
    return DemoIssuer(
        people={person.subject: person for person in _PEOPLE},
        agents={agent.client_id: agent for agent in agents},
        people_audience="assentry-people",
        agents_audience="assentry-agents",
        client_id="assentry-console",
        redirect_uris=(f"http://127.0.0.1:{approvers}/signed-in",),
        demo=True,
    )


def _written(folder: Path, issuer: DemoIssuer, upstreams: DemoUpstreams, ports: dict[str, int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("proxy.demo") / "files") as shipped:
        for name in ("policies", "catalogues", "cases.yaml"):
            # What somebody changed while trying the demo stays.
            if not (folder / name).exists():
                copy = shutil.copytree if (shipped / name).is_dir() else shutil.copyfile
                copy(shipped / name, folder / name)
        shutil.copyfile(shipped / "cases.yaml", folder / "cases.yaml")
        template = (shipped / "assentry.yaml").read_text("utf-8")
    settings = folder / "assentry.yaml"
    settings.write_text(template.format(**{**ports, "issuer": issuer.url, "upstreams": upstreams.url}), "utf-8")
    _secret(folder / "secrets" / "stripe", upstreams.stripe_key)
    _secret(folder / "secrets" / "openai", upstreams.openai_key)
    for person in issuer.people:
        _secret(folder / "tokens" / person, issuer.person_token(person))
    return settings


def _secret(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _free(port: int) -> int:
    """The port, or another free one where it is taken."""
    for wanted in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return port


def _say(template: str, live: Demo, **more: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    # Colour on a terminal, plain text elsewhere; nothing is wrapped, so that commands can be copied.
    console = Console(highlight=False, soft_wrap=True)
    console.print(template.format(**{name: escape(text) for name, text in (_facts(live) | more).items()}), end="")


def _facts(live: Demo) -> dict[str, str]:
    standing = live.gate.reload.standing
    payments = [one for one in live.upstreams.received if one.target.startswith("/stripe/")]
    return {
        "console": live.gate.approvers_url,
        "agents": live.gate.agents_url,
        "metrics": f"{live.gate.operators_url}/metrics",
        "received": f"{live.upstreams.url}/received",
        "programs": _from_here(Path(sys.executable).parent),
        "token": shlex.quote(str(live.folder / "tokens" / "ann")),
        "ledger": shlex.quote(str(live.folder / "state" / "ledger")),
        "folder": shlex.quote(str(live.folder)),
        "policies": str(live.folder / "policies" / "payments.cedar"),
        "bundle": standing.digest[:12] if standing else "",
        "payments": "\n".join(f"  {one.method} {one.target}  {one.body.decode()}" for one in payments) or "  nothing",
    }


def _from_here(folder: Path) -> str:
    """The folder as a shell finds it from here, inside double quotes."""
    here = Path.cwd()
    return f"$PWD/{folder.relative_to(here)}" if folder.is_relative_to(here) else str(folder)


_WELCOME = """
[bold]Assentry demo[/]: an agent asks for refunds, and you decide.

  1. Open  [bold cyan]{console}[/]  and sign in as Ann.
  2. Approve the refund of 250.00 EUR: the agent below goes on at once.
  3. The refund of 2,500.00 EUR needs two people: approve as Ann, sign out, approve as Ben.
     Olga cannot: she owns the agent.

Or in a second terminal, in this folder:
  export PATH="{programs}:$PATH" ASSENTRY_URL={console} ASSENTRY_TOKEN_FILE={token}
  assentry holds ls
  assentry holds approve ID

[dim]Agents call      [/]{agents}
[dim]Payments receive [/]{received}
[dim]Metrics          [/]{metrics}
[dim]The law          [/]{policies} [dim](edit it: in force within a second; now {bundle})[/]

"""

_AFTERWARDS = """
What the payment API received:
{payments}

Check the ledger:  assentry audit verify {ledger}
"""

_GOES_ON = "[dim]Ctrl-C ends the demo; its state stays in {folder}.[/]\n"
