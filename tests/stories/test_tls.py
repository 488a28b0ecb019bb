"""TLS at every door: a call is held, approved and sent, and the certificates change meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

from tests.fakes.certificates import Authority, authority
from tests.fakes.house import House, eventually

OPENING = Callable[..., AbstractAsyncContextManager[House]]
NAME = "127.0.0.1"
PUBLIC = "https://approvers.example"


@asynccontextmanager
async def encrypted(open_house: OPENING, trusted: Authority) -> AsyncIterator[House]:
    certificate, key = map(str, trusted.issue(NAME))
    tls = {"certificate": certificate, "key": key}
    approvers = {"tls": tls, "public_url": PUBLIC}
    async with (
        open_house(agents={"tls": tls}, approvers=approvers, operators={"tls": tls}) as home,
        ClientSession(connector=TCPConnector(ssl=trusted.client())) as client,
    ):
        home.client = client
        yield home


async def test_a_call_is_held_approved_and_sent_over_tls(open_house: OPENING, tmp_path: Path):
    async with encrypted(open_house, authority(tmp_path)) as home:
        asked = home.begin(home.refund(25_000))
        held = await home.wait_for_hold()
        assert (await home.person("ann").approve(held)).status == 200
        assert ((await asked).status, len(home.upstream.received)) == (200, 1)
        assert await home.told(held, ends="concluded") == [
            *("held", "clicked approve", "moved approved", "released", "concluded executed"),
        ]
        assert "assentry_" in await home.metrics()


async def test_the_links_an_agent_is_given_are_https(open_house: OPENING, tmp_path: Path):
    async with encrypted(open_house, authority(tmp_path)) as home:
        assert home.gate.agents_url.startswith("https://")
        first = await home.refund(25_000, headers={"Prefer": "wait=0"})
        assert first.json["status_url"] == f"{home.gate.agents_url}/v1/calls/{first.call}"
        assert (await home.status(first.call)).status == 202
        stranger = await home.refund(25_000, token="")
        assert f'resource_metadata="{home.gate.agents_url}/' in stranger.headers["www-authenticate"]


async def test_a_renewed_certificate_is_shown_to_whoever_comes_next(open_house: OPENING, tmp_path: Path):
    first = authority(tmp_path)
    async with encrypted(open_house, first) as home:
        assert (await home.refund(5_000)).status == 200
        second = authority(tmp_path)  # in the same folder, so under the same file names
        second.issue(NAME)

        async def renewed() -> bool | None:
            try:
                async with ClientSession(connector=TCPConnector(ssl=second.client())) as client:
                    return (await client.get(f"{home.gate.agents_url}/v1/")).status == 404
            except OSError:
                return None

        assert await eventually(renewed)
        assert (await home.refund(6_000)).status == 200, "the connection that was open before goes on"
