"""Records of the command line: a chain beside the gate's, shipped by the gate."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from config.settings import Ledger as Settings
from proxy.audit.single import write
from proxy.audit.spool import lock
from proxy.errors import OperatorFault, Outage
from tests.fakes.ledgers import Collector, a_record, findings, lines, running, until


def told(directory: Path, chain: str) -> list[str]:
    return [json.loads(line)["kind"] for line in lines(directory, chain)]


def test_records_of_one_command_after_another_are_one_whole_chain(tmp_path: Path):
    for number in range(3):
        write(Settings(), directory=tmp_path, record=a_record(number))
    assert told(tmp_path, "cli").count("concluded") == 3
    assert findings(tmp_path) == []


def test_a_chain_that_somebody_holds_is_passed_over(tmp_path: Path):
    write(Settings(), directory=tmp_path, record=a_record(0))
    held = lock(tmp_path / "cli")
    write(Settings(), directory=tmp_path, record=a_record(1))
    os.close(held)
    assert told(tmp_path, "cli-2").count("concluded") == 1
    assert findings(tmp_path) == []


def test_a_chain_that_was_tampered_with_is_not_continued_elsewhere(tmp_path: Path):
    write(Settings(), directory=tmp_path, record=a_record(0))
    file = next((tmp_path / "cli").glob("*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b'"upstream_status":200', b'"upstream_status":201'))
    with pytest.raises(OperatorFault):
        write(Settings(), directory=tmp_path, record=a_record(1))
    assert not (tmp_path / "cli-2").exists()


def test_what_cannot_be_written_is_an_outage(tmp_path: Path):
    (tmp_path / "ledger").write_text("a file where a folder should be")
    with pytest.raises(Outage):
        write(Settings(), directory=tmp_path / "ledger", record=a_record())


async def test_a_running_gate_ships_them_again_and_again(tmp_path: Path):
    sink = Collector()
    async with running(tmp_path, sinks={"all": sink}, checkpoint_s=0.02):
        for number in range(2):
            await asyncio.to_thread(write, Settings(), directory=tmp_path, record=a_record(number))
            await until(lambda: any(f"{number:026d}" in line.decode() for line in sink.lines))  # noqa: B023
    shipped = [json.loads(line) for line in sink.lines]
    chains = {one["chain"] for one in shipped if one["kind"] == "concluded"}
    assert all(chain.startswith("cli") for chain in chains)
    assert findings(tmp_path) == []
