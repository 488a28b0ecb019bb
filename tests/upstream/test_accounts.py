"""A service account's token is read again as it is replaced, and speaks for whom the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Upstream
from policy.principal import Identity
from policy.reasons import Reason
from proxy.errors import OperatorFault, Outage
from proxy.upstream.accounts import READ_AGAIN_S
from proxy.upstream.credentials import Attached, Credentials
from proxy.upstream.forward import outgoing, travelling
from tests.fakes import values
from tests.upstream.test_credentials import Clock

BOT = Identity("corp:bot")


def kube(folder: Path, **more: object) -> Upstream:
    credential = {"kind": "service-account", "token_file": str(folder / "token"), **more}
    return Upstream.model_validate({"name": "kube", "url": "https://kube.example", "credential": credential})


async def headers(credentials: Credentials, upstream: Upstream) -> tuple[tuple[bytes, bytes], ...]:
    return (await credentials.resolve(upstream)).headers


async def test_the_token_of_the_file_is_attached_and_hidden(tmp_path):
    (tmp_path / "token").write_text("eyJ-canary-1\n")
    attached = await Credentials().resolve(kube(tmp_path))
    assert attached.headers == ((b"authorization", b"Bearer eyJ-canary-1"),)
    assert b"eyJ-canary-1" in attached.hidden


async def test_a_replaced_token_is_attached_some_seconds_later_and_never_waited_for_at_once(tmp_path):
    clock, upstream = Clock(), kube(tmp_path)
    credentials = Credentials(now=clock)
    (tmp_path / "token").write_text("first-token")
    assert credentials.at_hand(upstream) is None
    first = await credentials.resolve(upstream)
    # As the kubelet does it: another file, renamed over the old one.
    (tmp_path / "new").write_text("second-token")
    (tmp_path / "new").rename(tmp_path / "token")
    clock.at += READ_AGAIN_S - 1
    assert credentials.at_hand(upstream) is first
    clock.at += 1
    assert credentials.at_hand(upstream) is None
    assert (await credentials.resolve(upstream)).headers == ((b"authorization", b"Bearer second-token"),)
    assert credentials.at_hand(upstream) is await credentials.resolve(upstream)


async def test_the_same_token_is_the_same_credential(tmp_path):
    clock, upstream = Clock(), kube(tmp_path)
    credentials = Credentials(now=clock)
    (tmp_path / "token").write_text("only-token")
    first = await credentials.resolve(upstream)
    clock.at += READ_AGAIN_S
    assert await credentials.resolve(upstream) is first


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"two words", b"a\r\nX-Evil: 1", b"\xff\xfe", b"a\0b"])
async def test_without_a_token_nothing_is_sent(tmp_path, content: bytes | None):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(Outage) as refused:
        await Credentials().resolve(kube(tmp_path))
    assert refused.value.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert str(tmp_path) not in refused.value.detail


async def test_a_file_without_end_is_read_to_a_limit(tmp_path):
    (tmp_path / "token").symlink_to("/dev/zero")
    with pytest.raises(Outage):
        await Credentials().resolve(kube(tmp_path))


def sent(upstream: Upstream, *, agent: str = BOT, subject: str | None = None, groups: tuple[str, ...] = ("bots",)):
    attached = Attached(headers=((b"authorization", b"Bearer a-token"),))
    call = values.a_call()
    who = replace(call.principal, agent=agent, subject=subject, groups=frozenset(groups))
    message = outgoing(upstream, replace(call, upstream="kube", headers=(), principal=who), b"", attached)
    return [(name, value) for name, value in message.headers if name.startswith(b"impersonate-")]


def test_nobody_is_impersonated_unless_the_settings_say_so(tmp_path):
    assert sent(kube(tmp_path)) == []


def test_the_account_acts_for_the_agent_under_a_prefix_of_its_own(tmp_path):
    assert sent(kube(tmp_path, impersonate="agent"), groups=("system:masters", "bots")) == [
        (b"impersonate-user", b"assentry:corp:bot"),
        (b"impersonate-group", b"assentry:bots"),
        (b"impersonate-group", b"assentry:system:masters"),
    ]


def test_the_account_acts_for_the_person_behind_the_agent(tmp_path):
    found = sent(kube(tmp_path, impersonate="subject", prefix="people:"), subject="corp:ann")
    assert found[0] == (b"impersonate-user", b"people:corp:ann")


def test_an_account_that_acts_for_people_never_acts_in_its_own_name(tmp_path):
    with pytest.raises(OperatorFault) as refused:
        sent(kube(tmp_path, impersonate="subject"), subject=None)
    assert refused.value.reason is Reason.CREDENTIAL_UNAVAILABLE


@pytest.mark.parametrize("name", ["corp:jörg", "corp:a\r\nImpersonate-Group: system:masters", "corp:x "])
def test_a_name_that_no_header_can_carry_is_refused(tmp_path, name: str):
    with pytest.raises(OperatorFault):
        sent(kube(tmp_path, impersonate="agent"), agent=name)
    with pytest.raises(OperatorFault):
        sent(kube(tmp_path, impersonate="agent"), groups=(name,))


def test_what_an_agent_says_of_whom_it_speaks_for_never_travels(tmp_path):
    names = ("impersonate-user", "Impersonate-Group", "impersonate-uid", "impersonate-extra-scopes", "x-remote-user")
    upstream = kube(tmp_path).model_copy(update={"headers": tuple(name.lower() for name in names)})
    assert travelling([(name, "system:admin") for name in names], upstream) == ()
