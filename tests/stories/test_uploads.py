"""Uploads that nobody reads pass as they come, and only where that was said, allowed, and not to be held."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.house import House, eventually, house

PIECE = bytes(range(256)) * 256
PIECES = 40
LENGTH = PIECES * len(PIECE)
CATALOGUE = """
operations:
  files.put: {call: "PUT /files/{id}", body: opaque}
  files.post: {call: "POST /files", body: opaque}
  notes.put: {call: "PUT /notes/{id}"}
"""
LAW = """
@id("bots-may") permit (principal in Group::"bots", action, resource);
@id("no-secrets") @reason("Not this one.") forbid (principal is Agent, action == Action::"files:files.put", resource)
when { context.input.id == "secret" };
@id("looked-at") @hold("files") forbid (principal is Agent, action == Action::"files:files.put", resource)
when { context.input.id == "held" } unless { context.approvals.count >= 1 };
"""


@dataclass(slots=True, kw_only=True)
class Drive:
    """An upstream that takes what comes, and tells how much that is."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    taken: bytearray = field(default_factory=bytearray)
    cut: int = 0
    """How many bodies ended before they were whole."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while left:
                    piece = await reader.read(left)
                    if not piece:
                        self.cut += 1
                        return
                    self.taken += piece
                    left -= len(piece)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def drive() -> AsyncIterator[Drive]:
    one = Drive()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one


@pytest.fixture
async def home(tmp_path: Path, drive: Drive) -> AsyncIterator[House]:
    (tmp_path / "files.yaml").write_text(CATALOGUE)
    files = {
        "name": "files",
        "url": f"http://127.0.0.1:{drive.port}",
        "catalogue": str(tmp_path / "files.yaml"),
        "private_networks": True,
        "credential": {"kind": "bearer", "token": "file:credential"},
    }
    limits = {"body_bytes": 1 << 20, "upload_bytes": 8 << 20}
    async with house(tmp_path / "house", policies=LAW, upstreams=[files], limits=limits) as one:
        yield one


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A client that sends as slowly as a test likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def begin(self, home: House, path: str, *lines: str, method: str = "PUT", length: int = LENGTH) -> None:
        host = home.gate.agents_url.removeprefix("http://")
        kind = () if any(line.startswith("Content-Type") for line in lines) else ("Content-Type: video/mp4",)
        head = [f"{method} /files{path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {home.agent_token()}"]
        self.writer.write("\r\n".join([*head, f"Content-Length: {length}", *kind, *lines, "", ""]).encode())

    async def send(self, pieces: int) -> None:
        for _ in range(pieces):
            self.writer.write(PIECE)
            await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        return int(head.split()[1]), await self.reader.readexactly(length)


@asynccontextmanager
async def agent(home: House) -> AsyncIterator[Agent]:
    host, _, port = home.gate.agents_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(20):
        yield Agent(reader=reader, writer=writer)
    writer.close()


async def concluded(home: House) -> dict[str, object]:
    async def end() -> dict[str, object] | None:
        return next((one for one in home.ledger_records() if one["kind"] == "concluded"), None)

    return await eventually(end)


async def test_an_upload_passes_as_it_comes_and_the_ledger_says_what_passed(home: House, drive: Drive) -> None:
    async with agent(home) as one:
        one.begin(home, "/files/1")
        await one.send(PIECES // 2)

        async def half() -> bool | None:
            return len(drive.taken) == LENGTH // 2 or None

        await eventually(half)  # The other half does not exist yet.
        await one.send(PIECES // 2)
        assert await one.answer() == (200, b"{}")
        one.begin(home, "/files/2")
        await one.send(PIECES)
        assert await one.answer() == (200, b"{}")
    assert bytes(drive.taken) == PIECE * PIECES * 2
    ended = await concluded(home)
    assert ended["body"] == {"sha256": hashlib.sha256(PIECE * PIECES).hexdigest(), "length": LENGTH}
    judged = next(record for record in home.ledger_records() if record["kind"] == "judged")
    assert judged["body"] == {"sha256": None, "length": LENGTH}


async def test_an_upload_that_is_to_be_held_is_refused(home: House, drive: Drive) -> None:
    async with agent(home) as one:
        one.begin(home, "/files/held")
        status, body = await one.answer()
    assert (status, b"body-too-large" in body) == (413, True)
    assert (drive.heads, await home.holds()) == ([], [])


async def test_a_small_body_of_the_same_operation_can_be_held(home: House) -> None:
    home.begin(home.call("PUT", "/files/files/held", body=b"small"))
    held = await home.wait_for_hold()
    assert held.call.body_digest == hashlib.sha256(b"small").hexdigest()
    assert held.call.sensitivity.labels == {"opaque"}


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("PUT", "/notes/1", "video/mp4"),
        ("PUT", "/files/1/more", "video/mp4"),
        ("POST", "/files", "application/x-www-form-urlencoded"),
        ("POST", "/files", "multipart/form-data; boundary=b"),
        ("POST", "/files", "application/json"),
        ("POST", "/files", "application/vnd.api+json"),
        ("POST", "/files", "text/plain; charset=utf-8; charset=utf-7"),
    ],
)
async def test_what_is_not_said_to_be_opaque_or_may_hold_fields_keeps_to_the_limit(
    home: House, drive: Drive, method: str, path: str, kind: str
) -> None:
    async with agent(home) as one:
        one.begin(home, path, f"Content-Type: {kind}", method=method)
        status, body = await one.answer()
    assert (status, b"body-too-large" in body) == (413, True)
    assert drive.heads == []


async def test_more_than_the_limit_of_uploads_is_refused(home: House, drive: Drive) -> None:
    async with agent(home) as one:
        one.begin(home, "/files/1", length=(8 << 20) + 1)
        assert (await one.answer())[0] == 413
    assert drive.heads == []


async def test_the_agent_is_told_to_send_only_once_the_call_is_allowed(home: House, drive: Drive) -> None:
    async with agent(home) as one:
        one.begin(home, "/files/secret", "Expect: 100-continue")
        status, body = await one.answer()
        assert (status, b"Not this one." in body) == (403, True)
    async with agent(home) as one:
        one.begin(home, "/files/1", "Expect: 100-continue")
        assert await one.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await one.send(PIECES)
        assert (await one.answer())[0] == 200
    assert len(drive.heads) == 1


async def test_an_agent_that_leaves_in_the_middle_leaves_no_whole_call_and_a_record(home: House, drive: Drive) -> None:
    async with agent(home) as one:
        one.begin(home, "/files/1")
        await one.send(PIECES // 2)

        async def half() -> bool | None:
            return len(drive.taken) == LENGTH // 2 or None

        await eventually(half)
        one.writer.transport.abort()
        ended = await concluded(home)
    assert ended["reason"] == "outcome-unknown"
    assert ended["body"] == {"sha256": hashlib.sha256(PIECE * (PIECES // 2)).hexdigest(), "length": LENGTH // 2}

    async def cut() -> bool | None:
        return drive.cut == 1 or None

    await eventually(cut)
