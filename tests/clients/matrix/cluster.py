"""The Kubernetes client for Python, in an environment of its own, and kubectl; over TLS, because kubectl insists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.clients.apiserver import apiserver
from tests.clients.kubernetes_clients import KUBECTL, LOCK, Place, ask, kubectl
from tests.clients.matrix.asking import Client, Meanwhile, Site, Surroundings
from tests.fakes.house import CREDENTIAL

DELETE = """
no = None
try:
    gone = core.delete_namespaced_pod(sys.argv[2], "shop", _request_timeout=float(sys.argv[3]))
except ApiException as fault:
    no = {"type": "ApiException", "name": str(fault)}  # or a kind of it: ForbiddenException
print(json.dumps(no or {"type": type(gone).__name__, "name": gone.metadata.name}))
"""


class ApiException(Exception):
    """The client's own, as its program told it."""


class Exit1(Exception):
    """kubectl's, with what it wrote."""


class TimedOut(Exception):
    """Nobody answered in the client's time."""


@asynccontextmanager
async def _around(folder: Path, _: str) -> AsyncIterator[Surroundings]:
    account = folder / "serviceaccount"
    account.write_text(CREDENTIAL)
    credential = {"kind": "service-account", "token_file": str(account), "impersonate": "agent"}
    yield Surroundings(settings={"connector": "kubernetes", "credential": credential})


def _place(site: Site) -> Place:
    assert site.ca is not None
    return Place(url=site.url, ca=site.ca, key=site.credential)


async def _python(site: Site) -> str:
    words = repr([site.mark, site.timeout_s])
    ran = await ask(f"sys.argv[2:] = {words}\n{DELETE}", _place(site))
    if ran.code:
        raise TimedOut(ran.err[-400:])
    told = ran.told
    assert isinstance(told, dict)
    if told["type"] == "ApiException":
        raise ApiException(told["name"])
    return f"{told['type']} {told['name']}"


async def _kubectl(site: Site) -> str:
    ran = await kubectl(
        site.folder, _place(site), "delete", "pod", site.mark, "--wait=false", f"--request-timeout={site.timeout_s:g}s"
    )
    if "Client.Timeout" in ran.err or "context deadline exceeded" in ran.err:
        raise TimedOut(ran.err)
    if ran.code:
        raise Exit1(ran.err)
    found = re.fullmatch(r'pod "(\w+)" deleted\s*', ran.out)
    return f"object {found[1] if found else ran.out}"


def _locked() -> str:
    found = re.search(r"^kubernetes==([\w.]+)", LOCK.read_text(), re.MULTILINE)
    assert found
    return found[1]


def _kubectl_version() -> str:
    ran = subprocess.run([str(KUBECTL), "version", "--client"], capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()[0].rpartition("v")[2]


PYTHON = Client(
    name="kubernetes",
    version=_locked(),
    upstream="kube",
    around=_around,
    tls=True,
    ask=_python,
    answer=apiserver,
    returns="V1Pod {mark}",
    refusal=ApiException,
    gives_up=(TimedOut,),
    default_timeout="none",
    meanwhile=Meanwhile.WAITS_ON,
    unheard=Meanwhile.OWN_RETRY,
)

ROWS = (
    PYTHON,
    *(
        [
            Client(
                name="kubectl",
                version=_kubectl_version(),
                system=True,
                upstream="kube",
                around=_around,
                tls=True,
                ask=_kubectl,
                answer=apiserver,
                returns="object {mark}",
                refusal=Exit1,
                refused="exit status 1",
                gives_up=(TimedOut,),
                default_timeout="none",
                meanwhile=Meanwhile.TIMED_OUT,
            )
        ]
        if KUBECTL
        else []
    ),
)
