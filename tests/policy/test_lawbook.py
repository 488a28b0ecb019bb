"""From files to a bundle: what is read, what is proved first, what the engine shows at start."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.settings import Group, Policy, Upstream
from policy.bundle import Source, build
from policy.engine import Engine
from policy.errors import BundleRefused
from proxy import lawbook
from proxy.errors import BrokenPromise
from tests.policy.enacted import GRANT, OPERATIONS, READ, REFUNDS

GROUPS = {"finance-leads": Group(quorum=2), "cfo": Group(quorum=1)}


def compiled(*files: Path, base: bool = True, how: Any = lawbook.compile_bundle, **changes: Any) -> Any:
    facts = {"operations": OPERATIONS, "groups": GROUPS, "labels": ["pii"], **changes}
    return how(Policy(files=files, base=base), **facts)


def test_the_shipped_policies_come_first_and_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(GRANT)
    assert [source.file for source in compiled(tmp_path / "a.cedar").sources] == [
        lawbook.SHIPPED,
        str(tmp_path / "a.cedar"),
    ]
    assert [rule.id for rule in compiled(tmp_path / "a.cedar", base=False).rules] == ["grant"]
    assert {rule.id for rule in compiled().rules} > {"base-four-eyes", "base-unknown-operation"}


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b.cedar").write_text(GRANT.replace("grant", "second"))
    (tmp_path / "a.cedar").write_text(GRANT.replace("grant", "first"))
    (tmp_path / "notes.txt").write_text("not a policy")
    assert [rule.id for rule in compiled(tmp_path, base=False).rules] == ["first", "second"]


def test_every_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.cedar").write_bytes(b"// \xff")
    with pytest.raises(BundleRefused) as refused:
        compiled(tmp_path / "absent.cedar", tmp_path / "empty", tmp_path / "latin.cedar")
    told = [str(problem) for problem in refused.value.problems]
    assert ["No such file" in told[0], "no *.cedar file" in told[1], "not UTF-8" in told[2]] == [True] * 3


def test_groups_of_the_settings_are_what_gates_may_ask_for(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(REFUNDS)
    assert compiled(tmp_path / "a.cedar").groups == {"finance-leads": 2, "cfo": 1}
    with pytest.raises(BundleRefused, match="finance-leads:2"):
        compiled(tmp_path / "a.cedar", groups={"finance-leads": Group(quorum=1), "cfo": Group()})


def test_what_compiles_in_a_child_is_the_bundle_that_compiles_here(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(REFUNDS)
    first = compiled(tmp_path / "a.cedar", how=lawbook.compile_in_child)
    assert first.digest == compiled(tmp_path / "a.cedar").digest


def test_what_a_child_refuses_is_refused_with_its_places(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text("\npermit (principal action, resource);")
    with pytest.raises(BundleRefused) as refused:
        compiled(tmp_path / "a.cedar", how=lawbook.compile_in_child)
    assert refused.value.problems[0].line == 2


def test_text_that_ends_the_process_ends_only_the_child(tmp_path: Path) -> None:
    # The token guard stands before Cedar; on a stack this small even what it lets through is too deep.
    deep = f"{'(' * 46}true{')' * 46}"
    (tmp_path / "a.cedar").write_text(f'@id("x") permit (principal, action, resource) when {{{deep}}};')
    usual = threading.stack_size(256 * 1024)
    try:
        with pytest.raises(BundleRefused, match="ends the process"):
            compiled(tmp_path / "a.cedar", how=lawbook.compile_in_child)
    finally:
        threading.stack_size(usual)


def test_a_child_that_does_not_finish_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="longer than"):
        compiled(how=lawbook.compile_in_child, limit_s=0.001)


def test_the_self_test_passes_where_prohibitions_act() -> None:
    lawbook.self_test(Engine(compiled()))


def test_the_self_test_fails_on_a_stack_on_which_policies_are_skipped() -> None:
    deep = GRANT.replace(";", f" when {{{' && '.join(['context.req.sample > 1'] * 90)}}};")
    engine = Engine(build([Source(file="a", text=deep)], operations=[READ], groups={}, labels=frozenset()))
    usual = threading.stack_size(64 * 1024)
    try:
        with pytest.raises(BrokenPromise, match="self-test"):
            lawbook.self_test(engine)
    finally:
        threading.stack_size(usual)


def test_every_upstream_has_an_unknown_operation_with_or_without_a_catalogue(tmp_path: Path) -> None:
    upstreams = [Upstream(name="plain", url="http://plain.test")]
    catalogues = lawbook.read_catalogues(upstreams)
    operations = lawbook.operations_of(catalogues)
    assert [one.name for one in operations] == ["plain:unknown"]
    assert "unscanned" in lawbook.labels_of(catalogues)
    assert compiled(operations=operations, labels=lawbook.labels_of(catalogues)).slice("plain:unknown")


def test_a_bundle_that_lacks_an_operation_is_told_apart_by_its_digest() -> None:
    assert compiled().digest != compiled(operations=[replace(READ, name="crm:other")]).digest
