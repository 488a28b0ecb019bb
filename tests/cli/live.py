"""A running gate with the demo's law, people and upstreams, and ways to ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from proxy.demo.run import Demo, demo
from tests.fakes.command import Ended, ran

PORTS = dict.fromkeys(("agents", "approvers", "operators", "issuer", "upstreams"), 0)


@asynccontextmanager
async def gate(folder: Path) -> AsyncIterator[Demo]:
    async with demo(folder, ports=PORTS) as live:
        yield live


async def refund(live: Demo, amount: int, *, charge: str = "ch_1042", **headers: str) -> tuple[int, str]:
    """Status and body of a refund that an agent asks for."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{live.gate.agents_url}/stripe/v1/refunds",
            data={"charge": charge, "amount": str(amount)},
            headers={"Authorization": f"Bearer {live.agent_token}", **headers},
        ) as answer,
    ):
        return answer.status, await answer.text()


def refunds(live: Demo) -> list[str]:
    """Bodies of the refunds that reached the payment API."""
    return [one.body.decode() for one in live.upstreams.received if one.target == "/stripe/v1/refunds"]


async def held(live: Demo, *, count: int = 1) -> list[str]:
    """Ids of the open holds, once there are that many."""
    async with asyncio.timeout(20):
        while len(holds := await live.gate.store.open_holds(limit=10)) < count:  # noqa: ASYNC110 - the store tells nobody here
            await asyncio.sleep(0.01)
    return [hold.call.id for hold in holds]


async def holds(live: Demo, *words: str, person: str = "ann", **environ: str) -> Ended:
    """`assentry holds …` as this person."""
    known = {"ASSENTRY_URL": live.gate.approvers_url, "ASSENTRY_TOKEN_FILE": str(live.folder / "tokens" / person)}
    return await ran("holds", *words, environ={**known, **environ})
