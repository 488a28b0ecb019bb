"""The Kubernetes client for Python and kubectl, unmodified: a held call is a slow call, and a No is their own error."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.apiserver import apiserver
from tests.clients.kubernetes_clients import Place, Ran, ask, kubectl, python, run
from tests.connectors.kubernetes.cluster import operation
from tests.fakes.certificates import authority
from tests.fakes.house import CREDENTIAL, House, house
from tests.fakes.upstream import FakeUpstream, Received, upstream

WORDS = "Not while customers are shopping"
LAW = """
@id("agents-may") permit (principal in Group::"bots", action, resource);
@id("losses-are-looked-at") @hold("platform")
forbid (principal is Agent, action in Action::"destructive", resource)
unless { context.approvals.count >= 1 };
@id("secrets-stay") @reason("Agents read no secrets.")
forbid (principal is Agent, action in [Action::"kube:secrets.get", Action::"kube:secrets.list"], resource);
@id("dry-runs-pass") permit (principal in Group::"dry", action == Action::"kube:pods.delete", resource)
when { context.input.dryRun };
@id("leads-review") permit (principal in Group::"leads", action in Action::"review", resource);
"""
DELETE = "print(json.dumps(told(lambda: core.delete_namespaced_pod('web-1', 'shop'))))"


@pytest.fixture
async def api() -> AsyncIterator[FakeUpstream]:
    async with upstream() as fake:
        fake.default = apiserver
        yield fake


@pytest.fixture
async def home(tmp_path: Path, api: FakeUpstream) -> AsyncIterator[House]:
    account = tmp_path / "serviceaccount"
    account.write_text(CREDENTIAL)
    kube = {
        "name": "kube",
        "url": f"{api.url}/kube",
        "connector": "kubernetes",
        "private_networks": True,
        "credential": {"kind": "service-account", "token_file": str(account), "impersonate": "agent"},
    }
    certificate, key = map(str, authority(tmp_path).issue("127.0.0.1"))
    tls = {"certificate": certificate, "key": key}
    async with house(tmp_path / "house", policies=LAW, upstreams=[kube], agents={"tls": tls}) as one:
        yield one


def at(home: House) -> Place:
    return Place(url=f"{home.gate.agents_url}/kube", ca=home.folder.parent / "ca.pem", key=home.agent_token())


def sent(api: FakeUpstream, method: str) -> list[Received]:
    return [one for one in api.received if one.method == method]


async def test_an_allowed_list_returns_typed_objects(home: House, api: FakeUpstream) -> None:
    ran = await ask("print(json.dumps(told(lambda: core.list_namespaced_pod('shop'))))", at(home))
    assert ran.told == {"type": "V1PodList", "name": None, "items": ["web-1", "web-2"]}
    (listed,) = api.received
    assert listed.header("authorization") == f"Bearer {CREDENTIAL}"
    assert listed.header("impersonate-user") == "assentry:corp:bot"
    assert listed.all("impersonate-group") == ["assentry:bots"]


async def test_a_deletion_that_a_person_approves_returns_the_object_and_is_sent_once(
    home: House, api: FakeUpstream
) -> None:
    asking = home.begin(ask(DELETE, at(home)))
    held = await home.wait_for_hold()
    assert held.call.operation.name == "kube:pods.delete"
    seen = (await home.person("ann").see(held)).json
    assert 'Delete pods web-1 in namespace "shop"' in json.dumps(seen, ensure_ascii=False).replace('\\"', '"')
    await home.person("ann").approve(held)
    assert (await asking).told == {"type": "V1Pod", "name": "web-1"}
    assert len(sent(api, "DELETE")) == 1


async def test_a_deletion_that_a_person_rejects_raises_the_clients_error_with_the_sentence(
    home: House, api: FakeUpstream
) -> None:
    asking = home.begin(ask(DELETE, at(home)))
    await home.person("ann").reject(await home.wait_for_hold(), WORDS)
    told: Any = (await asking).told
    assert told["status"] == 403
    assert WORDS in told["error"]
    assert WORDS in told["body"]["message"]
    assert (told["body"]["kind"], told["body"]["reason"], told["body"]["code"]) == ("Status", "Forbidden", 403)
    assert told["body"]["details"]["causes"][0]["reason"] == "rejected"
    assert sent(api, "DELETE") == []


async def test_the_clients_own_retries_join_the_hold_and_the_deletion_is_sent_once(
    home: House, api: FakeUpstream
) -> None:
    hasty = "print(json.dumps(told(lambda: core.delete_namespaced_pod('web-1', 'shop', _request_timeout=2))))"
    asking = home.begin(ask(hasty, at(home)))
    held = await home.wait_for_hold()
    await home.told(held, ends="attached")
    await home.person("ann").approve(held)
    assert (await asking).told == {"type": "V1Pod", "name": "web-1"}
    assert len(sent(api, "DELETE")) == len(await home.holds()) == 1


async def test_what_a_policy_forbids_is_forbidden_as_by_the_server(home: House, api: FakeUpstream) -> None:
    program = "print(json.dumps(told(lambda: core.read_namespaced_secret('s', 'shop'))))"
    told: Any = (await ask(program, at(home))).told
    assert told["body"]["reason"] == "Forbidden"
    assert "Agents read no secrets." in told["body"]["message"]
    assert api.received == []


async def test_a_watch_streams_through_while_it_is_open(home: House, api: FakeUpstream) -> None:
    program = """
from kubernetes import watch
seen = []
watching = watch.Watch()
for one in watching.stream(core.list_namespaced_pod, "shop"):
    seen.append([one["type"], type(one["object"]).__name__, one["object"].metadata.name])
    if len(seen) == 2:
        watching.stop()
        break
print(json.dumps(seen))
"""
    ran = await ask(program, at(home))
    assert ran.told == [["ADDED", "V1Pod", "web-1"], ["ADDED", "V1Pod", "web-2"]]
    assert [one["operation"] for one in home.ledger_records() if one["kind"] == "judged"] == ["kube:pods.watch"]
    assert len(api.received) == 1


async def test_the_agents_own_impersonation_never_travels(home: House, api: FakeUpstream) -> None:
    program = """
core.api_client.set_default_header("Impersonate-User", "system:admin")
core.api_client.set_default_header("Impersonate-Group", "system:masters")
print(json.dumps(told(lambda: core.read_namespaced_pod("web-1", "shop"))))
"""
    assert (await ask(program, at(home))).told == {"type": "V1Pod", "name": "web-1"}
    assert api.received[0].header("impersonate-user") == "assentry:corp:bot"
    assert api.received[0].all("impersonate-group") == ["assentry:bots"]


async def test_a_dry_run_can_pass_where_the_deletion_itself_cannot(home: House, api: FakeUpstream) -> None:
    dry = "print(json.dumps(told(lambda: core.delete_namespaced_pod('web-1', 'shop', dry_run='All'))))"
    await home.publish(
        LAW.replace(
            'destructive", resource)\nunless {',
            'destructive", resource)\nwhen { !(context.input has dryRun && context.input.dryRun) }\nunless {',
        )
    )
    assert (await ask(dry, at(home))).told == {"type": "V1Pod", "name": "web-1"}
    (only,) = sent(api, "DELETE")
    assert "dryRun=All" in only.target


PATHS = """
import pathlib, re, kubernetes
lines = set()
for file in (pathlib.Path(kubernetes.__file__).parent / "client" / "api").glob("*_api.py"):
    if file.name != "custom_objects_api.py":
        lines |= set(re.findall(r"method='([A-Z]+)',\\s+resource_path='([^']+)'", file.read_text()))
print(json.dumps(sorted(lines)))
"""
NOT_NAMED = {("GET", "/logs/"), ("GET", "/logs/{logpath}")}


async def test_every_call_that_the_client_can_make_has_a_name() -> None:
    ran = await run(str(python()), "-c", "import json\n" + PATHS)
    lines: Any = ran.told
    assert len(lines) > 900
    unknown = set()
    for method, template in lines:
        filled = template.replace("{namespace}", "shop").replace("{name}", "one").replace("{path}", "a/b")
        if operation(f"{method} {filled}") == "unknown":
            unknown.add((method, template))
    # OPTIONS of what is proxied has no verb in RBAC either.
    assert {line for line in unknown if line[0] != "OPTIONS"} == NOT_NAMED


PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients" / "kubernetes.md"
EXAMPLE = re.compile(r"```(python|bash)\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def examples() -> list[tuple[str, str, str]]:
    return EXAMPLE.findall(PAGE.read_text("utf-8"))


@pytest.mark.parametrize(("language", "source", "prints"), examples(), ids=["approved", "rejected", "kubectl"])
async def test_the_examples_of_the_page_print_what_it_shows(
    home: House, tmp_path: Path, language: str, source: str, prints: str
) -> None:
    if language == "python":
        code = source.replace("https://gate.example.com/kube", at(home).url)
        asking: Any = home.begin(run(str(python()), "-c", code, place=at(home)))
    else:
        words = source.splitlines()[-1].split()
        asking = home.begin(kubectl(tmp_path, at(home), *words[1:]))
    held, ann = await home.wait_for_hold(), home.person("ann")
    said = re.search(r"# Meanwhile Ann (approves|rejects)(?:: (.+))?", source)
    assert said
    await (ann.approve(held) if said[1] == "approves" else ann.reject(held, said[2]))
    ran: Ran = await asking
    assert re.sub(r"call_[0-9A-Z]{26}", "call_…", ran.out or ran.err).strip() == prints.strip()


# kubectl: Go's client, with discovery before each call.


async def test_kubectl_lists_what_is_allowed(home: House, tmp_path: Path) -> None:
    ran = await kubectl(tmp_path, at(home), "get", "pods", "-o", "name")
    assert (ran.code, ran.out.split()) == (0, ["pod/web-1", "pod/web-2"]), ran.err


async def test_kubectl_waits_for_a_person_and_then_says_that_the_pod_is_deleted(
    home: House, api: FakeUpstream, tmp_path: Path
) -> None:
    words = ("delete", "pod", "web-1", "--wait=false")
    asking = home.begin(kubectl(tmp_path, at(home), *words))
    await home.person("ann").approve(await home.wait_for_hold())
    ran = await asking
    assert (ran.code, ran.out.strip()) == (0, 'pod "web-1" deleted'), ran.err
    assert len(sent(api, "DELETE")) == 1


async def test_kubectl_says_what_the_person_said(home: House, api: FakeUpstream, tmp_path: Path) -> None:
    words = ("delete", "pod", "web-1", "--wait=false")
    asking: Any = home.begin(kubectl(tmp_path, at(home), *words))
    await home.person("ann").reject(await home.wait_for_hold(), WORDS)
    ran: Ran = await asking
    assert ran.code == 1
    assert ran.err.startswith("Error from server (Forbidden): ")
    assert WORDS in ran.err
    assert sent(api, "DELETE") == []


async def test_kubectl_exec_is_told_that_streams_do_not_pass(home: House, api: FakeUpstream, tmp_path: Path) -> None:
    ran = await kubectl(tmp_path, at(home), "exec", "web-1", "--", "ls")
    assert ran.code != 0
    assert "streams such as exec, attach and port-forward, do not pass" in ran.err
    assert "upgrade-not-allowed" in ran.err
    refused = [one["reason"] for one in home.ledger_records() if one["kind"] == "refused"]
    assert set(refused) == {"upgrade-not-allowed"}
    assert not [one for one in api.received if "/exec" in one.target]
