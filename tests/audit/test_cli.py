from __future__ import annotations

from pathlib import Path

import orjson
from typer.testing import CliRunner, Result

from policy.verdict import Allow
from proxy.audit import record
from proxy.audit.ledger import Durability
from proxy.cli.audit import app
from tests.fakes.ledgers import a_record, running
from tests.fakes.values import a_call, a_hold


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


async def a_ledger(directory: Path) -> Path:
    async with running(directory) as ledger:
        await ledger.record(record.judged(a_call(), Allow(bundle="b", policies=("p",))), Durability.WRITTEN)
        await ledger.record(record.held(a_hold()), Durability.SYNCED)
        for number in range(30):
            await ledger.record(a_record(number), Durability.WRITTEN)
    return directory


async def test_a_whole_ledger_verifies_with_exit_0(tmp_path: Path) -> None:
    result = run("verify", await a_ledger(tmp_path))
    assert result.exit_code == 0
    assert "w1: whole, 34 records, 2 checkpoints" in result.output


async def test_a_broken_ledger_is_exit_1_and_says_where(tmp_path: Path) -> None:
    path = await a_ledger(tmp_path) / "w1" / "0000000000000000.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"upstream_status":200', b'"upstream_status":500', 1))
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert f"{path}:4: edited: record 3" in result.output
    document = orjson.loads(run("verify", tmp_path, "-o", "json").output)
    assert document["chains"][0]["whole"] is False
    assert document["chains"][0]["findings"][0]["seq"] == 3


async def test_a_checkpoint_kept_elsewhere_is_held_against_the_ledger(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes((await a_ledger(tmp_path / "l") / "w1" / "checkpoints").read_bytes())
    assert run("verify", tmp_path / "l", "--checkpoint", kept).exit_code == 0
    path = tmp_path / "l" / "w1" / "0000000000000000.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:9]))
    (tmp_path / "l" / "w1" / "checkpoints").unlink()
    assert run("verify", tmp_path / "l").exit_code == 0
    result = run("verify", tmp_path / "l", "--checkpoint", kept)
    assert result.exit_code == 1
    assert "truncated" in result.output


async def test_another_key_is_exit_1_and_an_unusable_one_exit_2(tmp_path: Path) -> None:
    await a_ledger(tmp_path / "a")
    await a_ledger(tmp_path / "b")
    assert run("verify", tmp_path / "a", "--key", tmp_path / "b" / "checkpoint.pub").exit_code == 1
    (tmp_path / "bad.pem").write_text("x")
    assert run("verify", tmp_path / "a", "--key", tmp_path / "bad.pem").exit_code == 2


def test_a_directory_without_a_ledger_is_exit_2(tmp_path: Path) -> None:
    assert run("verify", tmp_path / "none").exit_code == 2
    assert run("verify", tmp_path).exit_code == 2
    assert run("tail", "--dir", tmp_path / "none").exit_code == 2


async def test_tail_prints_the_newest_records_in_order(tmp_path: Path) -> None:
    result = run("tail", "-n", "3", "-o", "json", "--dir", await a_ledger(tmp_path))
    assert [orjson.loads(line)["seq"] for line in result.output.splitlines()] == [31, 32, 33]
    assert result.exit_code == 0
    assert "w1/33" in run("tail", "-n", "1", "--dir", tmp_path).output


async def test_show_prints_everything_of_one_call(tmp_path: Path) -> None:
    result = run("show", a_call().id, "--dir", await a_ledger(tmp_path))
    assert result.exit_code == 0
    rows = result.output.splitlines()
    assert len(rows) == 2
    assert "judged" in rows[0]
    assert "verdict=allow" in rows[0]
    assert "held" in rows[1]


async def test_show_of_an_unknown_call_is_exit_1(tmp_path: Path) -> None:
    assert run("show", "call_none", "--dir", await a_ledger(tmp_path)).exit_code == 1
