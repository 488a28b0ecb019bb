"""The ledger's stream: it ends when its reader's right to it ends, not when the reader likes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from aiohttp import ClientSession

from config import settings
from policy.principal import Identity
from proxy.audit.ledger import Durability
from proxy.doors.api import Api
from proxy.doors.approvers import ApproversDoor
from proxy.holds.connection import connect
from proxy.holds.sealing import Sealer
from proxy.identity.admission import Admission
from proxy.identity.agent_keys import AgentKeys
from proxy.identity.denials import Denial, Denials, Kind
from proxy.identity.issuers import KeySource
from proxy.identity.people import People
from proxy.identity.tokens import TokenVerifier
from tests.fakes import ledgers
from tests.fakes.issuer import FakeIssuer
from tests.fakes.valkey import PrivateValkey

ANN = Identity("corp:ann")


@asynccontextmanager
async def admitting(idp, valkey):
    connection = connect(settings.Store(timeout_s=2), url=valkey.url)
    source, denials = KeySource([idp.settings()]), Denials(connection)
    sealer = Sealer(b"k" * 32)
    people = People(connection, sealer=sealer, groups={}, max_age_s=86_400, denials=denials)
    tokens = TokenVerifier([idp.settings()], source)
    yield Admission(tokens=tokens, keys=AgentKeys(connection, sealer=sealer), denials=denials, people=people)
    await source.close()
    await connection.close()


@asynccontextmanager
async def following(tmp_path):
    """Ann, an auditor, on the stream of a ledger; her right to it is looked at again without pause."""
    with PrivateValkey() as valkey:
        async with (
            FakeIssuer() as idp,
            admitting(idp, valkey) as admission,
            ledgers.running(tmp_path) as ledger,
            ClientSession() as session,
        ):
            api = Api(
                desk=None,  # no hold is looked at here
                admission=admission,
                ledger=ledger,
                auditors=frozenset({"auditors"}),
                operators=frozenset(),
                recheck_s=0.01,
            )
            door = ApproversDoor(host="127.0.0.1", port=0, public_url="http://127.0.0.1", api=api)
            await door.start()
            url = "http://{}:{}/v1/ledger/stream".format(*door.address)
            bearer = {"Authorization": f"Bearer {idp.person_token('ann', groups=['auditors'])}"}
            async with session.get(url, headers=bearer) as stream:
                assert stream.status == 200
                assert await stream.content.readline() == b": following\n"
                yield stream, admission, ledger, valkey
            await door.stop()


async def the_end(stream):
    async with asyncio.timeout(10):
        return await stream.content.read()


async def test_records_come_as_they_are_written_and_the_stream_stays(tmp_path):
    async with following(tmp_path) as (stream, _, ledger, _), asyncio.timeout(10):
        await ledger.record(ledgers.a_record(7), Durability.WRITTEN)
        looked = 0
        async for line in stream.content:
            looked += line == b": following\n"
            if line.startswith(b"data: ") and f"{7:026d}".encode() in line:
                break
        async for line in stream.content:
            looked += line == b": following\n"
            if looked > 3:
                return


async def test_a_stream_ends_when_its_reader_is_shut_out(tmp_path):
    async with following(tmp_path) as (stream, admission, _, _):
        await admission.denials.add(Denial(kind=Kind.SUBJECT, value=ANN, by="corp:olga", reason="", at=1))
        assert b"data: " not in await the_end(stream)


async def test_a_stream_ends_when_its_reader_leaves_the_group(tmp_path):
    async with following(tmp_path) as (stream, admission, _, _):
        (ann,) = (await admission.people.read([ANN])).values()
        left = {"issued_at": ann.issued_at + 1, "groups": frozenset()}
        await admission.people.seen(type(ann)(identity=ANN, name="Ann", **left))
        await the_end(stream)


async def test_a_stream_ends_when_it_cannot_be_known_who_reads(tmp_path):
    async with following(tmp_path) as (stream, _, _, valkey):
        valkey.kill()
        await the_end(stream)
