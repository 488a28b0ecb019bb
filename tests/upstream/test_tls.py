"""TLS to an upstream: whom we believe, and what a cut connection means."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config.settings import Upstream
from proxy.errors import OperatorFault
from proxy.upstream.pool import BrokeOff, NotSent, UpstreamPool
from tests.fakes.certificates import Authority, authority
from tests.fakes.upstream import FakeUpstream, drop, flood, reply, then, upstream
from tests.upstream.calls import message, whole


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("trusted"))


@asynccontextmanager
async def reached(
    tls: ssl.SSLContext, ca_file: Path | None, host: str = "pay.example"
) -> AsyncIterator[tuple[FakeUpstream, UpstreamPool]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with upstream(tls=tls) as fake:
        settings = Upstream.model_validate(
            {
                "name": "pay",
                "url": f"https://{host}:{fake.port}",
                "private_networks": True,
                "ca_file": ca_file,
            }
        )
        pool = UpstreamPool(settings, resolve=resolve)
        yield fake, pool
        await pool.close()


async def test_calls_go_out_over_tls_on_kept_connections(trusted: Authority):
    async with reached(trusted.server("pay.example"), trusted.ca_file) as (fake, pool):
        for _ in range(3):
            assert await whole(await pool.send(message("POST", body=b"x"))) == b"{}"
        assert fake.connections == 1


async def test_a_certificate_of_another_name_is_not_believed(trusted: Authority):
    async with reached(trusted.server("other.example"), trusted.ca_file) as (fake, pool):
        with pytest.raises(NotSent, match="certificate"):
            await pool.send(message())
        assert not fake.received


async def test_an_authority_we_were_not_told_of_is_not_believed(trusted: Authority, tmp_path: Path):
    async with reached(authority(tmp_path).server("pay.example"), trusted.ca_file) as (fake, pool):
        with pytest.raises(NotSent):
            await pool.send(message())
        assert not fake.received


async def test_the_system_does_not_vouch_for_our_test_authority(trusted: Authority):
    async with reached(trusted.server("pay.example"), None) as (fake, pool):
        with pytest.raises(NotSent):
            await pool.send(message())
        assert not fake.received


async def test_an_expired_certificate_is_not_believed(trusted: Authority):
    async with reached(trusted.server("pay.example", days=-1), trusted.ca_file) as (fake, pool):
        with pytest.raises(NotSent):
            await pool.send(message())
        assert not fake.received


async def test_http_2_is_never_agreed_on(trusted: Authority):
    tls = trusted.server("pay.example")
    tls.set_alpn_protocols(["h2", "http/1.1"])
    async with reached(tls, trusted.ca_file) as (_, pool):
        await pool.send(message())
        (connection,) = pool._connections
        assert connection._transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_a_dropped_tls_connection_was_sent_once(trusted: Authority):
    async with reached(trusted.server("pay.example"), trusted.ca_file) as (fake, pool):
        for fresh in (False, True) * 10:
            fake.script(reply(), drop())
            await pool.send(message())
            with pytest.raises(BrokeOff):
                await pool.send(message("DELETE", "/drop"), fresh=fresh)
        assert sum(received.target == "/drop" for received in fake.received) == 20


async def test_a_kept_tls_connection_that_was_closed_is_not_used(trusted: Authority):
    async with reached(trusted.server("pay.example"), trusted.ca_file) as (fake, pool):
        fake.script(then(reply(), drop()))
        await pool.send(message())
        (connection,) = pool._connections
        await fake.until(lambda seen: seen.open == 0 or connection.gone)
        assert (await pool.send(message())).status == 200


async def test_a_big_body_over_tls_is_whole(trusted: Authority):
    async with reached(trusted.server("pay.example"), trusted.ca_file) as (fake, pool):
        fake.script(flood(16 * 1024 * 1024))
        assert len(await whole(await pool.send(message()))) == 16 * 1024 * 1024
        await pool.send(message())
        assert fake.connections == 1


def test_a_ca_file_that_is_none_is_the_operators_fault(tmp_path: Path):
    for content in (None, b"not a certificate"):
        ca_file = tmp_path / "ca.pem"
        if content:
            ca_file.write_bytes(content)
        with pytest.raises(OperatorFault):
            UpstreamPool(Upstream(name="pay", url="https://pay.example", ca_file=ca_file))
