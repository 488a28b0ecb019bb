"""Requests that are not one well-formed call: refused, closed, recorded, and never seen by the gate."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from config.settings import Limits
from policy.reasons import Reason
from proxy.doors.agents import require_c_parser
from proxy.errors import OperatorFault, Outage
from tests.fakes.agents_door import RecordingGate, door_settings, opened, pieces, request, sent, status_of, statuses_of
from tests.hostile.corpus import ALL, CHUNKS, TE

CANARY = b"canary-9f2c81"


async def test_every_ambiguous_request_is_refused_and_closed_and_the_call_behind_it_is_never_served() -> None:
    gate = RecordingGate()
    wrong: list[tuple[str, int]] = []
    async with opened(gate) as door:
        for name, (raw, statuses) in ALL.items():
            answer = await sent(door, raw + request("/api/smuggled"))
            seen = statuses_of(answer)
            if len(seen) != 1 or seen[0] not in statuses or b"\r\nConnection: close" not in answer:
                wrong.append((name, status_of(answer)))
    assert wrong == []
    assert gate.arrivals == []
    assert len(gate.refusals) == len(ALL)


async def test_it_does_not_matter_how_a_refused_request_is_cut_into_segments() -> None:
    gate = RecordingGate()
    wrong = []
    async with opened(gate) as door:
        for name, (raw, statuses) in ALL.items():
            if len(raw) < 1000:
                answer = await sent(door, *(raw[at : at + 7] for at in range(0, len(raw), 7)))
                if status_of(answer) not in statuses:
                    wrong.append((name, status_of(answer)))
    assert wrong == []
    assert gate.arrivals == []


async def test_nothing_of_a_refused_request_is_answered_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    requests = [
        b"GET /api/x HTTP/1.1\r\nAuthorization: Bearer " + CANARY + b"\x00\r\n\r\n",
        b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer " + CANARY + b"\r\n\r\n",
        b"GET /" + CANARY + b"/../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"BAD" + CANARY + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/" + CANARY + b"\r\n\r\n",
        b"GET /api/x HTTP/1.1\r\nHost: " + CANARY + b".example\r\n\r\n",
        request("/api/x", f"Authorization: Basic {CANARY.decode()}"),
        request("/api/x", f"Authorization: Bearer {CANARY.decode()} and more"),
        request("/api/x", f"Idempotency-Key: {CANARY.decode()} x"),
        request("/api/x", TE.decode(), method="POST")[:-2] + b"X: " + CANARY + b"\r\n\r\n5;" + CANARY + b"\x00\r\n",
        CANARY,
    ]
    async with opened(RecordingGate()) as door:
        for raw in requests:
            answer = await sent(door, raw)
            assert 400 <= status_of(answer) < 500
            assert CANARY not in answer
    assert CANARY.decode() not in caplog.text


async def test_a_failing_gate_logs_no_header(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def fail(arrival: object) -> None:
        raise ValueError(arrival)

    gate = RecordingGate(answer=fail)  # type: ignore[arg-type]
    async with opened(gate) as door:
        answer = await sent(door, request("/api/x", f"Authorization: Bearer {CANARY.decode()}"))
    assert status_of(answer) == 503
    assert CANARY.decode() not in caplog.text
    assert [refusal.reason for refusal, _ in gate.refusals] == [Reason.INTERNAL]


async def test_trailers_are_dropped_and_do_not_become_headers_of_the_next_call() -> None:
    gate = RecordingGate()
    trailers = b"Authorization: Bearer evil\r\nContent-Length: 9\r\nX-Forwarded-User: root\r\nAccept: evil/evil\r\n"
    first = (
        b"POST /api/x HTTP/1.1\r\nHost: localhost\r\n" + TE + b"\r\n\r\n5;a=b\r\nhello\r\n0\r\n" + trailers + b"\r\n"
    )
    async with opened(gate) as door:
        answer = await sent(door, first + request("/api/y", "Connection: close"))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [(arrival.target.path, arrival.body) for arrival in gate.arrivals] == [("/x", b"hello"), ("/y", b"")]
    assert [(arrival.bearer, arrival.headers) for arrival in gate.arrivals] == [(None, ()), (None, ())]


async def test_two_calls_in_one_segment_are_carried_one_after_the_other() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    async with opened(gate) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        first = request("/api/x", method="POST", body=b"one")
        writer.write(first + request("/api/y", "Connection: close", method="POST", body=b"two"))
        await gate.arrived.wait()
        assert len(gate.arrivals) == 1
        gate.hold.set()
        answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1 200") == 2
    assert [arrival.body for arrival in gate.arrivals] == [b"one", b"two"]


async def test_a_flood_behind_an_unanswered_call_ends_the_connection_with_its_answer() -> None:
    gate = RecordingGate(hold=asyncio.Event())
    async with opened(gate) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(request("/api/x"))
        await gate.arrived.wait()
        writer.write(request("/api/y") * 4000)
        await writer.drain()
        # Once this one is answered, the flood that was sent before has been read.
        assert status_of(await sent(door, b"barrier")) == 400
        gate.hold.set()
        answer = await reader.read()
        writer.close()
    assert statuses_of(answer) == [200]
    assert len(gate.arrivals) == 1


async def test_a_body_cut_short_by_the_client_reaches_nobody() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        for raw in (request("/api/x", "Content-Length: 9", method="POST") + b"half", _chunked(b"5\r\nhel")):
            await sent(door, raw, then_close=True)
    assert gate.arrivals == []


async def test_a_slow_head_is_answered_408_and_an_idle_connection_just_ends() -> None:
    gate = RecordingGate()
    async with opened(gate, using=door_settings(limits=Limits(header_timeout_s=0.1))) as door:
        answers = await asyncio.gather(sent(door, b"GET /api/x HTTP/1.1\r\nHost: loc"), sent(door, b""))
    assert [status_of(answer) for answer in answers] == [408, 0]
    assert [refusal.reason for refusal, _ in gate.refusals] == [Reason.TOO_SLOW]


async def test_dripping_headers_do_not_buy_time() -> None:
    async with opened(RecordingGate(), using=door_settings(limits=Limits(header_timeout_s=0.15))) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(b"GET /api/x HTTP/1.1\r\n")
        answer = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.read())
            while not reading.done():
                writer.write(b"A: b\r\n")
                await asyncio.wait([reading], timeout=0.02)
            answer = reading.result()
        writer.close()
    assert status_of(answer) == 408


async def test_a_slow_second_head_on_a_kept_connection_is_answered_408() -> None:
    async with opened(RecordingGate(), using=door_settings(limits=Limits(header_timeout_s=0.1))) as door:
        answer = await sent(door, request("/api/x"), b"GET /api/y HT")
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.count(b"HTTP/1.1 408") == 1


async def test_a_slow_body_is_answered_408() -> None:
    gate = RecordingGate()
    limits = Limits(body_timeout_s=0.1, body_bytes_per_s=1_000_000)
    async with opened(gate, using=door_settings(limits=limits)) as door:
        by_length = await sent(door, request("/api/x", "Content-Length: 9", method="POST") + b"half")
        by_chunks = await sent(door, _chunked(b"5\r\nhel"))
    assert [status_of(by_length), status_of(by_chunks)] == [408, 408]
    assert gate.arrivals == []


async def test_a_length_over_the_limit_is_refused_before_the_body_comes() -> None:
    async with opened(RecordingGate(), using=door_settings(limits=Limits(body_bytes=10))) as door:
        answer = await sent(door, request("/api/x", "Content-Length: 11", "Expect: 100-continue", method="POST"))
    assert status_of(answer) == 413
    assert b"100 Continue" not in answer


async def test_an_expectation_is_met_here_and_not_passed_on() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        lines = ("Content-Length: 5", "Expect: 100-continue", "Connection: close")
        writer.write(request("/api/x", *lines, method="POST"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        answer = await reader.read()
        writer.close()
    assert status_of(answer) == 200
    assert gate.arrivals[0].body == b"hello"
    assert gate.arrivals[0].headers == ()


async def test_no_header_that_speaks_for_someone_travels_in_any_spelling() -> None:
    gate = RecordingGate()
    lines = (
        "X-Forwarded-User: root", "x-forwarded-USER: root", "Remote-User: root", "X-Approved-By: ann", "Via: 1.1 x",
        "X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Forwarded-Uri: /a",
        "Forwarded: for=1.2.3.4", "Client-Cert: :x:", "Assentry-Approved: yes", "Cookie: a=b", "TE: trailers",
        "Connection: close, X-Custom, Accept-Language", "X-Custom: 1", "Accept-Language: de", "Keep-Alive: timeout=9",
        "Proxy-Authorization: Basic eDp5", "Authorization: Bearer secret", "Accept: text/plain",
    )  # fmt: skip
    async with opened(gate) as door:
        await sent(door, request("/api/x", *lines))
    assert gate.arrivals[0].headers == (("accept", "text/plain"),)
    assert gate.arrivals[0].bearer == "secret"


async def test_a_refusal_stands_also_when_it_cannot_be_recorded() -> None:
    gate = RecordingGate(refusing_fails=Outage(Reason.LEDGER_UNAVAILABLE, "The ledger is full."))
    async with opened(gate) as door:
        assert status_of(await sent(door, b"GET  /x HTTP/1.1\r\n\r\n")) == 400


async def test_http_10_is_answered_without_keep_alive_or_chunks() -> None:
    gate = RecordingGate(answer=lambda arrival: _stream(arrival.id))
    async with opened(gate) as door:
        answer = await sent(door, b"GET /api/x HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nonetwo")
    assert b"Transfer-Encoding" not in answer


async def test_a_second_http_10_call_is_never_served() -> None:
    gate = RecordingGate()
    async with opened(gate) as door:
        raw = b"GET /api/x HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
        assert statuses_of(await sent(door, raw + raw)) == [200]
    assert len(gate.arrivals) == 1


def test_the_door_does_not_open_on_the_python_parser() -> None:
    from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

    require_c_parser(HttpRequestParser)
    with pytest.raises(OperatorFault):
        require_c_parser(HttpRequestParserPy)


LINES = st.sampled_from(
    [b"Host: localhost", b"Content-Length: 3", TE, b"Connection: close", b"Expect: 100-continue", b"A:", b"A b", b" x"]
)
BYTES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda start, lines, body: start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body,
        st.sampled_from([b"GET /api/x HTTP/1.1", b"POST /api/x HTTP/1.1", b"HEAD /api/x HTTP/1.0", b"GET / HTTP/1.1"]),
        st.lists(st.one_of(LINES, st.binary(max_size=20)), max_size=6),
        st.one_of(st.binary(max_size=30), st.just(CHUNKS), st.just(b"abc")),
    ),
    st.tuples(
        st.sampled_from([raw for raw, _ in ALL.values() if len(raw) < 500]), st.integers(0, 500), st.binary(max_size=3)
    ).map(lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]),
)


@profile(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raws=st.lists(BYTES, min_size=20, max_size=20))
def test_no_bytes_at_all_make_the_door_fail(raws: list[bytes]) -> None:
    async def play() -> list[int]:
        limits = Limits(header_timeout_s=0.05, body_timeout_s=0.05, idle_timeout_s=0.1)
        async with opened(RecordingGate(), using=door_settings(limits=limits)) as door:
            answers = await asyncio.gather(*(sent(door, raw, then_close=False) for raw in raws))
        return [status for answer in answers for status in statuses_of(answer)]

    assert {status for status in asyncio.run(play()) if status >= 500} <= {501, 505}


def _chunked(body: bytes) -> bytes:
    return request("/api/x", TE.decode(), method="POST") + body


def _stream(call: str):  # type: ignore[no-untyped-def]
    from proxy.doors.arrival import Relay

    return Relay(status=200, headers=(), body=pieces(b"one", b"two"), call=call)  # type: ignore[arg-type]
