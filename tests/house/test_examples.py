"""What the documents show works as it stands: policies compile, cases pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import Group, Policy, Upstream
from proxy import lawbook

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {"finance-leads": Group(quorum=2)}
UPSTREAMS = (Upstream(name="stripe", url="https://api.stripe.com", catalogue=Path("builtin:stripe")),)


def blocks(paper: str, language: str) -> list[str]:
    """The code blocks of a language in a paper."""
    text = (ROOT / paper).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("paper", ["README.md", "docs/policies.md"])
def test_every_policy_in_a_paper_compiles(paper: str, tmp_path: Path) -> None:
    law = tmp_path / "law.cedar"
    law.write_text("\n".join(blocks(paper, "cedar")), "utf-8")
    catalogues = lawbook.read_catalogues(UPSTREAMS)
    bundle = lawbook.compile_bundle(
        Policy(files=(law,)),
        operations=lawbook.operations_of(catalogues),
        groups=GROUPS,
        labels=lawbook.labels_of(catalogues),
    )
    assert len(bundle.rules) > 4


def test_the_cases_in_the_guide_pass_under_the_demos_law(tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    cases.write_text("\n".join(block for block in blocks("docs/policies.md", "yaml") if "cases:" in block), "utf-8")
    assert "2 passed, 0 failed" in policy_test(cases, tmp_path)


def test_the_demos_own_cases_pass(tmp_path: Path) -> None:
    assert "9 passed, 0 failed" in policy_test(ROOT / "proxy/demo/files/cases.yaml", tmp_path)


def policy_test(cases: Path, folder: Path) -> str:
    """What `assentry policy test` prints of these cases under the demo's law."""
    template = (ROOT / "proxy/demo/files/assentry.yaml").read_text("utf-8")
    ports = {"agents": 8400, "approvers": 8401, "operators": 8402}
    urls = {"issuer": "http://127.0.0.1:8403", "upstreams": "http://127.0.0.1:8404"}
    (folder / "assentry.yaml").write_text(template.format(**ports, **urls), "utf-8")
    for name in ("policies", "catalogues"):
        (folder / name).symlink_to(ROOT / "proxy/demo/files" / name)
    (folder / "secrets").mkdir()
    for name in ("stripe", "openai"):
        (folder / "secrets" / name).write_text("secret", "utf-8")
    command = [str(Path(sys.executable).with_name("assentry")), "policy", "test", str(cases)]
    done = subprocess.run([*command, "-c", str(folder / "assentry.yaml")], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    settings = (ROOT / "docs/examples/quickstart/assentry.yaml").read_text("utf-8")
    assert settings in blocks("README.md", "yaml")
