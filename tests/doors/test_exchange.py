"""One agent at the door: calls, answers, streams, leaving, stopping."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from config import settings
from policy.call import CallId, Target
from policy.reasons import Reason
from proxy.doors.agents import AgentsDoor
from proxy.doors.arrival import Arrival, Pending, Refusal, Relay
from proxy.errors import Outage
from tests.fakes.agents_door import (
    RecordingGate,
    door_settings,
    opened,
    pieces,
    relay_of,
    request,
    sent,
    status_of,
    statuses_of,
)

CLOSE = "Connection: close"


def streaming(body: AsyncGenerator[bytes, None], *headers: tuple[str, str], status: int = 200) -> RecordingGate:
    return RecordingGate(answer=lambda arrival: Relay(status=status, headers=headers, body=body, call=arrival.id))


async def test_a_call_reaches_the_gate_with_all_that_was_said() -> None:
    gate = RecordingGate()
    lines = (
        "Authorization: Bearer t", "Content-Type: application/json", "Idempotency-Key: k1", "Assentry-Reason: refund",
        "Prefer: wait=20, respond-async", CLOSE,
    )  # fmt: skip
    async with opened(gate) as door:
        await sent(door, request("/api/v1/x%20y?b=1&a=2", *lines, method="POST", body=b"{}"))
    arrival = gate.arrivals[0]
    assert arrival.upstream == "api"
    assert arrival.target == Target(method="POST", path="/v1/x%20y", query="b=1&a=2")
    assert arrival.headers == (("content-type", "application/json"), ("idempotency-key", "k1"))
    assert (arrival.body, arrival.bearer, arrival.idempotency_key) == (b"{}", "t", "k1")
    assert (arrival.words.reason, arrival.patience.wait_s, arrival.patience.respond_async) == ("refund", 20, True)
    assert arrival.peer == "127.0.0.1"


async def test_a_botocore_invocation_is_one_call_however_often_it_is_tried() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        await sent(door, request("/api/x", "amz-sdk-invocation-id: 0a1b", CLOSE))
    assert gate.arrivals[0].idempotency_key == "0a1b"


async def test_many_calls_go_over_one_connection() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        for number in range(5):
            writer.write(request(f"/api/{number}", method="POST", body=b"x" * number))
            assert b"HTTP/1.1 200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"ok"
        writer.close()
    assert [arrival.target.path for arrival in gate.arrivals] == ["/0", "/1", "/2", "/3", "/4"]


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_large_body_arrives_whole(chunked: bool) -> None:
    gate = RecordingGate()
    body = bytes(range(256)) * 12_000
    coded = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1], body[1:70_000], body[70_000:]))
    by_chunks = request("/api/x", "Transfer-Encoding: chunked", CLOSE, method="POST") + coded + b"0\r\n\r\n"
    async with opened(gate) as door:
        raw = by_chunks if chunked else request("/api/x", CLOSE, method="POST", body=body)
        assert status_of(await sent(door, raw)) == 200
    assert gate.arrivals[0].body == body


async def test_a_known_length_is_kept_and_an_unknown_one_is_chunked() -> None:
    async with opened(streaming(pieces(b"one", b"", b"two"), ("content-length", "6"))) as door:
        assert (await sent(door, request("/api/x", CLOSE))).endswith(b"\r\n\r\nonetwo")
    async with opened(streaming(pieces(b"one", b"", b"two"))) as door:
        answer = await sent(door, request("/api/x", CLOSE))
    assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in answer


async def test_two_lengths_of_an_upstream_are_neither_believed_nor_passed_on() -> None:
    async with opened(streaming(pieces(b"one"), ("content-length", "3"), ("content-length", "4"))) as door:
        answer = await sent(door, request("/api/x", CLOSE))
    assert b"content-length" not in answer
    assert answer.endswith(b"3\r\none\r\n0\r\n\r\n")


async def test_head_and_bodiless_statuses_have_no_body() -> None:
    async with opened(streaming(pieces(), ("content-length", "6"))) as door:
        answer = await sent(door, request("/api/x", CLOSE, method="HEAD"))
    assert b"content-length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    async with opened(streaming(pieces(), ("content-length", "0"), status=204)) as door:
        answer = await sent(door, request("/api/x", CLOSE))
    assert b"content-length" not in answer
    async with opened(RecordingGate(answer=_rejected)) as door:
        answer = await sent(door, request("/api/x", CLOSE, method="HEAD"))
    assert status_of(answer) == 403
    assert answer.endswith(b"\r\n\r\n")


async def _breaking() -> AsyncGenerator[bytes, None]:
    yield b"one"
    raise Outage(Reason.UPSTREAM_BROKE_OFF, "The upstream broke off.")


async def _until_cut(door: AgentsDoor, raw: bytes) -> tuple[bytes, bool]:
    """What came, and whether it ended with a reset."""
    reader, writer = await asyncio.open_connection(*door.address)
    writer.write(raw)
    received = b""
    try:
        while piece := await reader.read(65_536):
            received += piece
    except ConnectionResetError:
        return received, True
    finally:
        writer.close()
    return received, False


@pytest.mark.parametrize("headers", [(), (("content-length", "6"),)])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_a_body_that_breaks_off_never_looks_whole(headers: tuple[tuple[str, str], ...], version: str) -> None:
    async with opened(streaming(_breaking(), *headers)) as door:
        raw = f"GET /api/x {version}\r\nHost: localhost\r\n\r\n".encode()
        received, reset = await _until_cut(door, raw)
    assert reset
    assert b"0\r\n\r\n" not in received


@pytest.mark.parametrize("piece", [b"short", b"far too long"])
async def test_a_body_of_another_length_than_announced_is_cut(piece: bytes) -> None:
    async with opened(streaming(pieces(piece), ("content-length", "6"))) as door:
        received, reset = await _until_cut(door, request("/api/x"))
    assert reset
    assert len(received.partition(b"\r\n\r\n")[2]) < 6


async def test_a_refused_upload_reads_its_refusal_before_the_connection_ends() -> None:
    body = b"x" * 4_000_000
    limits = settings.Limits(body_bytes=10)
    async with opened(RecordingGate(), using=door_settings(limits=limits)) as door:
        received, reset = await _until_cut(door, request("/api/x", method="POST", body=body))
    assert status_of(received) == 413
    assert not reset


async def _failing() -> AsyncGenerator[bytes, None]:
    raise ValueError("canary-9f2c81")
    yield b""


async def test_a_body_that_fails_for_no_known_reason_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(streaming(_failing(), ("content-length", "6"))) as door:
        assert await sent(door, request("/api/x")) == b""
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


async def test_an_upstream_that_answers_101_unasked_is_502() -> None:
    async with opened(streaming(pieces(), status=101)) as door:
        answer = await sent(door, request("/api/x", CLOSE))
    assert status_of(answer) == 502
    assert b"x-should-retry: false" in answer


async def test_a_client_that_stops_reading_stops_the_source_and_then_loses_the_connection() -> None:
    yielded, closed = 0, asyncio.Event()

    async def much() -> AsyncGenerator[bytes, None]:
        nonlocal yielded
        try:
            while yielded < 2000:
                yielded += 1
                yield b"x" * 65_536
        finally:
            closed.set()

    limits = settings.Limits(stall_timeout_s=0.2)
    async with opened(streaming(much()), using=door_settings(limits=limits)) as door:
        reader, writer = await asyncio.open_connection(*door.address, limit=1024)
        writer.write(request("/api/x"))
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            await closed.wait()
        writer.transport.abort()
    assert 0 < yielded < 400


async def test_a_client_that_leaves_in_the_middle_closes_the_source() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with opened(streaming(endless())) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(request("/api/x"))
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        async with asyncio.timeout(5):
            await closed.wait()


async def test_a_client_that_leaves_is_noticed_and_the_gate_goes_on() -> None:
    gate = RecordingGate(hold=asyncio.Event(), holds=True)
    assert gate.hold is not None
    async with opened(gate) as door:
        _, writer = await asyncio.open_connection(*door.address)
        writer.write(request("/api/x"))
        await gate.settling.wait()
        (client,) = gate.clients
        left = asyncio.Event()
        with client.leaving(left.set):
            assert client.present()
            writer.close()
            await writer.wait_closed()
            async with asyncio.timeout(5):
                await left.wait()
        assert not client.present()
        assert not gate.answered.is_set()
        gate.hold.set()
        async with asyncio.timeout(5):
            await gate.answered.wait()
        assert statuses_of(await sent(door, request("/api/y", CLOSE))) == [200]


async def test_stopping_lets_a_running_call_finish_and_takes_no_new_one() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    assert gate.hold is not None
    async with opened(gate) as door, asyncio.TaskGroup() as group:
        address = door.address
        reader, writer = await asyncio.open_connection(*address)
        idle_reader, idle_writer = await asyncio.open_connection(*address)
        writer.write(request("/api/x"))
        await gate.arrived.wait()
        stopping = group.create_task(door.stop(within_s=5))
        assert await idle_reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        assert not stopping.done()
        gate.hold.set()
        answer = await reader.read()
        await stopping
        writer.close()
        idle_writer.close()
    assert statuses_of(answer) == [200]
    assert b"Connection: close" in answer


async def test_stopping_does_not_wait_for_ever() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    async with opened(gate) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(request("/api/x"))
        await gate.arrived.wait()
        async with asyncio.timeout(5):
            await door.stop(within_s=0)
        assert await reader.read() == b""
        writer.close()


def _rejected(arrival: Arrival) -> Refusal:
    return Refusal(reason=Reason.REJECTED, detail="No.", call=arrival.id)


async def test_a_no_of_the_gate_leaves_the_connection_open() -> None:
    async with opened(RecordingGate(answer=_rejected)) as door:
        answer = await sent(door, request("/api/x"), request("/api/y", CLOSE))
    assert statuses_of(answer) == [403, 403]


async def test_a_held_call_is_202_only_to_a_client_that_asked() -> None:
    def held(arrival: Arrival) -> Pending:
        return Pending(call=arrival.id, status_url="/v1/calls/x", fingerprint="ab" * 32, operation="o")  # type: ignore[arg-type]

    async with opened(RecordingGate(answer=held)) as door:
        answer = await sent(door, request("/api/x", "Prefer: respond-async", CLOSE))
    assert status_of(answer) == 202
    assert b"\r\nPreference-Applied: respond-async\r\n" in answer


async def test_an_outage_of_the_gate_is_503_and_recorded() -> None:
    def out(arrival: Arrival) -> Relay:
        raise Outage(Reason.STORE_UNAVAILABLE, "The store did not answer. Try again.")

    gate = RecordingGate(answer=out)
    async with opened(gate) as door:
        answer = await sent(door, request("/api/x", CLOSE))
    assert status_of(answer) == 503
    assert b"\r\nRetry-After: " in answer
    assert [refusal.reason for refusal, _ in gate.refusals] == [Reason.STORE_UNAVAILABLE]


async def test_an_unknown_host_is_421() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        answer = await sent(door, request("/api/x", host="evil.example"))
    assert status_of(answer) == 421
    assert gate.arrivals == []


async def test_the_state_of_a_call_is_asked_of_the_gate() -> None:
    gate = RecordingGate()
    call = CallId("call_" + "0" * 26)
    async with opened(gate) as door:
        answer = await sent(door, request(f"/v1/calls/{call}", "Authorization: Bearer t", CLOSE))
    assert status_of(answer) == 404
    assert gate.statuses == [("t", call)]


async def test_a_host_of_one_upstream_has_no_paths_of_ours() -> None:
    gate = RecordingGate()
    path = "/v1/calls/call_" + "0" * 26
    async with opened(gate) as door:
        await sent(door, request(path, CLOSE, host="own.example"))
    assert gate.statuses == []
    assert [(arrival.upstream, arrival.target.path) for arrival in gate.arrivals] == [("own", path)]


async def test_an_agent_without_a_token_learns_who_issues_them() -> None:
    def missing(arrival: Arrival) -> Refusal:
        return Refusal(reason=Reason.IDENTITY_MISSING, detail="Send a token.", call=arrival.id)

    async with opened(RecordingGate(answer=missing)) as door:
        answer = await sent(door, request("/api/x", CLOSE))
        base = "http://{}:{}".format(*door.address)
        assert f'resource_metadata="{base}/.well-known/oauth-protected-resource"'.encode() in answer
        for suffix, resource in (("", base), ("/api", f"{base}/api")):
            found = await sent(door, request(f"/.well-known/oauth-protected-resource{suffix}", CLOSE))
            assert json.loads(found.partition(b"\r\n\r\n")[2]) == {
                "resource": resource,
                "authorization_servers": ["https://id.example"],
                "bearer_methods_supported": ["header"],
            }
        nothing = await sent(door, request("/.well-known/oauth-protected-resource/nothing", CLOSE))
    assert status_of(nothing) == 404


async def test_the_metadata_stands_before_the_path_of_the_public_url() -> None:
    agents = settings.AgentsDoor(listen="127.0.0.1:0", public_url="https://gate.example/agents")
    async with opened(RecordingGate(), using=door_settings(agents=agents)) as door:
        target = "/.well-known/oauth-protected-resource/agents"
        found = await sent(door, request(target, CLOSE, host="gate.example"))
    assert json.loads(found.partition(b"\r\n\r\n")[2])["resource"] == "https://gate.example/agents"


async def test_a_trusted_proxy_names_the_agents_address() -> None:
    agents = settings.AgentsDoor(listen="127.0.0.1:0", trusted_proxies=("127.0.0.0/8",))
    gate = RecordingGate()
    async with opened(gate, using=door_settings(agents=agents)) as door:
        await sent(door, request("/api/x", "X-Forwarded-For: 6.6.6.6, 192.0.2.7", CLOSE))
    assert gate.arrivals[0].peer == "192.0.2.7"


async def test_an_address_in_use_is_an_error_of_the_system() -> None:
    async with opened(RecordingGate()) as door:
        agents = settings.AgentsDoor(listen="{}:{}".format(*door.address))
        with pytest.raises(OSError, match="in use"):
            async with opened(RecordingGate(), using=door_settings(agents=agents)):
                pass


async def test_a_connection_at_rest_is_ended() -> None:
    limits = settings.Limits(idle_timeout_s=0.1)
    async with opened(RecordingGate(answer=relay_of), using=door_settings(limits=limits)) as door:
        assert statuses_of(await sent(door, request("/api/x"))) == [200]
