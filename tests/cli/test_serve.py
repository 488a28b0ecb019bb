"""`assentry serve` as a platform meets it: starts, refuses to start, reloads, stops."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.demo.issuer import DemoAgent, DemoIssuer, DemoPerson
from tests.fakes.command import Started, ran, started
from tests.fakes.upstream import FakeUpstream, held, reply, upstream

POLICY = """
@id("bots") permit (principal in Group::"bots", action, resource);
@id("gate") @hold("money") forbid (principal is Agent, action == Action::"stripe:refunds.create", resource)
unless { context.approvals.count >= 1 };
@id("people") permit (principal in Group::"leads", action in Action::"review", resource);
"""
SETTINGS = """
data: state
demo: true
agents: {{listen: "127.0.0.1:0"}}
approvers: {{listen: "127.0.0.1:0"}}
operators: {{listen: "127.0.0.1:0"}}
issuers:
  - {{name: corp, issuer: "{issuer}", algorithms: [ES256], agents_audience: agents, people_audience: people}}
groups: {{leads: {{}}}}
upstreams:
  - {{name: stripe, url: "{upstream}", catalogue: "builtin:stripe", private_networks: true}}
policy: {{files: [policies]}}
limits: {{shutdown_s: 5}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder with settings, and what they speak of."""

    folder: Path
    issuer: DemoIssuer
    upstream: FakeUpstream

    @property
    def settings(self) -> Path:
        return self.folder / "assentry.yaml"

    def policy(self, text: str) -> None:
        # As editors and ConfigMaps do it: never half a file.
        (self.folder / "new").write_text(text)
        (self.folder / "new").replace(self.folder / "policies" / "a.cedar")


@asynccontextmanager
async def a_place(folder: Path) -> AsyncIterator[Place]:
    issuer = DemoIssuer(
        people={"ann": DemoPerson(subject="ann", name="Ann", groups=("leads",), about="")},
        agents={"bot": DemoAgent(client_id="bot", secret="s", owner="olga", groups=("bots",))},
        people_audience="people",
        agents_audience="agents",
        client_id="",
        redirect_uris=(),
        demo=True,
    )
    await issuer.start()
    try:
        async with upstream() as api:
            (folder / "policies").mkdir()
            place = Place(folder=folder, issuer=issuer, upstream=api)
            place.policy(POLICY)
            place.settings.write_text(SETTINGS.format(issuer=issuer.url, upstream=api.url))
            yield place
    finally:
        await issuer.stop()


async def doors(serving: Started) -> tuple[str, str, str]:
    """URLs of the agents', approvers' and operators' doors."""
    match = await serving.says(r"agents (\S+), approvers (\S+), operators (\S+)\n")
    return match[1], match[2], match[3]


async def asked(url: str, token: str, method: str = "GET", **more) -> tuple[int, dict]:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers, **more) as answer:
        return answer.status, json.loads(await answer.read())


async def ready(operators: str) -> dict:
    return (await asked(f"{operators}/readyz", ""))[1]


async def test_stopping_finishes_what_is_being_sent_and_keeps_what_is_held(tmp_path: Path):
    async with a_place(tmp_path) as place:
        bot, ann = place.issuer.agent_token("bot"), place.issuer.person_token("ann")
        answered = asyncio.Event()
        place.upstream.script(held(answered, reply(200, b'{"object": "list"}')), reply(200, b'{"id": "re_1"}'))
        async with started("serve", "-c", place.settings) as first, asyncio.TaskGroup() as agents:
            agents_url, approvers_url, operators_url = await doors(first)
            sent = agents.create_task(asked(f"{agents_url}/stripe/v1/charges", bot))
            await place.upstream.until_received(1)
            form = {"charge": "ch_1", "amount": "5"}
            waiting = agents.create_task(asked(f"{agents_url}/stripe/v1/refunds", bot, "POST", data=form))
            hold = await the_hold(approvers_url, ann)
            first.process.send_signal(signal.SIGTERM)

            status, said = await waiting
            assert (status, said["error"]["code"]) == (403, "approval-pending")
            assert (await ready(operators_url))["not_ready"] == {"serve": "stopping"}
            try:
                await asked(f"{agents_url}/stripe/v1/charges", bot)
                raise AssertionError("a stopping gate took a new call")
            except aiohttp.ClientConnectionError:
                pass
            assert not sent.done()
            answered.set()
            assert await sent == (200, {"object": "list"})
            assert await first.process.wait() == 0
            assert "Traceback" not in first.printed

        async with started("serve", "-c", place.settings) as second:
            _, approvers_url, _ = await doors(second)
            again = await the_hold(approvers_url, ann)
            assert again["id"] == hold["id"]
            decision = {"fingerprint": again["fingerprint"], "shown": again["shown"]}
            assert (await asked(f"{approvers_url}/v1/holds/{hold['id']}/approve", ann, "POST", json=decision))[0] == 200
            await place.upstream.until_received(2)
            assert place.upstream.received[1].body == b"charge=ch_1&amount=5"
            assert await second.end(signal.SIGINT) == 0
        verified = await ran("audit", "verify", "-c", place.settings)
        assert verified.status == 0, verified


async def the_hold(approvers_url: str, token: str) -> dict:
    """The one open hold, whole, once there is one."""
    async with asyncio.timeout(20):
        while not (holds := (await asked(f"{approvers_url}/v1/holds", token))[1]["holds"]):
            pass
    return (await asked(f"{approvers_url}/v1/holds/{holds[0]['id']}", token))[1]


async def test_a_broken_policy_leaves_the_last_good_one_in_force_until_it_is_mended(tmp_path: Path):
    async with a_place(tmp_path) as place, started("serve", "-c", place.settings) as serving:
        bot = place.issuer.agent_token("bot")
        agents_url, _, operators_url = await doors(serving)
        before = await ready(operators_url)
        assert (before["ready"], before["reload_failure"]) == (True, "")

        place.policy(f"{POLICY}\npermit (principal action);")
        await serving.says("not published, in force stays")
        broken = await ready(operators_url)
        assert (broken["ready"], broken["bundle"]) == (True, before["bundle"])
        assert "policies/a.cedar:7:" in broken["reload_failure"]
        place.upstream.script(reply())
        assert (await asked(f"{agents_url}/stripe/v1/charges", bot))[0] == 200

        place.policy(f'{POLICY}\n@id("none") forbid (principal is Agent, action, resource);')
        await serving.says(f"in force: bundle (?!{before['bundle']})")
        mended = await ready(operators_url)
        assert mended["bundle"] != before["bundle"]
        assert mended["reload_failure"] == ""
        assert (await asked(f"{agents_url}/stripe/v1/charges", bot))[0] == 403

        printed = len(serving.printed)
        serving.process.send_signal(signal.SIGHUP)
        await serving.says(rf"(?s).{{{printed}}}.*in force: bundle {mended['bundle']}")
        assert await serving.end() == 0
        told = await ran("audit", "tail", "-o", "json", "-n", "100", "-c", place.settings)
        published = [one for one in map(json.loads, told.out.splitlines()) if one["kind"] == "published"]
        assert [one["accepted"] for one in published] == [True, False, True, True]
        assert "a.cedar:7:" in published[1]["problems"][0]


async def test_what_keeps_it_from_starting_is_told_in_a_sentence(tmp_path: Path):
    async with a_place(tmp_path) as place:
        good = place.settings.read_text()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            cases = {
                "agents.lisen": good.replace("agents: {listen", "agents: {lisen"),
                f"127.0.0.1:{port} (agents.listen): something else": good.replace(":0", f":{port}", 1),
                f"127.0.0.1:{port} (approvers.listen): something else": good.replace(
                    'approvers: {listen: "127.0.0.1:0"', f'approvers: {{listen: "127.0.0.1:{port}"'
                ),
                "no such catalogue: did you mean": good.replace("builtin:stripe", "builtin:strip"),
                "absent.cedar": good.replace("files: [policies]", "files: [absent.cedar]"),
                "store": f"{good}store: {{url: 'redis://127.0.0.1:1'}}\n",
            }
            for said, text in cases.items():
                place.settings.write_text(text)
                await refused(place, said)
        place.settings.write_text(good)
        place.policy("permit (principal action);")
        await refused(place, "policies/a.cedar:1:")
        (tmp_path / "state").rename(tmp_path / "moved")
        (tmp_path / "state").write_text("a file where a folder should be")
        place.policy(POLICY)
        await refused(place, "state")


async def test_a_second_gate_on_the_same_data_does_not_start(tmp_path: Path):
    async with a_place(tmp_path) as place, started("serve", "-c", place.settings) as serving:
        _, _, operators_url = await doors(serving)
        await refused(place, "Another Assentry uses")
        assert (await ready(operators_url))["ready"]


async def refused(place: Place, said: str) -> None:
    ended = await ran("serve", "-c", place.settings)
    assert ended.status == 2, ended
    assert said in ended.err, ended
    assert "Traceback" not in ended.err
