"""The verbs that only look: at the settings, the law, the catalogues and the ledger of a demo that ran."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.cli.live import gate, held, refund
from tests.fakes.command import Ended, ran

CRM = {
    "openapi": "3.1.0",
    "info": {"title": "CRM", "version": "1"},
    "paths": {
        "/v1/customers/{customer}": {
            "delete": {
                "operationId": "deleteCustomer",
                "parameters": [{"name": "customer", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {"204": {"description": "gone"}},
            }
        }
    },
}


async def good(*words: str | Path, cwd: Path) -> Ended:
    ended = await ran(*words, cwd=cwd)
    assert ended.status == 0, ended
    assert "Traceback" not in ended.err
    return ended


async def test_a_demos_settings_law_and_ledger_can_be_looked_at(tmp_path: Path):
    async with gate(tmp_path) as live, asyncio.TaskGroup() as agents:
        stripe_key = live.upstreams.stripe_key
        asked = agents.create_task(refund(live, 25_000))
        [call] = await held(live)
        shown = await good("audit", "show", call, "-c", "assentry.yaml", cwd=tmp_path)
        assert "held" in shown.out
        tailed = await good("audit", "tail", "-n", "100", "-o", "json", "-c", "assentry.yaml", cwd=tmp_path)
        kinds = [json.loads(line)["kind"] for line in tailed.out.splitlines()]
        assert {"published", "key-issued", "held"} <= set(kinds)
        assert stripe_key not in tailed.out
        asked.cancel()
    verified = await good("audit", "verify", "-c", "assentry.yaml", "-o", "json", cwd=tmp_path)
    assert all(chain["whole"] for chain in json.loads(verified.out)["chains"])
    assert (await ran("audit", "show", "call_nobody", "-c", "assentry.yaml", cwd=tmp_path)).status == 1

    checked = await good("config", "check", "-c", "assentry.yaml", cwd=tmp_path)
    assert "upstreams.0.catalogue" in checked.out
    assert stripe_key not in checked.out

    validated = await good("policy", "validate", "-o", "json", "-c", "assentry.yaml", cwd=tmp_path)
    in_force = [one for one in map(json.loads, tailed.out.splitlines()) if one["kind"] == "published"]
    assert json.loads(validated.out)["digest"] == in_force[-1]["bundle"]
    assert "0 failed" in (await good("policy", "test", "cases.yaml", "-c", "assentry.yaml", cwd=tmp_path)).out
    case = "a larger one needs a finance lead"
    explained = await good("policy", "explain", "cases.yaml", case, "-c", "assentry.yaml", cwd=tmp_path)
    assert "refund-over-100" in explained.out
    broken = tmp_path / "policies" / "broken.cedar"
    broken.write_text("permit (principal action);")
    refused = await ran("policy", "validate", "-c", "assentry.yaml", cwd=tmp_path)
    assert refused.status == 2
    assert "broken.cedar:1:" in refused.err


async def test_a_catalogue_is_imported_checked_and_tried(tmp_path: Path):
    (tmp_path / "crm.json").write_text(json.dumps(CRM))
    await good("catalog", "import", "crm.json", "--upstream", "crm", "-o", "crm.yaml", cwd=tmp_path)
    assert "1 operations" in (await good("catalog", "check", "crm.yaml", cwd=tmp_path)).out
    matched = await good("catalog", "match", "crm.yaml", "DELETE", "/v1/customers/cus_1", cwd=tmp_path)
    assert "crm:" in matched.out
    assert "customer = cus_1" in matched.out
    assert (await ran("catalog", "match", "crm.yaml", "GET", "/v1/other", cwd=tmp_path)).status == 1
    (tmp_path / "crm.yaml").write_text("operations: {a: {call: 'FETCH /'}}")
    refused = await ran("catalog", "check", "crm.yaml", cwd=tmp_path)
    assert refused.status == 2
    assert "operations.a" in refused.err
    built_in = await good("catalog", "match", "builtin:stripe", "POST", "/v1/refunds", cwd=tmp_path)
    assert "refunds.create" in built_in.out
