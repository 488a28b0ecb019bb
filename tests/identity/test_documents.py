"""What is read from issuers, and where it may be read from, as values."""

from __future__ import annotations

import pytest

from proxy.errors import Outage
from proxy.identity.documents import may_fetch
from proxy.identity.issuers import KeySource
from proxy.identity.jsontext import NotJson, json_object
from tests.fakes.issuer import JWKS, FakeIssuer


@pytest.mark.parametrize(
    "raw",
    [
        *(b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":' + b"1" * 25 + b"}", b'{"a":' + b"1" * 5000 + b"}"),
        *(
            b'{"a":1,"a":1}',
            b'{"a":1,"\\u0061":2}',
            b'{"b":{"a":1,"a":1}}',
            b"\xef\xbb\xbf{}",
            b'{"a":"\xff"}',
            b"{} {}",
        ),
        *(
            b"",
            b"[]",
            b"null",
            b'"a"',
            b"[" * 100_000,
            b'{"a":' * 100_000,
            "{}".encode("utf-16"),
            "{}".encode("utf-32-le"),
        ),
    ],
    ids=lambda raw: repr(raw)[:24],
)
def test_what_two_readers_could_read_differently_is_not_json(raw):
    with pytest.raises(NotJson):
        json_object(raw)


def test_an_ordinary_object_is_read_as_it_stands():
    assert json_object(b' {"a":[1,2.5,"\xc3\xa9",null,true],"b":{"a":1}} ') == {
        "a": [1, 2.5, "é", None, True],
        "b": {"a": 1},
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://idp.example.test/jwks",
        "http://127.0.0.1:8080/",
        "http://[::1]/x",
        "http://localhost/",
        "http://127.9.9.9",
    ],
)
def test_keys_come_over_https_or_from_this_machine(url):
    assert may_fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://idp.example.test/",
            "http://localhost.example.test/",
            "http://127.0.0.1.example.test/",
            "http://0.0.0.0/",
        ),
        *(
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "https://name:word@idp.example.test/",
            "https://@idp.example.test/",
        ),
        *("https://idp.example.test/#a", "https:///jwks", "https://", "file:///etc/passwd", "", "http://[::1", "//a/b"),
        *("https://idp.example.test:99999/", "ws://127.0.0.1/", "http://2130706433/", "http://127.1/"),
    ],
)
def test_nothing_else_is_asked(url):
    assert not may_fetch(url)


async def test_metadata_is_not_asked_over_plain_http_of_another_machine():
    """Its keys are named in the settings, so the issuer's own address was no obstacle until now."""
    async with FakeIssuer() as idp:
        keys = KeySource([idp.settings(issuer="http://idp.example.test", jwks_uri=idp.url + JWKS)])
        with pytest.raises(Outage) as caught:
            await keys.metadata("corp")
        assert "neither https nor loopback" in caught.value.detail
        await keys.close()
