"""TLS at the doors: what is agreed on, whose certificate is shown, and what becomes of those who do not speak it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config import settings
from config.settings import Tls
from policy.reasons import Reason
from proxy.doors.agents import AgentsDoor
from proxy.doors.arrival import Arrival, Relay
from proxy.doors.operators import OperatorsDoor
from proxy.doors.tls import LOOK_S, serving
from proxy.errors import OperatorFault, Outage
from proxy.meters import Meters
from tests.fakes.agents_door import READ_S, RecordingGate, door_settings, opened, request, status_of
from tests.fakes.certificates import Authority, authority

NAME = "127.0.0.1"


@pytest.fixture
def trusted(tmp_path: Path) -> Authority:
    return authority(tmp_path)


async def broken_off() -> AsyncGenerator[bytes, None]:
    yield b"half of it"
    raise Outage(Reason.UPSTREAM_BROKE_OFF, "The upstream broke off.")


def cut(arrival: Arrival) -> Relay:
    # Without a length, only the end of the connection says that the body is whole.
    return Relay(status=200, headers=(("content-type", "text/plain"),), body=broken_off(), call=arrival.id)


def issued(by: Authority) -> Tls:
    certificate, key = by.issue(NAME)
    return Tls(certificate=certificate, key=key)


def behind(files: Tls, **more: object) -> settings.Settings:
    agents = settings.AgentsDoor(listen=f"{NAME}:0", tls=files, **more)
    limits = settings.Limits(header_timeout_s=0.3, body_timeout_s=5, body_bytes=1024)
    return door_settings(agents=agents, limits=limits)


async def said(door: AgentsDoor, raw: bytes, *, trusting: ssl.SSLContext) -> bytes:
    """All that is answered over TLS."""
    reader, writer = await asyncio.open_connection(*door.address, ssl=trusting, server_hostname=NAME)
    try:
        writer.write(raw)
        async with asyncio.timeout(READ_S):
            return await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def shaken(by: ssl.SSLContext, client: ssl.SSLContext) -> tuple[ssl.SSLObject, bytes]:
    """What client and server have agreed on, without a socket between them, and the certificate that was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = by.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_hostname=NAME)
    for _ in range(6):
        for side in (asking, served):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return asking, asking.getpeercert(binary_form=True) or b""


async def test_a_call_over_tls_is_answered(trusted: Authority):
    gate = RecordingGate()
    async with opened(gate, using=behind(issued(trusted))) as door:
        answer = await said(door, request("/api/x", "Connection: close"), trusting=trusted.client())
    assert status_of(answer) == 200
    assert answer.endswith(b"ok")
    assert gate.arrivals[0].peer == NAME


async def test_what_is_refused_over_tls_is_said_before_the_connection_ends(trusted: Authority):
    async with opened(RecordingGate(), using=behind(issued(trusted))) as door:
        big = request("/api/x", method="POST", body=bytes(4_000_000))
        assert status_of(await said(door, big, trusting=trusted.client())) == 413
        assert status_of(await said(door, b"NO\r\n\r\n", trusting=trusted.client())) == 400


async def test_an_answer_cut_short_is_no_whole_answer_over_tls_either(trusted: Authority):
    gate = RecordingGate(answer=cut)
    async with opened(gate, using=behind(issued(trusted))) as door:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await said(door, b"GET /api/x HTTP/1.0\r\nHost: localhost\r\n\r\n", trusting=trusted.client())


async def test_plain_http_at_the_tls_port_is_ended_and_reaches_nobody(trusted: Authority):
    gate = RecordingGate()
    async with opened(gate, using=behind(issued(trusted))) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(request("/api/x"))
        async with asyncio.timeout(READ_S):
            answer = await reader.read()
        writer.close()
        assert b"HTTP" not in answer
        assert status_of(await said(door, request("/api/x", "Connection: close"), trusting=trusted.client())) == 200
    assert len(gate.arrivals) == 1
    assert not gate.refusals


async def test_a_handshake_that_does_not_come_is_not_waited_for(trusted: Authority):
    async with opened(RecordingGate(), using=behind(issued(trusted))) as door:
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(b"\x16\x03\x01")  # the beginning of a handshake
        with suppress(ConnectionError):
            async with asyncio.timeout(READ_S):
                assert await reader.read() == b""
        writer.close()


async def test_answers_name_https_where_no_public_url_is_set(trusted: Authority):
    asked = b"GET /.well-known/oauth-protected-resource HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with opened(RecordingGate(), using=behind(issued(trusted))) as door:
        host, port = door.address
        told = await said(door, asked, trusting=trusted.client())
        assert f'"resource":"https://{host}:{port}"'.encode() in told.replace(b'": "', b'":"')
    async with opened(RecordingGate(), using=behind(issued(trusted), public_url="https://gate.example")) as door:
        told = await said(door, asked, trusting=trusted.client())
        assert b'"resource":"https://gate.example"' in told.replace(b'": "', b'":"')


async def test_the_operators_door_speaks_tls_too(trusted: Authority):
    tls = serving(issued(trusted))
    door = OperatorsDoor(host=NAME, port=0, meters=Meters(), checks={}, facts=dict, tls=tls)
    await door.start()
    try:
        told = await said(door, request("/livez", "Connection: close"), trusting=trusted.client())  # type: ignore[arg-type]
        assert told.endswith(b"alive\n")
    finally:
        await door.stop()


def test_only_http_1_1_is_agreed_on_and_nothing_older_than_tls_1_2(trusted: Authority):
    served = serving(issued(trusted))
    assert served is not None
    client = trusted.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    agreed, _ = shaken(served, client)
    assert (agreed.selected_alpn_protocol(), agreed.version()) == ("http/1.1", "TLSv1.3")
    assert served.minimum_version is ssl.TLSVersion.TLSv1_2
    assert served.verify_mode is ssl.CERT_NONE


def test_without_files_there_is_no_tls():
    assert serving(None) is None


def test_a_certificate_that_was_replaced_is_shown_from_the_next_handshake_on(trusted: Authority):
    clock = [0.0]
    served = serving(issued(trusted), now=lambda: clock[0])
    assert served is not None
    client = trusted.client()
    before, again = shaken(served, client)[1], shaken(served, client)[1]
    assert before == again != b""
    issued(trusted)
    assert shaken(served, client)[1] == before, "looked at again too soon"
    clock[0] += LOOK_S
    after = shaken(served, client)[1]
    assert after not in (b"", before)
    assert shaken(served, client)[1] == after
    assert shaken(served, client)[0].version() == "TLSv1.3"


def test_http_1_1_alone_is_agreed_on_after_a_replacement_too(trusted: Authority):
    clock = [0.0]
    served = serving(issued(trusted), now=lambda: clock[0])
    assert served is not None
    issued(trusted)
    clock[0] += LOOK_S
    client = trusted.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert shaken(served, client)[0].selected_alpn_protocol() == "http/1.1"


def test_a_client_that_names_no_server_is_shown_the_new_certificate_too(trusted: Authority):
    clock = [0.0]
    served = serving(issued(trusted), now=lambda: clock[0])
    assert served is not None
    client = trusted.client()
    client.check_hostname = False
    before = shaken(served, client)[1]
    issued(trusted)
    clock[0] += LOOK_S
    assert shaken(served, client)[1] != before


def test_half_a_replacement_changes_nothing_until_the_other_half_is_there(
    trusted: Authority, caplog: pytest.LogCaptureFixture
):
    clock = [0.0]
    files = issued(trusted)
    served = serving(files, now=lambda: clock[0])
    assert served is not None
    client = trusted.client()
    before = shaken(served, client)[1]
    old_key = files.key.read_bytes()
    issued(trusted)
    new_key = files.key.read_bytes()
    replace(files.key, old_key)
    for _ in range(3):
        clock[0] += LOOK_S
        assert shaken(served, client)[1] == before
    complaints = [line for line in caplog.messages if "does not match" in line]
    assert len(complaints) == 1, "said once, not at every handshake"
    replace(files.key, new_key)
    clock[0] += LOOK_S
    assert shaken(served, client)[1] != before


def test_a_certificate_that_is_gone_is_shown_still(trusted: Authority):
    clock = [0.0]
    files = issued(trusted)
    served = serving(files, now=lambda: clock[0])
    assert served is not None
    before = shaken(served, trusted.client())[1]
    files.certificate.unlink()
    clock[0] += LOOK_S
    assert shaken(served, trusted.client())[1] == before


def test_files_that_cannot_be_used_are_the_operators_fault_and_named(trusted: Authority, tmp_path: Path):
    files = issued(trusted)
    other = tmp_path / "other.key"
    other.write_bytes(pem(serialization.NoEncryption()))
    sealed = tmp_path / "sealed.key"
    sealed.write_bytes(pem(serialization.BestAvailableEncryption(b"passphrase")))
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_bytes(b"no certificate")
    missing = tmp_path / "missing.pem"
    for certificate, key, why in (
        (missing, files.key, "missing.pem' cannot be read: No such file"),
        (files.certificate, missing, "missing.pem' cannot be read: No such file"),
        (files.certificate, other, "other.key' does not match the certificate"),
        (rubbish, files.key, "rubbish.pem' and .* are not a certificate and its key in PEM form"),
        (files.certificate, rubbish, "are not a certificate and its key in PEM form"),
        (files.certificate, sealed, "The key is encrypted"),
        (tmp_path, files.key, "cannot be read: Is a directory"),
    ):
        with pytest.raises(OperatorFault, match=why):
            serving(Tls(certificate=certificate, key=key))


async def test_a_door_whose_certificate_is_missing_does_not_open(trusted: Authority, tmp_path: Path):
    files = Tls(certificate=tmp_path / "missing.pem", key=issued(trusted).key)
    with pytest.raises(OperatorFault, match=r"missing\.pem"):
        async with opened(RecordingGate(), using=behind(files)):
            pass


def replace(path: Path, content: bytes) -> None:
    """As it is done where nobody may see half a file."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


def pem(encryption: serialization.KeySerializationEncryption) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
