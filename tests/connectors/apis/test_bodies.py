"""What stands in a body."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.apis.bodies import Document, Form, Malformed, Nothing, Opaque, Prose, document, form, media_type, read
from tests.connectors.apis.examples import FORM, JSON


def test_no_bytes_are_no_body_whatever_the_type():
    assert read(JSON, b"", json_depth=64) == Nothing()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":[1,true,null,"x"]}', {"a": [1, True, None, "x"]}),
        (b" [1] \n", [1]),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b'{"a":1,"b":{"a":2}}', {"a": 1, "b": {"a": 2}}),
    ],
)
def test_good_json_is_read(text, value):
    assert document(text, json_depth=64) == Document(root=value)


def test_numbers_keep_their_decimal_text():
    body = document(b'{"a":12.50,"b":1e2,"c":12345678901234567890}', json_depth=64)
    assert isinstance(body, Document)
    assert {key: str(value) for key, value in body.root.items()} == {
        "a": "12.50",
        "b": "1E+2",
        "c": "12345678901234567890",
    }
    assert isinstance(body.root["b"], Decimal)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"o":{"a":1,"a":2}}',
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b"{} {}",
        b"{}x",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1/*c*/}',
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":0x10}',
        b'{"a":"\n"}',
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" + b"9" * 10_000 + b"]",
        b"[1e99999999999999999999]",
        b"",
    ],
)
def test_json_that_two_parsers_read_differently_is_refused(text):
    assert isinstance(document(text, json_depth=64), Malformed)


def test_depth_counts_what_is_nested_and_not_what_stands_in_a_row():
    assert isinstance(document(b"[" + b"[]," * 500 + b"[]]", json_depth=2), Document)
    assert isinstance(document(b'{"a":"' + b"[{" * 500 + b'"}', json_depth=2), Document)
    assert isinstance(document(b"[[[]]]", json_depth=2), Malformed)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_a_strict_encoder_writes_is_read_back(value):
    body = document(json.dumps(value).encode(), json_depth=64)
    assert isinstance(body, Malformed) if _has_lone(value) else body == Document(root=value)


def _has_lone(value: object) -> bool:
    return any("\\ud" in json.dumps(c) and 0xD800 <= ord(c) <= 0xDFFF for c in str(value))


@given(
    st.binary(max_size=200), st.sampled_from([JSON, FORM, "multipart/form-data; boundary=b", "text/plain", "x", None])
)
def test_no_bytes_make_a_reading_fail(body, content_type):
    read(content_type, body, json_depth=8)


def test_a_form_becomes_a_tree_by_its_brackets():
    body = form(b"amount=5&card[number]=4242&card[exp][y]=30&expand[]=a&expand[]=b&q=a+b%20c", depth=64)
    assert body == Form(
        root={
            "amount": "5",
            "card": {"number": "4242", "exp": {"y": "30"}},
            "expand": {"": ["a", "b"]},
            "q": "a b c",
        }
    )


@pytest.mark.parametrize(
    ("text", "root"),
    [
        (b"a=1&a=2", {"a": ["1", "2"]}),
        (b"a=1&a=1", {"a": ["1", "1"]}),
        (b"a=1&a[b]=2", {"a": ["1", {"b": "2"}]}),
        (b"a[b]=2&a=1", {"a": [{"b": "2"}, "1"]}),
        (b"a=1&a[b]=2&a[c]=3", {"a": ["1", {"b": "2", "c": "3"}]}),
        (b"a=1&%61=2", {"a": ["1", "2"]}),
    ],
)
def test_what_meets_in_one_place_of_a_form_stays_visible_as_a_list(text, root):
    assert form(text, depth=64) == Form(root=root)


@pytest.mark.parametrize(
    "text", [b"a=1;b=2", b"a=%zz", b"a=%f", b"a=%", b"a=%ff", b"a=\xc3\xa9", b"a" + b"[x]" * 65 + b"=1", b"a&" * 10_001]
)
def test_a_form_that_two_parsers_read_differently_is_refused(text):
    assert isinstance(form(text, depth=64), Malformed)


def multipart(*parts: str) -> bytes:
    return "".join(f"--b\r\n{part}\r\n" for part in parts).encode() + b"--b--\r\n"


def part(name: str, value: str, more: str = "") -> str:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}'


def test_text_parts_of_a_multipart_body_are_fields_and_files_are_noted():
    content_type = "multipart/form-data; boundary=b"
    body = multipart(part("purpose", "x"), part("meta[a]", "1"), part("file", "bytes", '; filename="f.txt"'))
    assert read(content_type, body, json_depth=9) == Form(
        root={"purpose": "x", "meta": {"a": "1"}, "file": None}, files=True
    )
    assert read(content_type, multipart(part("a", "1")), json_depth=9) == Form(root={"a": "1"})


@pytest.mark.parametrize(
    "body",
    [
        b"preamble" + multipart(part("a", "1")),
        multipart(part("a", "1")) + b"epilogue",
        multipart(part("a", "1")).replace(b"\r\n", b"\n"),
        multipart(part("a", "1"))[:-4],
        multipart('Content-Disposition: form-data; name="a"; name="b"\r\n\r\n1'),
        multipart("Content-Disposition: form-data; name=a\r\n\r\n1"),
        multipart('Content-Disposition: form-data; name="a%22"\r\n\r\n1'),
        multipart('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\nMQ=='),
        multipart('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"\r\n\r\n1'),
        multipart('Content-Disposition: form-data;\r\n name="a"\r\n\r\n1'),
        multipart('Content-Disposition: attachment; name="a"\r\n\r\n1'),
        multipart("1"),
    ],
)
def test_a_multipart_body_that_two_parsers_read_differently_is_refused(body):
    assert isinstance(read("multipart/form-data; boundary=b", body, json_depth=9), Malformed)


def test_a_multipart_type_without_a_sound_boundary_is_refused():
    for boundary in ("", "; boundary=", '; boundary=" "', "; boundary=" + "b" * 71):
        found = read(f"multipart/form-data{boundary}", multipart(part("a", "1")), json_depth=9)
        assert isinstance(found, (Malformed, Opaque))


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"]
)
def test_json_is_known_by_its_type_in_any_case_and_by_its_suffix(content_type):
    assert read(content_type, b"{}", json_depth=9) == Document(root={})


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "json",
        "application/octet-stream",
        "application/msgpack",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "application/json, text/plain",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset",
    ],
)
def test_a_type_nobody_reads_or_two_read_differently_is_opaque(content_type):
    assert read(content_type, b"{}", json_depth=9) == Opaque()


def test_text_is_prose_if_it_is_utf8():
    assert read("text/plain", b"{}", json_depth=9) == Prose(text="{}")
    assert read("application/soap+xml", b"<a/>", json_depth=9) == Prose(text="<a/>")
    assert read("text/plain", b"\xff", json_depth=9) == Opaque()


def test_a_media_type_gives_its_parameters():
    media = media_type('Multipart/Form-Data; boundary="a b"; charset=utf-8')
    assert media is not None
    assert (media.name, media.parameters) == ("multipart/form-data", {"boundary": "a b", "charset": "utf-8"})
