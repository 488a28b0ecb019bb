"""Which addresses may be connected to, and that the checked address is the one that is used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest

from proxy.upstream.dialing import refused
from proxy.upstream.pool import NotSent
from tests.fakes.upstream import FakeUpstream
from tests.upstream.calls import message
from tests.upstream.conftest import OpenPool

NEVER = [
    "169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16",
    "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "::7f00:1",
]  # fmt: skip
INSIDE = [
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
]  # fmt: skip
OUTSIDE = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_connected_to(address: str):
    assert refused(address, private_networks=True)
    assert refused(address, private_networks=False)


@pytest.mark.parametrize("address", INSIDE)
def test_private_addresses_are_connected_to_only_where_the_settings_say_so(address: str):
    assert refused(address, private_networks=False)
    assert refused(address, private_networks=True) is None


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_may_be_connected_to(address: str):
    assert refused(address, private_networks=False) is None


class Names:
    """A name service that answers as it is told, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if not self.answers:
            raise socket.gaierror(-2, "Name or service not known")
        return self.answers.pop(0)


async def test_the_address_that_was_checked_is_the_one_connected_to(open_pool: OpenPool, fake: FakeUpstream):
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    pool = open_pool(url=f"http://pay.example:{fake.port}", ports={"resolve": names})
    assert (await pool.send(message())).status == 200
    assert names.asked == [("pay.example", fake.port)]
    with pytest.raises(NotSent):
        await pool.send(message(), fresh=True)
    assert len(fake.received) == 1


async def test_a_name_is_asked_for_again_for_each_connection_and_only_then(open_pool: OpenPool, fake: FakeUpstream):
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    pool = open_pool(url=f"http://pay.example:{fake.port}", ports={"resolve": names})
    for fresh in (False, False, True):
        await pool.send(message(), fresh=fresh)
    assert len(names.asked) == 2


async def test_refused_addresses_are_passed_over_and_dead_ones_too(open_pool: OpenPool, fake: FakeUpstream):
    names = Names(["169.254.169.254", "127.99.99.99", "127.0.0.1"])
    pool = open_pool(url=f"http://pay.example:{fake.port}", ports={"resolve": names})
    assert (await pool.send(message("PUT", body=b"x"))).status == 200
    assert len(fake.received) == 1


@pytest.mark.parametrize("answers", [[], [[]]], ids=["no such name", "no address"])
async def test_a_name_that_leads_nowhere_is_not_sent_to(open_pool: OpenPool, answers: list):
    with pytest.raises(NotSent):
        await open_pool(url="http://pay.example", ports={"resolve": Names(*answers)}).send(message())


async def test_a_name_that_is_never_resolved_is_waited_for_no_longer_than_the_limit(open_pool: OpenPool):
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(NotSent, match="in time"):
        await open_pool(url="http://pay.example", connect_timeout_s=0.05, ports={"resolve": never}).send(message())


async def test_the_environment_does_not_lead_us_through_a_proxy(
    open_pool: OpenPool, fake: FakeUpstream, monkeypatch: pytest.MonkeyPatch
):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await open_pool().send(message())).status == 200
