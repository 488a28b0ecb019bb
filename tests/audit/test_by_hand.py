"""What docs/ledger.md tells an auditor to do by hand works, with tools that are not ours."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.audit.ledger import Durability
from tests.fakes.ledgers import a_record, lines, running

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"


def shell_of(heading: str) -> list[str]:
    section = DOCS.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(script: str, directory: Path) -> str:
    done = subprocess.run(["sh", "-ec", script], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
async def test_the_hash_of_a_line_can_be_computed_by_hand(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(1), Durability.WRITTEN)
    script = shell_of("Verify by hand")[0].split("sed -n 2p")[0]
    computed = run(script, tmp_path).split()[0]
    assert f'"prev":"{computed}"'.encode() in lines(tmp_path)[1]


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
async def test_a_checkpoint_s_signature_can_be_verified_by_hand(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(1), Durability.WRITTEN)
    assert "Success" in run(shell_of("Verify by hand")[1], tmp_path)
