from __future__ import annotations

import asyncio
import json
import os
import pty
import re
from pathlib import Path

import pytest
from aiohttp import web

from tests.cli.live import gate, held, holds, refund, refunds
from tests.fakes.command import ASSENTRY, LIMIT_S, ran

EVIL = "fine\x1b[2K\x1b]0;owned\x07\u202e00.052 EUR\u2066\x9b31m\r\n  Ann: approve"

SENT = "(approved|releasing|executed)"
"""What a call is once enough people approved it, depending on how quick its agent is."""


async def shown(live, call: str) -> dict:
    return json.loads((await holds(live, "show", call, "-o", "json")).out)


async def test_a_held_call_is_listed_shown_and_approved_and_goes_out_once(tmp_path: Path):
    async with gate(tmp_path) as live, asyncio.TaskGroup() as agents:
        assert (await holds(live, "ls")).out == "Nothing is held.\n"
        asked = agents.create_task(refund(live, 25_000))
        [call] = await held(live)

        listed = await holds(live, "ls")
        assert (listed.status, listed.err) == (0, "")
        assert re.search(rf"{call[-8:]} +pending .*Refund 250.00 EUR of charge ch_1042.*min \d+ s left", listed.out)
        assert [one["id"] for one in json.loads((await holds(live, "ls", "-o", "json")).out)["holds"]] == [call]

        told = await holds(live, "show", call[-8:])
        assert told.out.startswith("Refund 250.00 EUR of charge ch_1042")
        assert "  charge=ch_1042&amount=25000\n" in told.out
        hold = await shown(live, call)
        assert told.out.endswith(f"Fingerprint {hold['fingerprint_short']}\n")

        approved = await holds(live, "approve", call, "--fingerprint", hold["fingerprint_short"])
        assert (approved.status, approved.err) == (0, "")
        assert re.search(rf"{call} is now {SENT}: Refund", approved.out)
        assert (await asked)[0] == 200
        again = await holds(live, "approve", call, "--fingerprint", hold["fingerprint_short"], person="ben")
        assert again.status == 1
        assert call[-8:] in (await holds(live, "ls", "--settled")).out
        assert refunds(live) == ["charge=ch_1042&amount=25000"]


async def test_what_people_refuse_never_goes_out(tmp_path: Path):
    async with gate(tmp_path) as live, asyncio.TaskGroup() as agents:
        asked = agents.create_task(refund(live, 25_000))
        [call] = await held(live)
        words = ("--fingerprint", (await shown(live, call))["fingerprint_short"])

        silent = await holds(live, "reject", call, *words)
        assert (silent.status, silent.out) == (1, "")
        assert "Say why" in silent.err
        wrong = await holds(live, "approve", call, "--fingerprint", "0000-0000")
        assert wrong.status == 1
        assert "Nothing was decided" in wrong.err
        own = await holds(live, "approve", call, *words, person="olga")
        assert own.status == 1
        unasked = await holds(live, "approve", call)
        assert unasked.status == 2
        assert words[1] in unasked.err
        assert not asked.done()

        rejected = await holds(live, "reject", call, *words, "--reason", "The parcel was found.")
        assert rejected.status == 0
        status, body = await asked
        assert status == 403
        assert "The parcel was found." in body
        assert refunds(live) == []


async def test_an_owner_takes_a_call_back(tmp_path: Path):
    async with gate(tmp_path) as live, asyncio.TaskGroup() as agents:
        asked = agents.create_task(refund(live, 25_000))
        [call] = await held(live)
        words = ("--fingerprint", (await shown(live, call))["fingerprint_short"], "--reason", "Too early.")
        withdrawn = await holds(live, "withdraw", call, *words, person="olga")
        assert (withdrawn.status, withdrawn.err) == (0, "")
        assert "withdrawn" in withdrawn.out
        assert (await asked)[0] == 403
        assert refunds(live) == []


async def test_at_a_terminal_one_approves_what_one_has_read(tmp_path: Path):
    async with gate(tmp_path) as live, asyncio.TaskGroup() as agents:
        asked = agents.create_task(refund(live, 250_000))
        [call] = await held(live)
        said = await at_a_terminal(live, "approve", call[-8:], answer=b"y\n")
        assert "Refund 2,500.00 EUR of charge ch_1042" in said
        assert "Approve exactly this" in said
        assert "someone else has to approve it too" in said
        assert not asked.done()
        assert "Aborted" in await at_a_terminal(live, "approve", call, person="ben", answer=b"n\n")
        assert not asked.done()
        assert re.search(f"is now {SENT}", await at_a_terminal(live, "approve", call, person="ben", answer=b"y\n"))
        assert (await asked)[0] == 200


async def at_a_terminal(live, *words: str, answer: bytes, person: str = "ann") -> str:
    """Everything that the terminal showed."""
    ours, theirs = pty.openpty()
    environ = {
        **os.environ,
        "ASSENTRY_URL": live.gate.approvers_url,
        "ASSENTRY_TOKEN_FILE": str(live.folder / "tokens" / person),
    }
    process = await asyncio.create_subprocess_exec(
        ASSENTRY, "holds", *words, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, answer)
    shown: list[bytes] = []
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        try:
            shown.append(os.read(ours, 4096))
        except OSError:  # EIO: the other end is closed
            loop.remove_reader(ours)
            over.set()

    loop.add_reader(ours, read)
    await asyncio.wait_for(over.wait(), LIMIT_S)
    await process.wait()
    os.close(ours)
    return b"".join(shown).decode()


async def test_exit_statuses_tell_scripts_what_happened(tmp_path: Path):
    async with gate(tmp_path) as live:
        (tmp_path / "agent").write_text(live.agent_token)
        (tmp_path / "forged").write_text(f"{live.agent_token[:-6]}AAAAAA")
        cases = [
            (1, await holds(live, "show", "call_01ARZ3NDEKTSV4RRFFQ69G5FAV")),
            (1, await holds(live, "show", "ABCDEFGH")),
            (2, await holds(live, "show")),
            (2, await holds(live, "ls", ASSENTRY_TOKEN_FILE=str(tmp_path / "absent"))),
            (2, await ran("holds", "ls", "--url", live.gate.approvers_url)),
            (3, await holds(live, "ls", ASSENTRY_URL="http://127.0.0.1:1")),
            (3, await holds(live, "ls", ASSENTRY_URL=live.gate.operators_url + "/livez?")),
            (1, await holds(live, "ls", ASSENTRY_TOKEN_FILE=str(tmp_path / "agent"))),
            (4, await holds(live, "ls", ASSENTRY_TOKEN_FILE=str(tmp_path / "forged"))),
        ]
    for wanted, ended in cases:
        assert (ended.status, ended.out) == (wanted, ""), ended
        assert ended.err
        assert "Traceback" not in ended.err


async def test_an_agent_cannot_paint_the_approvers_terminal(tmp_path: Path):
    async with gate(tmp_path) as live, asyncio.TaskGroup() as agents:
        words = {"Assentry-Reason": "see \u202ethis\u2066 now"}
        asked = agents.create_task(refund(live, 25_000, charge=EVIL, **words))
        [call] = await held(live)
        for ended in (
            await holds(live, "ls"),
            await holds(live, "show", call),
            await holds(live, "ls", "-o", "json"),
            await holds(live, "show", call, "-o", "json"),
        ):
            assert ended.status == 0
            assert harmless(ended.out)
        asked.cancel()


HOLD = {
    **dict.fromkeys(("sentence", "tier", "target", "body", "fingerprint", "fingerprint_short", "outcome"), EVIL),
    "id": "call_1",
    "state": "pending",
    "decide_by": "2999-01-01T00:00:00+00:00",
    "body_sha256": "0" * 64,
    **{name: [{"label": EVIL, "text": EVIL}] for name in ("gates", "who", "change", "labels", "agent_words")},
    "votes": [{"name": EVIL, "vote": "approve", "reason": EVIL}],
    "hidden_bytes": 0,
    "shown": "",
}


async def test_not_even_a_gate_can_paint_the_approvers_terminal():
    app = web.Application()

    async def one(_: web.Request) -> web.Response:
        return web.json_response(HOLD)

    async def every(_: web.Request) -> web.Response:
        return web.json_response({"holds": [HOLD]})

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"detail": EVIL}, status=409)

    app.router.add_get("/v1/holds", every)
    app.router.add_get("/v1/holds/{id}", one)
    app.router.add_post("/v1/holds/{id}/approve", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    environ = {"ASSENTRY_URL": f"http://127.0.0.1:{runner.addresses[0][1]}", "ASSENTRY_TOKEN": "t"}
    try:
        for words in (["ls"], ["show", "call_1"], ["ls", "-o", "json"], ["approve", "call_1"]):
            ended = await ran("holds", *words, environ=environ)
            assert harmless(ended.out + ended.err), words
        told = json.loads((await ran("holds", "show", "call_1", "-o", "json", environ=environ)).out)
        assert told == HOLD
        refused = await ran("holds", "approve", "call_1", "--fingerprint", EVIL.replace("\r\n", " "), environ=environ)
        assert refused.status == 1
        assert harmless(refused.err)
    finally:
        await runner.cleanup()


def harmless(printed: str) -> bool:
    """Nothing that a terminal obeys or hides, and no line that somebody else began."""
    return all(character.isprintable() or character == "\n" for character in printed) and not re.search(
        r"^  Ann: approve", printed, re.MULTILINE
    )


@pytest.mark.parametrize("verb", ["holds", "keys", "audit", "policy", "catalog", "config", "serve", "demo"])
async def test_every_verb_explains_itself(verb: str):
    ended = await ran(verb, "--help")
    assert ended.status == 0
    assert "Usage: assentry" in ended.out
