"""Attacks on the ledger: tampering, injection, secrets, full disks, kill -9."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from policy.call import AgentWords, CallId, Input, Resource, Sensitivity, Target
from policy.hold import Conclusion
from policy.operation import Field, FieldType, Place
from policy.principal import Identity, Person
from policy.reasons import Reason
from policy.verdict import Allow, Approvals, Deny
from proxy.audit import record
from proxy.audit.checkpoint import Checkpoint, notes, origin, signed
from proxy.audit.keys import public_key, signing_key
from proxy.audit.ledger import Durability
from proxy.audit.record import Record
from proxy.audit.verify import Fault, verify
from proxy.errors import OperatorFault
from tests.fakes.ledgers import a_record, findings, lines, running
from tests.fakes.values import REFUND, a_call, a_hold

ROOT = Path(__file__).resolve().parents[2]


def refused(match: str) -> AbstractContextManager[object]:
    """An OperatorFault that comes out of a task group."""
    return pytest.RaisesGroup(pytest.RaisesExc(OperatorFault, match=match), flatten_subgroups=True)


async def small_ledger(directory: Path, *, records: int = 12, segment_bytes: int = 4096) -> Path:
    """A closed ledger of a few records in several files."""
    async with running(directory, segment_bytes=segment_bytes) as ledger:
        for number in range(records):
            await ledger.record(a_record(number), Durability.WRITTEN)
    assert findings(directory) == []
    return directory / "w1"


def found(directory: Path) -> set[Fault]:
    return {finding.fault for finding in findings(directory)}


# Tampering.


async def test_a_change_of_any_byte_is_found(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path, records=8)
    chance = random.Random(1)
    for path in (*chain.glob("*.jsonl"), chain / "checkpoints"):
        whole = path.read_bytes()
        for position in range(len(whole)):
            changed = bytearray(whole)
            changed[position] ^= chance.randrange(1, 256)
            path.write_bytes(changed)
            assert findings(tmp_path), f"byte {position} of {path.name} was changed unseen"
        path.write_bytes(whole)
    assert findings(tmp_path) == []


def delete(rows: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(rows))
    return rows[:at] + rows[at + 1 :]


def delete_some(rows: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(rows))
    return rows[:at] + rows[at + chance.randrange(1, 5) :]


def duplicate(rows: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(rows))
    return rows[: at + 1] + rows[at:]


def copy_elsewhere(rows: list[bytes], chance: random.Random) -> list[bytes]:
    return [*rows[: (at := chance.randrange(len(rows)))], rows[chance.randrange(len(rows))], *rows[at:]]


def swap(rows: list[bytes], chance: random.Random) -> list[bytes]:
    one, two = chance.sample(range(len(rows)), 2)
    rows[one], rows[two] = rows[two], rows[one]
    return rows


def cut_off(rows: list[bytes], chance: random.Random) -> list[bytes]:
    return rows[: chance.randrange(len(rows))]


def cut_bytes(rows: list[bytes], chance: random.Random) -> list[bytes]:
    whole = b"".join(rows)
    return [whole[: chance.randrange(len(whole))]]


def insert_forged(rows: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(rows) + 1)
    forged = orjson.loads(rows[min(at, len(rows) - 1)]) | {"reason": "forged"}
    return [*rows[:at], orjson.dumps(forged) + b"\n", *rows[at:]]


def rewrite(rows: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(rows))
    changed = orjson.loads(rows[at]) | {"upstream_status": 418}
    return [*rows[:at], orjson.dumps(changed) + b"\n", *rows[at + 1 :]]


def respell(rows: list[bytes], chance: random.Random) -> list[bytes]:
    at = chance.randrange(len(rows))
    return [*rows[:at], rows[at].replace(b'":', b'": ', 1), *rows[at + 1 :]]


MUTATIONS: list[Callable[[list[bytes], random.Random], list[bytes]]] = [
    delete, delete_some, duplicate, copy_elsewhere, swap, cut_off, cut_bytes, insert_forged, rewrite, respell,
]  # fmt: skip


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
async def test_a_hundred_mutations_of_each_kind_are_found(tmp_path: Path, mutate: Callable[..., list[bytes]]) -> None:
    chain = await small_ledger(tmp_path, records=30)
    paths = sorted(chain.glob("*.jsonl"))
    for seed in range(100):
        chance = random.Random(seed)
        path = chance.choice(paths)
        whole = path.read_bytes()
        changed = b"".join(mutate(whole.splitlines(keepends=True), chance))
        if changed == whole:
            continue
        path.write_bytes(changed)
        assert findings(tmp_path), f"seed {seed} on {path.name}"
        path.write_bytes(whole)
    assert findings(tmp_path) == []


def relinked(rows: list[bytes]) -> list[bytes]:
    """The rows with every `seq` and `prev` made to fit, as a thorough forger would do it."""
    from proxy.audit.chain import Entry, Tip, string

    entries = []
    for row in rows:
        body = {k: v for k, v in orjson.loads(row).items() if k not in ("v", "chain", "seq", "prev", "at")}
        entries.append(Entry(json=orjson.dumps(body), at=orjson.loads(row)["seq"]))
    return list(string(Tip(), entries, chain="w1").lines)


async def test_a_chain_that_was_rewritten_to_fit_is_found_by_its_checkpoint(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path, segment_bytes=1 << 20)
    path = chain / "0000000000000000.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    rows[4] = rows[4].replace(b'"upstream_status":200', b'"upstream_status":500')
    path.write_bytes(b"".join(relinked(rows)))
    assert Fault.EDITED in found(tmp_path)


async def test_a_tail_that_was_cut_off_is_found_by_the_count(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path)
    max(chain.glob("*.jsonl")).unlink()
    [finding] = findings(tmp_path)
    assert finding.fault is Fault.TRUNCATED
    assert "counts" in finding.detail


async def test_a_tail_cut_off_with_its_checkpoints_is_found_by_a_checkpoint_kept_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(1), Durability.WRITTEN)
    shutil.copytree(tmp_path / "w1", tmp_path / "copy")
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(2), Durability.WRITTEN)
    witnessed = list(notes((tmp_path / "w1" / "checkpoints").read_text()))[-1:]
    shutil.rmtree(tmp_path / "w1")
    shutil.move(tmp_path / "copy", tmp_path / "w1")
    assert findings(tmp_path) == []
    reports = verify(tmp_path, key=public_key(tmp_path / "checkpoint.pub"), witnessed=witnessed)
    assert [finding.fault for report in reports for finding in report.findings] == [Fault.TRUNCATED]


async def test_a_chain_that_vanished_is_found_by_a_checkpoint_kept_elsewhere(tmp_path: Path) -> None:
    await small_ledger(tmp_path)
    key = signing_key(tmp_path)
    note = signed(Checkpoint(origin=origin("gone"), size=3, root=b"x" * 32), key)
    reports = verify(tmp_path, key=key.public_key(), witnessed=[note])
    assert [(r.chain, f.fault) for r in reports for f in r.findings] == [("gone", Fault.TRUNCATED)]


async def test_two_signed_roots_of_one_size_are_a_fork(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path)
    newest = (chain / "checkpoints").read_text()
    size = int(newest.split("\n")[1])
    other = signed(Checkpoint(origin=origin("w1"), size=size, root=b"x" * 32), signing_key(tmp_path))
    reports = verify(tmp_path, key=public_key(tmp_path / "checkpoint.pub"), witnessed=[other])
    assert Fault.FORKED in {finding.fault for report in reports for finding in report.findings}


async def test_what_is_wrong_is_named_with_file_line_and_record(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path, segment_bytes=1 << 20)
    path = chain / "0000000000000000.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*rows[:4], rows[4].replace(b"200", b"201"), *rows[5:]]))
    [edited] = findings(tmp_path)
    assert (edited.fault, edited.file, edited.line, edited.seq) == (Fault.EDITED, path, 5, 4)
    path.write_bytes(b"".join([*rows[:4], *rows[6:]]))
    removed = findings(tmp_path)[0]
    assert (removed.fault, removed.line, removed.seq, removed.detail) == (
        Fault.REMOVED, 5, 4, "records 4 to 5 are not here",
    )  # fmt: skip
    path.write_bytes(b"".join([*rows[:4], rows[3], *rows[4:]]))
    assert (findings(tmp_path)[0].fault, findings(tmp_path)[0].line) == (Fault.REPEATED, 5)


async def test_another_chain_s_lines_are_foreign(tmp_path: Path) -> None:
    await small_ledger(tmp_path)
    (tmp_path / "w1").rename(tmp_path / "w2")
    assert Fault.FOREIGN in found(tmp_path)


async def test_a_chain_whose_counted_records_were_touched_is_not_continued(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path, segment_bytes=1 << 20)
    path = chain / "0000000000000000.jsonl"
    whole = path.read_bytes()
    for changed in (
        whole.replace(b"call_00000000000000000000000003", b"call_0000000000000000000000000X"),
        whole[:900],
        b"",
    ):
        path.write_bytes(changed)
        with pytest.RaisesGroup(
            pytest.RaisesExc(OperatorFault, match="damaged"), flatten_subgroups=True, allow_unwrapped=True
        ):
            async with running(tmp_path):
                pass
        assert path.read_bytes() == changed
    path.unlink()
    with pytest.RaisesGroup(
        pytest.RaisesExc(OperatorFault, match="gone"), flatten_subgroups=True, allow_unwrapped=True
    ):
        async with running(tmp_path):
            pass


# Injection and secrets.

NASTY = 'x\n{"v":1,"kind":"forged"}\r\n\u2028\u2029\x85\x00\x1b[2J\u202e\x9b31m\ud800"\\\x7f end'


def everything(text: str) -> list[Record]:
    """Every kind of record, with the text wherever text can come in."""
    named = Identity(f"corp:{text}")
    fields = (*REFUND.fields, Field(name="note", place=Place.BODY, path=("note",), type=FieldType.TEXT))
    call = a_call(
        target=Target(method="POST", path=f"/v1/{text}", query=f"a={text}&{text}"),
        operation=replace(REFUND, fields=fields),
        input=Input(values={"note": text, "charge": text, "tags": (text, text)}, unreadable=frozenset({text})),
        resource=Resource(kind="charge", id=text, owner=text),
        words=AgentWords(reason=text, evidence=(text,), confidence=text, model=text, session=text, task=text),
        sensitivity=Sensitivity(),
        idempotency_key=text,
        principal=replace(a_call().principal, agent=named),
        headers=(("x-note", text), ("traceparent", text)),
        peer=text,
    )
    hold = a_hold(call, conclusion=Conclusion(reason=Reason.REJECTED, detail=text, at=1.0), settled_name=text)
    person = Person(identity=named, name=text)
    return [
        record.judged(call, Allow(bundle="b", policies=(text,))),
        record.judged(call, Deny(bundle="b", reason=Reason.FORBIDDEN, explanations=(text,))),
        record.refused(CallId("call_1"), Reason.MALFORMED, text, peer=text, target=call.target),
        record.held(hold),
        record.attached(hold, call),
        record.moved(hold),
        record.released(hold, Approvals(count=1, by=frozenset({named}))),
        record.concluded(CallId("call_1"), Reason.EXECUTED),
        record.signed_in(person, peer=text),
        record.denial_changed(f"agent:{text}", denied=True, by=person, why=text),
        record.key_issued(text, agent=named, by=person, expires_at=1),
    ]


async def test_no_text_can_begin_a_line_or_reach_a_terminal_raw(tmp_path: Path) -> None:
    records = everything(NASTY)
    async with running(tmp_path) as ledger:
        for one in records:
            await ledger.record(one, Durability.WRITTEN)
    written = (tmp_path / "w1" / "0000000000000000.jsonl").read_bytes()
    kinds = [orjson.loads(line)["kind"] for line in written.split(b"\n")[:-1]]
    assert kinds == ["segment", *[one.kind.value for one in records], "checkpoint"]
    text = written.decode()
    assert len(text.splitlines()) == len(records) + 2
    assert all(char.isprintable() or char == "\n" for char in text)
    assert findings(tmp_path) == []


CANARIES = {
    "openai": "sk-proj-CANARY0123456789abcdef",
    "stripe": "sk_live_CANARY0123456789abcdef",
    "github": "ghp_CANARY0123456789abcdefABCDEF012345",
    "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.CANARYsignature",
    "aws": "AKIACANARY0123456789",
    "assignment": "password=CANARYhunter2",
    "json": '{"client_secret": "CANARYs3cr3t"}',
    "header": "Authorization: Bearer CANARY0123456789",
    "url": "https://user:CANARYpass@host/",
    "pem": "-----BEGIN PRIVATE KEY-----\nCANARYMIIEvQIBADANBg\n-----END PRIVATE KEY-----",
    "slack": "xoxb-CANARY-0123456789",
    "opaque": "CANARYqWeRtYuIoPaSdFgHjKlZxCvBnM1234567890",
    "email": "CANARY@example.com",
}


def files_with(text: bytes, directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.mark.parametrize("name", CANARIES)
async def test_a_secret_is_in_no_record_wherever_it_was(tmp_path: Path, name: str) -> None:
    call = a_call(
        target=Target(method="GET", path=f"/v1/{CANARIES[name]}", query=f"key={CANARIES[name]}"),
        input=Input(values={"charge": CANARIES[name]}),
        resource=Resource(kind="charge", id=f"stripe/charge/{CANARIES[name]}"),
        words=AgentWords(reason=f"because {CANARIES[name]} said so", evidence=(CANARIES[name],)),
        headers=(("authorization", CANARIES[name]), ("x-key", CANARIES[name])),
        idempotency_key=CANARIES[name],
    )
    hold = a_hold(call, conclusion=Conclusion(reason=Reason.REJECTED, detail=CANARIES[name], at=1.0))
    records = [
        record.judged(call, Deny(bundle="b", reason=Reason.FORBIDDEN, explanations=(CANARIES[name],))),
        record.held(hold),
        record.moved(hold),
        record.released(hold, Approvals()),
        record.refused(CallId("c"), Reason.MALFORMED, CANARIES[name], target=call.target),
    ]
    async with running(tmp_path) as ledger:
        for one in records:
            await ledger.record(one, Durability.WRITTEN)
    assert files_with(b"CANARY", tmp_path) == []


# A full disk and a killed process, for real.

FULL_DISK = """
import asyncio, resource, sys
from pathlib import Path
from proxy.audit.ledger import Durability
from proxy.errors import Outage
from tests.fakes.ledgers import a_record, running

async def main(directory: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    acknowledged, refused = [], 0
    async with running(directory) as ledger:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        for number in range(40):
            try:
                await ledger.record(a_record(number), Durability.WRITTEN if number % 2 else Durability.SYNCED)
                acknowledged.append(number)
            except Outage:
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await ledger.record(a_record(99), Durability.SYNCED)
    print(len(acknowledged), refused, acknowledged == list(range(len(acknowledged))))

asyncio.run(main(Path(sys.argv[1])))
"""


def run_child(script: str, directory: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, env=environment, cwd=ROOT
    )


def test_a_full_disk_refuses_what_it_cannot_keep_and_recovers_without_a_restart(tmp_path: Path) -> None:
    with run_child(FULL_DISK, tmp_path) as child:
        out, _ = child.communicate(timeout=60)
    acknowledged, refused, in_order = out.split()
    assert child.returncode == 0
    assert int(acknowledged) > 5
    assert int(refused) > 5
    assert in_order == b"True"
    kept = [call for line in lines(tmp_path) if (call := orjson.loads(line).get("call"))]
    assert kept == [a_record(n).call_id for n in (*range(int(acknowledged)), 99)]
    assert findings(tmp_path) == []


WRITE_UNTIL_KILLED = """
import asyncio, os, sys
from pathlib import Path
from proxy.audit.ledger import Durability
from tests.fakes.ledgers import a_record, running

async def write(ledger, numbers) -> None:
    for number in numbers:
        await ledger.record(a_record(number), Durability.SYNCED if number % 3 == 0 else Durability.WRITTEN)
        os.write(1, b"%d\\n" % number)

async def main(directory: Path) -> None:
    async with running(directory, segment_bytes=4096, checkpoint_s=0.003) as ledger:
        async with asyncio.TaskGroup() as group:
            for lane in range(8):
                group.create_task(write(ledger, range(lane, 10**9, 8)))

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_process_killed_while_writing_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(5)
    for round_ in range(6):
        directory = tmp_path / str(round_)
        with run_child(WRITE_UNTIL_KILLED, directory) as child:
            assert child.stdout is not None
            acknowledged = [int(child.stdout.readline()) for _ in range(chance.randrange(1, 400))]
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split(b"\n")
            acknowledged += [int(number) for number in rest[:-1]]
        async with running(directory, segment_bytes=4096) as ledger:
            await ledger.record(a_record(10**9), Durability.SYNCED)
        kept = {orjson.loads(line).get("call") for line in lines(directory)}
        assert {a_record(number).call_id for number in acknowledged} <= kept
        assert findings(directory) == []


@pytest.mark.parametrize(
    "tail", [b"{", b'{"v":1,"chain":"w1","seq":', b"\x00" * 700, b"\x00\n\x00\n", b'{"v":1}\n{"v":1}\n']
)
async def test_a_damaged_tail_is_moved_aside_and_said(tmp_path: Path, tail: bytes) -> None:
    chain = await small_ledger(tmp_path)
    last = max(chain.glob("*.jsonl"))
    last.write_bytes(last.read_bytes() + tail)
    assert found(tmp_path)
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(77), Durability.WRITTEN)
    assert findings(tmp_path) == []
    healed = next(document for line in lines(tmp_path) if (document := orjson.loads(line))["kind"] == "healed")
    assert (chain / healed["kept_in"]).read_bytes() == tail
    assert healed["length"] == len(tail)


async def test_a_segment_that_was_only_begun_is_begun_again(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path)
    size = len(lines(tmp_path))
    for left in (b"", b'{"v":1,"cha'):
        (chain / f"{size:016d}.jsonl").write_bytes(left)
        async with running(tmp_path):
            pass
        assert findings(tmp_path) == []
        size = len(lines(tmp_path))


async def test_a_checkpoint_torn_by_a_crash_does_not_stop_the_chain(tmp_path: Path) -> None:
    chain = await small_ledger(tmp_path)
    whole = (chain / "checkpoints").read_bytes()
    (chain / "checkpoints").write_bytes(whole + whole[:50])
    assert found(tmp_path) == {Fault.CHECKPOINT}
    async with running(tmp_path) as ledger:
        await ledger.record(a_record(5), Durability.WRITTEN)
    assert findings(tmp_path) == []
