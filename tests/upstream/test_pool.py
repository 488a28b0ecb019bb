"""The pool against an upstream on a real socket: kept connections, the cap, the queue, the limits, back-pressure."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from policy.reasons import Reason
from proxy.errors import BrokenPromise, Outage
from proxy.upstream.connection import PAUSE_ABOVE_BYTES
from proxy.upstream.pool import IDLE_S, BrokeOff, NotSent, Outgoing, UpstreamPool
from tests.fakes.upstream import FakeUpstream, chunked, drop, flood, held, raw, reply, reset, then, until_close
from tests.upstream.calls import message, whole
from tests.upstream.conftest import OpenPool


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


async def test_a_message_arrives_byte_for_byte(pool: UpstreamPool, fake: FakeUpstream):
    sent = message("POST", "/a%2Fb/%e2?x=%20&&y", b'{"a":1}', content_type="application/json")
    assert (await pool.send(sent)).status == 200
    assert fake.received[0].raw == (
        b"POST /a%2Fb/%e2?x=%20&&y HTTP/1.1\r\nhost: pay.example\r\ncontent-type: application/json\r\n"
        b'content-length: 7\r\n\r\n{"a":1}'
    )


async def test_the_answer_comes_back_whole(pool: UpstreamPool, fake: FakeUpstream):
    fake.script(reply(418, b"teapot", ("X-Kind", "Pot"), ("X-Kind", "Kettle")))
    response = await pool.send(message())
    assert response.status == 418
    assert response.headers == ((b"content-length", b"6"), (b"X-Kind", b"Pot"), (b"X-Kind", b"Kettle"))
    assert await whole(response) == b"teapot"


async def test_calls_one_after_the_other_share_a_connection(pool: UpstreamPool, fake: FakeUpstream):
    for _ in range(5):
        assert await whole(await pool.send(message())) == b"{}"
    assert fake.connections == 1


async def test_a_fresh_call_takes_a_new_connection(pool: UpstreamPool, fake: FakeUpstream):
    await pool.send(message())
    await pool.send(message(), fresh=True)
    assert [received.connection for received in fake.received] == [1, 2]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_call_whose_connection_drops_was_sent_once(
    pool: UpstreamPool, fake: FakeUpstream, method: str, fresh: bool
):
    rounds = 100
    for number in range(rounds):
        fake.script(reply(), drop())
        await whole(await pool.send(message(target="/warm")))
        with pytest.raises(BrokeOff) as caught:
            await pool.send(message(method, f"/drop/{number}", b"" if method in ("GET", "HEAD") else b"x"), fresh=fresh)
        assert caught.value.reason is Reason.UPSTREAM_BROKE_OFF
    dropped = [received.target for received in fake.received if received.target != "/warm"]
    assert dropped == [f"/drop/{number}" for number in range(rounds)]


async def test_a_call_reset_in_the_middle_of_the_head_was_sent_once(pool: UpstreamPool, fake: FakeUpstream):
    fake.script(reset(b"HTTP/1.1 200 OK\r\n"))
    with pytest.raises(BrokeOff):
        await pool.send(message("PUT", body=b"x"))
    assert len(fake.received) == 1


async def test_a_kept_connection_that_the_upstream_closed_is_not_used(pool: UpstreamPool, fake: FakeUpstream):
    fake.script(then(reply(), drop()))
    await pool.send(message())
    await fake.until(lambda seen: seen.open == 0)
    assert (await pool.send(message("PUT", body=b"x"))).status == 200
    assert [received.connection for received in fake.received] == [1, 2]


async def test_a_closed_port_is_not_sent_and_an_outage(open_pool: OpenPool):
    async with contextlib.AsyncExitStack() as stack:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await stack.enter_async_context(server)
    with pytest.raises(NotSent) as caught:
        await open_pool(url=f"http://127.0.0.1:{port}").send(message())
    assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
    assert isinstance(caught.value, Outage)


@pytest.mark.parametrize("most", [1, 2])
async def test_no_more_connections_than_the_cap_and_first_come_first_served(
    open_pool: OpenPool, fake: FakeUpstream, most: int
):
    pool = open_pool(connections=most)
    fake.default = chunked(b"ok")

    async def call(number: int) -> None:
        assert await whole(await pool.send(message(target=f"/{number}"))) == b"ok"

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(call(number))
    assert fake.connections == most
    order = [int(received.target[1:]) for received in fake.received]
    # Over two connections the upstream may see neighbours in another order than they were sent in.
    assert (order if most == 1 else sorted(order)) == list(range(20))


async def test_fresh_calls_respect_the_cap_too(open_pool: OpenPool, fake: FakeUpstream):
    pool = open_pool(connections=2)
    seen_open = []
    fake.default = then(reply())

    async def call() -> None:
        await pool.send(message(), fresh=True)
        seen_open.append(len(pool._connections))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(call())
    assert max(seen_open) <= 2
    assert fake.connections == 20


async def test_a_fresh_call_at_the_cap_takes_the_place_of_an_idle_connection(open_pool: OpenPool, fake: FakeUpstream):
    pool = open_pool(connections=1)
    for _ in range(3):
        await pool.send(message())
        await pool.send(message(), fresh=True)
    assert [received.connection for received in fake.received] == [1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_grant_that_its_waiter_no_longer_wants_goes_to_the_next(
    open_pool: OpenPool, fake: FakeUpstream, fresh: bool
):
    pool = open_pool(connections=1)
    go = asyncio.Event()
    fake.script(held(go, reply()))

    async def first() -> None:
        await pool.send(message(target="/1"))
        # The answer's last byte granted the connection to the second, which has not had its turn of the loop yet.
        second.cancel()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        await fake.until_received(1)
        second = tasks.create_task(pool.send(message(target="/2"), fresh=fresh))
        third = tasks.create_task(pool.send(message(target="/3")))
        await asyncio.sleep(0)
        granted = pool._queue[0].granted
        go.set()
    assert granted.done()
    assert not granted.cancelled()
    assert second.cancelled()
    assert third.result().status == 200
    assert [received.target for received in fake.received] == ["/1", "/3"]
    assert pool._places == len(pool._connections) == 1


async def test_a_failed_dial_gives_its_place_back(open_pool: OpenPool, fake: FakeUpstream):
    answers = [["169.254.169.254"], [], ["127.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    pool = open_pool(connections=1, connect_timeout_s=1, ports={"resolve": resolve})
    for _ in range(2):
        with pytest.raises(NotSent, match="address"):
            await pool.send(message())
    assert (await pool.send(message())).status == 200


async def test_waiting_for_a_connection_is_limited_and_nothing_was_sent(open_pool: OpenPool, fake: FakeUpstream):
    pool = open_pool(connections=1, connect_timeout_s=0.1)
    go = asyncio.Event()
    fake.script(held(go, reply()))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(pool.send(message(target="/first")))
        await fake.until_received(1)
        with pytest.raises(NotSent):
            await pool.send(message(target="/second"))
        go.set()
    assert (await first).status == 200
    assert [received.target for received in fake.received] == ["/first"]


async def test_places_are_not_lost_however_calls_end(open_pool: OpenPool, fake: FakeUpstream):
    pool = open_pool(connections=2, connect_timeout_s=5)
    never = asyncio.Event()
    fake.script(*[drop(), raw(b"garbage\r\n\r\n"), held(never, reply()), reset()] * 5)

    async def call(number: int) -> None:
        with contextlib.suppress(BrokeOff, TimeoutError):
            async with asyncio.timeout(0.2 if number % 4 == 2 else 1):
                await pool.send(message(), fresh=number % 3 == 0)

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(call(number))
    fake._script.clear()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(pool.send(message()))
    assert pool._places == len(pool._connections) <= 2


async def test_a_cancelled_wait_in_line_gives_its_place_to_the_next(open_pool: OpenPool, fake: FakeUpstream):
    pool = open_pool(connections=1)
    go = asyncio.Event()
    fake.script(held(go, reply()))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pool.send(message(target="/1")))
        await fake.until_received(1)
        second = tasks.create_task(pool.send(message(target="/2")))
        third = tasks.create_task(pool.send(message(target="/3")))
        await asyncio.sleep(0)
        second.cancel()
        go.set()
    assert (await third).status == 200
    assert [received.target for received in fake.received] == ["/1", "/3"]


async def test_an_idle_connection_is_closed_after_its_time(open_pool: OpenPool, fake: FakeUpstream):
    clock = Clock()
    pool = open_pool(ports={"now": clock})
    await pool.send(message())
    clock.at += IDLE_S - 0.1
    pool.sweep()
    assert len(pool._connections) == 1
    clock.at += 0.2
    pool.sweep()
    await fake.until(lambda seen: seen.open == 0)
    assert pool._places == 0


async def test_the_sweep_runs_by_itself(open_pool: OpenPool, fake: FakeUpstream):
    never = asyncio.Event()
    fake.script(held(never, reply()))
    with pytest.raises(BrokeOff, match="did not answer in time"):
        await open_pool(first_byte_timeout_s=0.1).send(message())


async def test_an_upstream_that_does_not_answer_in_time_broke_off(open_pool: OpenPool, fake: FakeUpstream):
    clock, never = Clock(), asyncio.Event()
    pool = open_pool(ports={"now": clock}, first_byte_timeout_s=60)
    fake.script(then(raw(b"HTTP/1.1 102 Processing\r\n\r\n"), held(never, reply())))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(_outcome(pool, message("POST", body=b"x")))
        await fake.until_received(1)
        clock.at += 61
        pool.sweep()
    assert isinstance(sending.result(), BrokeOff)
    assert len(fake.received) == 1


async def test_an_answer_that_does_not_end_in_time_is_cut(open_pool: OpenPool, fake: FakeUpstream):
    clock, never = Clock(), asyncio.Event()
    pool = open_pool(ports={"now": clock}, total_timeout_s=300)
    fake.script(then(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), held(never, reply())))
    chunks = (await pool.send(message())).chunks()
    assert await anext(chunks) == b"half"
    clock.at += 301
    pool.sweep()
    with pytest.raises(BrokeOff, match="did not finish"):
        await anext(chunks)


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", b"half", close=True),
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", close=True),
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", close=True),
        reset(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf"),
    ],
    ids=["counted", "chunked", "chunked-without-its-end", "reset"],
)
async def test_a_cut_body_gives_what_came_and_then_breaks_off(pool: UpstreamPool, fake: FakeUpstream, answer):
    fake.script(answer)
    came: list[bytes] = []
    with pytest.raises(BrokeOff):
        await _gather(pool, came)
    assert b"".join(came) in (b"half", b"")  # A reset may overtake what was sent before it.


async def test_a_body_until_the_close_is_whole(pool: UpstreamPool, fake: FakeUpstream):
    fake.script(until_close(b"to the end"))
    assert await whole(await pool.send(message())) == b"to the end"
    assert await whole(await pool.send(message())) == b"{}"
    assert fake.connections == 2


async def test_a_big_body_is_read_no_faster_than_it_is_taken(pool: UpstreamPool, fake: FakeUpstream):
    total, written = 64 * 1024 * 1024, [0]
    fake.script(flood(total, wrote=lambda done: written.__setitem__(0, done)))
    response = await pool.send(message())
    chunks = response.chunks()
    taken = len(await anext(chunks))
    await _still(lambda: written[0])
    # What is neither taken nor in the socket's own buffers waits in the upstream.
    assert written[0] < total / 2
    assert response._inflow.waiting_bytes <= 2 * PAUSE_ABOVE_BYTES
    async for chunk in chunks:
        taken += len(chunk)
    assert taken == total
    await whole(await pool.send(message()))
    assert fake.connections == 1


async def test_leaving_a_body_early_closes_its_connection(pool: UpstreamPool, fake: FakeUpstream):
    fake.script(flood(8 * 1024 * 1024))
    chunks = (await pool.send(message())).chunks()
    await anext(chunks)
    await chunks.aclose()
    await fake.until(lambda seen: seen.open == 0)
    assert await whole(await pool.send(message())) == b"{}"


@pytest.mark.parametrize("begun", [False, True], ids=["never asked for", "never begun"])
async def test_an_answer_that_nobody_reads_gives_up_its_connection(
    open_pool: OpenPool, fake: FakeUpstream, begun: bool
):
    pool = open_pool(connections=1)
    fake.script(flood(8 * 1024 * 1024))
    response = await pool.send(message())
    if begun:
        await response.chunks().aclose()
    del response
    await fake.until(lambda seen: seen.open == 0)
    assert await whole(await pool.send(message())) == b"{}"


async def test_a_cancelled_call_closes_its_connection_and_nobody_else_sees_its_answer(
    open_pool: OpenPool, fake: FakeUpstream
):
    pool = open_pool(connections=1)
    go = asyncio.Event()
    fake.script(held(go, reply(200, b"of the first")))
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(pool.send(message(target="/first")))
        await fake.until_received(1)
        first.cancel()
    go.set()
    assert await whole(await pool.send(message(target="/second"))) == b"{}"


async def test_an_answer_that_comes_before_the_call_is_written_out_ends_the_connection(open_pool: OpenPool):
    done = asyncio.Event()

    async def answers_without_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        writer.write(b"HTTP/1.1 413 Too big\r\ncontent-length: 0\r\n\r\n")
        await done.wait()
        writer.transport.abort()

    async with await asyncio.start_server(answers_without_reading, "127.0.0.1", 0) as early:
        pool = open_pool(url=f"http://127.0.0.1:{early.sockets[0].getsockname()[1]}")
        response = await pool.send(message("POST", body=b"x" * 32 * 1024 * 1024))
        assert response.status == 413
        assert not pool._idle
        done.set()
        await pool.close()


async def test_a_closed_pool_sends_nothing_and_breaks_off_what_was_under_way(pool: UpstreamPool, fake: FakeUpstream):
    never = asyncio.Event()
    fake.script(held(never, reply()))
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(_outcome(pool, message()))
        await fake.until_received(1)
        await pool.close()
    assert isinstance(sending.result(), BrokeOff)
    with pytest.raises(NotSent):
        await pool.send(message())
    never.set()
    await fake.until(lambda seen: seen.open == 0)


@pytest.mark.parametrize(
    "broken",
    [
        message(target="/a b"),
        message(target="/a\r\nx: y"),
        message(target="/ä"),
        message(target="http://other/"),
        message(target=""),
        message("GET /x HTTP/1.1\r\nhost: other\r\n\r\nGET"),
        message("get"),
        message("CONNECT"),
        message("TRACE"),
        message(x="a\r\nb: c"),
        message(x="a\nb: c"),
        message(x="a\0b"),
        message(transfer_encoding="chunked"),
        message(host="other"),
        message(content_length="5"),
        Outgoing(method="GET", target="/", headers=()),
        Outgoing(method="POST", target="/", headers=((b"host", b"a"),), body=b"x"),
        Outgoing(method="GET", target="/", headers=((b"host", b"a"), (b"x: y\r\nz", b"b"))),
        Outgoing(method="GET", target="/", headers=((b"host", b"a"), (b"X y", b"b"))),
    ],
)
async def test_what_is_not_exactly_one_message_is_never_written(
    pool: UpstreamPool, fake: FakeUpstream, broken: Outgoing
):
    with pytest.raises(BrokenPromise):
        await pool.send(broken)
    assert fake.connections == 0


async def _gather(pool: UpstreamPool, into: list[bytes]) -> None:
    async for chunk in (await pool.send(message())).chunks():
        into.append(chunk)  # noqa: PERF401 - what came before the fault has to be there after it


async def _outcome(pool: UpstreamPool, sent: Outgoing) -> object:
    try:
        return await pool.send(sent)
    except BrokeOff as fault:
        return fault


async def _still(value) -> None:
    """Returns when a value has not changed for a thousand turns of the loop."""
    same, last = 0, value()
    while same < 1000:
        await asyncio.sleep(0)
        same, last = (same + 1, last) if value() == last else (0, value())


async def test_nothing_is_written_before_it_is_cleared_though_the_connection_stands(
    pool: UpstreamPool, fake: FakeUpstream
):
    cleared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(pool.send(message(), fresh=True, cleared=cleared))
        await fake.until(lambda seen: seen.open == 1)
        await asyncio.sleep(0)
        assert (fake.received, sending.done()) == ([], False)
        cleared.set_result(None)
    assert await whole(sending.result()) == b"{}"


async def test_what_is_not_cleared_is_never_written_and_gives_its_place_back(open_pool: OpenPool, fake: FakeUpstream):
    pool = open_pool(connections=1)
    refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    refused.set_exception(Outage(Reason.LEDGER_UNAVAILABLE, "No disk."))
    with pytest.raises(Outage) as caught:
        await pool.send(message(target="/refused"), fresh=True, cleared=refused)
    assert caught.value.reason is Reason.LEDGER_UNAVAILABLE
    assert await whole(await pool.send(message(target="/next"))) == b"{}"
    assert [received.target for received in fake.received] == ["/next"]


async def test_a_connection_that_closed_before_it_was_cleared_is_replaced(pool: UpstreamPool, fake: FakeUpstream):
    cleared: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(pool.send(message(), fresh=True, cleared=cleared))
        await fake.until(lambda seen: seen.open == 1)
        await fake.hang_up()
        cleared.set_result(None)
    assert await whole(sending.result()) == b"{}"
    assert [received.connection for received in fake.received] == [2]
