from __future__ import annotations

import json
from pathlib import Path

import aiohttp

from tests.cli.live import gate
from tests.fakes.command import ran
from tests.fakes.valkey import PrivateValkey

AGENT = "demo:billing-bot"


async def charges(live, key: str) -> int:
    """Status of an allowed call with this key."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{live.gate.agents_url}/stripe/v1/charges", headers={"Authorization": f"Bearer {key}"}) as answer,
    ):
        return answer.status


def recorded(ledger: Path) -> list[dict]:
    """The records of the command line's own chain, without those of the ledger itself."""
    lines = [line for file in sorted((ledger / "cli").glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [record for record in map(json.loads, lines) if record["kind"] == "key-issued"]


async def test_a_pair_to_sign_with_is_printed_once_and_kept_where_nobody_reads_it(tmp_path: Path):
    async with gate(tmp_path) as live:
        config = ("--config", tmp_path / "assentry.yaml")
        issued = await ran("keys", "issue", AGENT, "--aws", "--lifetime", "12h", *config)
        assert (issued.status, issued.err) == (0, "")
        told = dict(line.split("=", 1) for line in issued.out.splitlines())
        pair = await live.gate.agent_keys.pair(told["AWS_ACCESS_KEY_ID"])
        secret = told["AWS_SECRET_ACCESS_KEY"]
        assert (pair.secret, pair.principal.agent) == (secret, AGENT)
        assert secret not in repr(pair)
        for listed in (await ran("keys", "ls", *config), await ran("keys", "ls", "-o", "json", *config)):
            assert told["AWS_ACCESS_KEY_ID"].removeprefix("ASSENTRY").lower() in listed.out
            assert secret not in listed.out
        assert secret not in json.dumps(recorded(tmp_path / "state" / "ledger"))
        # Its other half opens nothing: nobody was ever told the text of this key.
        assert await charges(live, f"ask_{pair.principal.token_id}_{secret}xxx") == 401


async def test_a_key_is_on_the_ledger_works_is_listed_and_is_revoked(tmp_path: Path):
    async with gate(tmp_path) as live:
        config = ("--config", tmp_path / "assentry.yaml")
        issued = await ran(
            *("keys", "issue", AGENT, "--owner", "demo:olga", "--group", "billing-agents", "--lifetime", "12h"),
            *("--note", "for \x1b[31mtests", *config),
        )
        assert (issued.status, issued.err) == (0, "")
        key = issued.out.strip()
        assert await charges(live, key) == 200

        [entry] = recorded(tmp_path / "state" / "ledger")
        assert (entry["agent"], entry["revoked"]) == (AGENT, False)
        assert entry["account"]
        assert key not in json.dumps(entry)

        listed = await ran("keys", "ls", *config)
        assert entry["key_id"] in listed.out
        assert "\x1b" not in listed.out
        assert key not in listed.out
        rows = json.loads((await ran("keys", "ls", "-o", "json", *config)).out)["keys"]
        assert {row["id"] for row in rows} > {entry["key_id"]}

        assert (await ran("keys", "revoke", entry["key_id"], *config)).status == 0
        assert [one["revoked"] for one in recorded(tmp_path / "state" / "ledger")] == [False, True]
        assert entry["key_id"] not in (await ran("keys", "ls", *config)).out
        assert (await ran("keys", "revoke", entry["key_id"], *config)).status == 1
        verified = await ran("audit", "verify", *config)
        assert verified.status == 0, verified
        assert "cli: whole" in verified.out


async def test_no_record_no_key(tmp_path: Path):
    async with gate(tmp_path) as live:
        config = ("--config", tmp_path / "assentry.yaml")
        before = {key.id for key in await live.gate.agent_keys.listing()}
        # A file where the chain's folder would be, also for those whom permissions do not stop.
        (tmp_path / "state" / "ledger" / "cli").write_text("")
        refused = await ran("keys", "issue", AGENT, *config)
        assert (refused.status, refused.out) == (3, "")
        assert "ledger" in refused.err
        assert {key.id for key in await live.gate.agent_keys.listing()} == before

        [known] = before
        revoked = await ran("keys", "revoke", known, *config)
        assert revoked.status == 3
        assert await live.gate.agent_keys.listing() == ()


async def test_wrong_usage_and_a_gate_that_does_not_run_are_told_apart(tmp_path: Path):
    async with gate(tmp_path):
        pass
    config = ("--config", tmp_path / "assentry.yaml")
    for status, words in (
        (3, ("issue", AGENT)),
        (3, ("ls",)),
        (2, ("issue", "billing-bot")),
        (2, ("issue", "elsewhere:billing-bot")),
        (2, ("issue", AGENT, "--lifetime", "forever")),
        (2, ("issue", AGENT, "--lifetime", "9999d")),
    ):
        ended = await ran("keys", *words, *config)
        assert (ended.status, ended.out) == (status, ""), words
        assert ended.err.count("\n") == 1
    assert (await ran("keys", "ls", "--config", tmp_path / "absent.yaml")).status == 2


async def test_keys_in_a_store_elsewhere_need_no_running_gate(tmp_path: Path):
    with PrivateValkey(tcp=True) as server:
        key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        (tmp_path / "assentry.yaml").write_text(
            "data: state\n"
            "issuers: [{name: corp, issuer: 'https://login.example.com', agents_audience: gate}]\n"
            f"store: {{url: '{server.url}', encryption_key: 'env:SEAL'}}\n"
        )
        config, environ = ("--config", tmp_path / "assentry.yaml"), {"SEAL": key}
        issued = await ran("keys", "issue", "corp:bot", *config, environ=environ)
        assert (issued.status, issued.err) == (0, "")
        assert len(json.loads((await ran("keys", "ls", "-o", "json", *config, environ=environ)).out)["keys"]) == 1
        assert len(recorded(tmp_path / "state" / "ledger")) == 1
