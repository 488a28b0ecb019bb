"""Parts lost in the middle, floods, reloads and stops, against the gate as it runs: not knowing is No."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter

import orjson
import pytest

from config.errors import SettingsRefused
from tests.fakes.upstream import held as held_until
from tests.fakes.upstream import reply
from tests.fakes.valkey import PrivateValkey
from tests.hostile.whole import FORM, LAW, READ_S, Whole, whole


@pytest.fixture
async def live(tmp_path):
    async with whole(tmp_path) as running:
        yield running


# P11: policies that change under load.


async def test_p11_every_decision_under_reloads_is_by_one_whole_bundle_and_a_broken_one_opens_nothing(live: Whole):
    closed = LAW.replace('@id("reads") permit', '@id("reads-closed") forbid')
    opened_by, closed_by = await _digest(live, LAW), await _digest(live, closed)
    answers: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def call() -> None:
        while not done.is_set():
            got = await live.ask("/v1/charges")
            answers.append((got.status, got.headers["assentry-call"]))

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(call())
        for law in (LAW, closed, "permit (principal, action, resource", closed.replace("forbid", "permt")) * 3:
            live.law.write_text(law)
            await live.gate.reload.try_publishing()
        done.set()
    by_call = {line["call"]: line for line in live.records() if line["kind"] == "judged"}
    decided = Counter((status, by_call[call]["bundle"], tuple(by_call[call]["policies"])) for status, call in answers)
    assert set(decided) == {(200, opened_by, ("reads",)), (403, closed_by, ("reads-closed",))}
    assert len(live.upstream.received) == sum(status == 200 for status, _ in answers)


async def test_p11_a_broken_bundle_leaves_the_last_good_one_in_force_and_is_on_record(live: Whole):
    standing = live.gate.reload.standing
    live.law.write_text("permit (principal, action, resource")
    assert not await live.gate.reload.try_publishing()
    assert live.gate.reload.standing.digest == standing.digest
    assert (await live.ask("/v1/payouts", method="POST")).status == 403
    refused = [line for line in live.records() if line["kind"] == "published" and not line["accepted"]]
    assert refused[0]["bundle"] == standing.digest
    assert refused[0]["problems"]


# P12, E8: policies that cannot be evaluated, and names that look like policies.


async def test_p12_names_that_look_like_cedar_are_only_names(live: Whole):
    text = 'x"}; permit(principal,action,resource); //'
    token = live.issuer.agent_token("bot", groups=[text])
    assert (await live.ask("/v1/charges", token=token)).said["reason"] == "no-policy-permits"
    got = await live.ask("/v1/charges/x%22,resource)%20permit(principal,action,resource)", method="DELETE", token=token)
    assert got.said["reason"] == "no-policy-permits"
    assert live.upstream.received == []


async def test_e8_a_policy_that_fails_denies_and_nothing_is_sent(tmp_path):
    broken = """@id("sum") forbid (principal is Agent, action == Action::"pay:refunds.create", resource)
    when { context.input has amount && context.input.amount * 9223372036854775807 > 7 };"""
    async with whole(tmp_path, law=LAW + broken) as live:
        got = await live.refund(5_000)
        assert (got.status, got.said["reason"]) == (403, "policy-error")
        assert live.upstream.received == []


# E1: places that no setting opens.


@pytest.mark.parametrize(
    ("url", "opened"),
    [("http://169.254.169.254/latest", True), ("http://127.0.0.1:1", False), ("http://10.0.0.1", False)],
)
async def test_e1_an_upstream_at_an_inner_address_is_refused_before_anything_starts(tmp_path, url: str, opened: bool):
    with pytest.raises(SettingsRefused):
        async with whole(tmp_path, url=url, private_networks=opened):
            pytest.fail("it started")


async def test_e1_a_clouds_own_address_is_refused_on_connecting_whatever_the_settings_open(tmp_path):
    async with whole(tmp_path, url="http://[fd00:ec2::254]/") as live:
        got = await live.ask("/v1/charges")
        assert (got.status, got.said["reason"]) == (503, "upstream-unreachable")
        concluded = await live.until_recorded(got.headers["assentry-call"], "concluded")
        assert concluded["reason"] == "upstream-unreachable"


# E2: bombs.


async def test_e2_a_body_that_is_too_large_to_be_held_is_refused_and_on_record(tmp_path):
    async with whole(tmp_path, more={"holds": {"body_bytes": 1000}}) as live:
        body = b"charge=ch_1&amount=9000000&note=" + b"x" * 1000
        got = await live.ask("/v1/refunds", f"Content-Type: {FORM}", method="POST", body=body)
        assert (got.status, got.said["reason"]) == (413, "body-too-large")
        assert [line["reason"] for line in live.records(got.headers["assentry-call"])] == ["body-too-large"]
        assert (await live.api("ann", "GET", "/v1/holds")).said["holds"] == []


async def test_e2_calls_refused_for_their_number_leave_no_keys_that_last(tmp_path):
    with PrivateValkey() as server:
        async with whole(tmp_path, more=_shared(server) | {"holds": {"open_per_agent": 1}}) as live:
            await live.held(20_000, "Idempotency-Key: kept")
            for number in range(20):
                got = await live.refund(30_000 + number, f"Idempotency-Key: k{number}")
                assert got.status == 429
        lives = _lives_of_keys(server)
        assert len(lives) == 21
        assert sum(life > 60 for life in lives) == 1


# E6: the store is gone.


async def test_e6_while_the_store_is_gone_nothing_is_held_decided_or_told_and_allowed_calls_go_on_for_seconds(tmp_path):
    with PrivateValkey() as server:
        async with whole(tmp_path, more=_shared(server)) as live:
            call = await live.held()
            shown = await live.show(call)
            server.kill()
            refund, status = await live.refund(30_000), await live.status(call)
            for got in (refund, status):
                assert (got.status, got.said["reason"]) == (503, "store-unavailable")
            decision = {"fingerprint": shown["fingerprint"], "shown": shown["shown"], "reason": "ok"}
            clicked = await live.api("ann", "POST", f"/v1/holds/{call}/approve", decision)
            assert clicked.status == 503
            assert live.upstream.received == []
            # The copy of the deny list is good for ten seconds; policies and tokens need no store.
            assert (await live.ask("/v1/charges")).status == 200
            server.start()
            await live.until(call, "pending")
            assert live.findings() == []


# E9: the ledger cannot be written.


async def test_e9_what_cannot_be_recorded_is_not_sent_and_not_held(live: Whole):
    assert (await live.ask("/v1/charges")).status == 200
    (segment,) = live.ledger.glob("*/*.jsonl")
    segment.unlink()
    sent = len(live.upstream.received)
    for got in (await live.ask("/v1/charges"), await live.refund(30_000), await live.refund(500)):
        assert (got.status, got.said["reason"]) == (503, "ledger-unavailable")
    assert len(live.upstream.received) == sent
    assert [brief["state"] for brief in (await live.api("ann", "GET", "/v1/holds")).said["holds"]] == []


# E12: stops.


async def test_e12_a_stop_loses_no_hold_and_the_agent_finds_it_again(tmp_path):
    async with whole(tmp_path) as live:
        call = await live.held(25_000, "Idempotency-Key: k-1")
    async with whole(tmp_path) as live:
        again = await live.refund(25_000, "Idempotency-Key: k-1", "Prefer: respond-async")
        assert (again.status, again.headers["assentry-call"]) == (202, call)
        assert (await live.decide(call)).status == 200
        assert (await live.refund(25_000, "Idempotency-Key: k-1")).headers["assentry-call"] == call
        assert len(live.upstream.received) == 1
        assert live.findings() == []


async def test_e12_on_sigterm_the_call_that_is_being_sent_is_finished_and_the_process_ends_with_0(tmp_path):
    async with whole(tmp_path / "base") as live:
        answer = asyncio.Event()
        live.upstream.script(held_until(answer, reply(200, b"late")))
        serving, agents = await _served(live, tmp_path)
        async with asyncio.TaskGroup() as group:
            head = f"GET /pay/v1/charges HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {live.token}\r\n\r\n"
            asked = group.create_task(live.raw(head.encode(), to=agents))
            await live.upstream.until_received(1)
            serving.send_signal(signal.SIGTERM)
            answer.set()
        assert asked.result().endswith(b"late")
        async with asyncio.timeout(READ_S):
            assert await serving.wait() == 0


async def _digest(live: Whole, law: str) -> str:
    live.law.write_text(law)
    assert await live.gate.reload.try_publishing()
    digest: str = live.gate.reload.standing.digest
    return digest


def _shared(server: PrivateValkey) -> dict[str, object]:
    return {"store": {"url": server.url, "encryption_key": "file:sealing", "timeout_s": 0.5}}


def _lives_of_keys(server: PrivateValkey) -> list[int]:
    import redis

    with redis.Redis.from_url(server.url) as client:
        return [client.ttl(key) for key in client.scan_iter("*:key")]


async def _served(live: Whole, folder) -> tuple[asyncio.subprocess.Process, str]:
    """`assentry serve` in a process of its own, with the same settings in another folder."""
    import shutil

    other = folder / "served"
    shutil.copytree(live.folder, other, ignore=shutil.ignore_patterns("state"))
    settings = orjson.loads((other / "assentry.yaml").read_bytes())
    (other / "assentry.yaml").write_bytes(orjson.dumps({**settings, "data": str(other / "state")}))
    entry = "from proxy.cli.main import app; app()"
    command = (sys.executable, "-c", entry, "serve", "--config", str(other / "assentry.yaml"))
    serving = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert serving.stderr is not None
    async with asyncio.timeout(READ_S):
        while b"agents http" not in (line := await serving.stderr.readline()):
            assert line, "it does not start"
    return serving, line.split(b"agents ")[1].split(b",")[0].decode()
