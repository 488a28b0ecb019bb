"""Requests that two readers may read differently, by the rows of the threat model. Each: a name, bytes, statuses."""

from __future__ import annotations

from itertools import chain

H = b"Host: localhost\r\n"
BODY = b"hello"


def _post(*lines: bytes, body: bytes = BODY) -> bytes:
    return b"POST /api/x HTTP/1.1\r\n" + H + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _get(*lines: bytes, start: bytes = b"GET /api/x HTTP/1.1", host: bytes = H) -> bytes:
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
TE = b"Transfer-Encoding: chunked"

F1 = {
    "cl and te": _post(b"Content-Length: 5", TE, body=CHUNKS),
    "te and cl": _post(TE, b"Content-Length: 5", body=CHUNKS),
    "te under http/1.0": b"POST /api/x HTTP/1.0\r\n" + H + TE + b"\r\n\r\n" + CHUNKS,
    "empty te and cl": _post(b"Transfer-Encoding:", b"Content-Length: 5"),
    "empty te alone": _post(b"Transfer-Encoding:", body=b""),
}
F2 = {
    f"content-length {value!r}": _post(b"Content-Length: " + value)
    for value in (
        b"+5", b"-5", b"0x5", b"5, 5", b"5,5", b"5 5", b"5;", b"05", b"5.0", b"5e0", b"", b"\xd9\xa5", b"\xef\xbc\x95",
        b"five", b"5_0", b"5\x0b", b"\x005",
    )
} | {
    "two equal content-lengths": _post(b"Content-Length: 5", b"Content-Length: 5"),
    "two different content-lengths": _post(b"Content-Length: 5", b"Content-Length: 6"),
    "content-length twice in case": _post(b"Content-Length: 5", b"content-length: 5"),
}  # fmt: skip
F3 = {
    f"te {value!r}": _post(b"Transfer-Encoding: " + value, body=CHUNKS)
    for value in (
        b"gzip, chunked", b", chunked", b"chunked,", b"chunked, chunked", b"chunked;q=1", b"identity", b"xchunked",
        b"\x0bchunked", b"chunked\x0c", b"chun\x00ked", b"chunk\xc3\xa9d", b'"chunked"', b"Chunked\xa0", b"CHUNKED",
        b"chunked\r\n , gzip",
    )
} | {
    "te before colon space": _post(b"Transfer-Encoding : chunked", body=CHUNKS),
    "te twice": _post(TE, TE, body=CHUNKS),
    "te with underscore": _post(b"Transfer_Encoding: chunked", b"Content-Length: 5"),
    "te folded": _post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS),
}  # fmt: skip
F4 = {
    f"chunks {body[:24]!r}": _post(TE, body=body)
    for body in (
        b"0x5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n",
        b"5_\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n", b"4\r\nhello\r\n0\r\n\r\n", b"6\r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"7fffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0;\x01\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n", b"5\r\nhello\r\n0\r\nA: b\n\r\n", b"5\r\nhello\r\n0\r\n A: b\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 3000 + b"\r\n",
    )
}  # fmt: skip
F6 = {
    "bare lf": b"GET /api/x HTTP/1.1\nHost: localhost\n\n",
    "bare lf in the middle": b"GET /api/x HTTP/1.1\r\nHost: localhost\nA: b\r\n\r\n",
    "bare cr": _get(b"A: b\rC: d"),
    "nul in value": _get(b"A: b\x00c"),
    "nul in name": _get(b"A\x00: b"),
    "control in value": _get(b"A: b\x07"),
    "del in value": _get(b"A: b\x7f"),
    "obs-fold": _get(b"A: b", b" c"),
    "obs-fold first": b"GET /api/x HTTP/1.1\r\n A: b\r\n" + H + b"\r\n",
    "space before colon": _get(b"A : b"),
    "no colon": _get(b"nonsense"),
    "empty name": _get(b": b"),
    "space in name": _get(b"A B: c"),
    "underscore": _get(b"X_Forwarded_User: root"),
    "non-ascii value": _get(b"A: \xc3\xa9"),
    "two spaces before target": _get(start=b"GET  /api/x HTTP/1.1"),
    "two spaces before version": _get(start=b"GET /api/x  HTTP/1.1"),
    "tab in request line": _get(start=b"GET\t/api/x HTTP/1.1"),
    "empty line first": b"\r\n" + _get(),
    "space first": b" " + _get(),
    "version in small letters": _get(start=b"GET /api/x http/1.1"),
    "trailing space": _get(start=b"GET /api/x HTTP/1.1 "),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
F7 = {
    "no host": b"GET /api/x HTTP/1.1\r\n\r\n",
    "no host under http/1.0": b"GET /api/x HTTP/1.0\r\n\r\n",
    "empty host": _get(host=b"Host:\r\n"),
    "two hosts": _get(host=H + H),
    "absolute form": _get(start=b"GET http://localhost/api/x HTTP/1.1"),
    "absolute form of another": _get(start=b"GET http://evil.example/api/x HTTP/1.1"),
    "authority form": _get(start=b"GET localhost:80 HTTP/1.1"),
    "asterisk form": _get(start=b"OPTIONS * HTTP/1.1"),
}
F7_HOSTS = {
    f"host {value!r}": _get(host=b"Host: " + value + b"\r\n")
    for value in (
        b"localhost, localhost", b"user@localhost", b"localhost/x", b"evil.example", b"localhost:80:80", b"localhost:",
        b"localhost.", b"local host", b"localhost#", b"[::1", b"127.1", b"2130706433", b"localhost:999999",
    )
}  # fmt: skip
F8 = {
    "http/0.9": (b"GET /api/x\r\n\r\n", 505),
    "http/0.9 with headers": (b"GET /api/x\r\n" + H + b"\r\n", 505),
    "http/2.0": (_get(start=b"GET /api/x HTTP/2.0"), 505),
    "http/1.2": (_get(start=b"GET /api/x HTTP/1.2"), 505),
    "http/3.1": (_get(start=b"GET /api/x HTTP/3.1"), 505),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505),
    "h2c": (_get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQ"), 501),
    "websocket": (_get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"), 501),
    "unknown upgrade": (_get(b"Connection: Upgrade", b"Upgrade: TLS/1.0"), 501),
    "upgrade with a body": (_post(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5"), 501),
    "upgrade without connection": (_get(b"Upgrade: websocket"), 501),
    "connect": (_get(start=b"CONNECT localhost:80 HTTP/1.1"), 405),
    "trace": (_get(start=b"TRACE /api/x HTTP/1.1"), 405),
    "small letters": (_get(start=b"get /api/x HTTP/1.1"), 405),
    "unknown method": (_get(start=b"PURGE /api/x HTTP/1.1"), 405),
    "propfind": (_get(start=b"PROPFIND /api/x HTTP/1.1"), 405),
}
F10 = {
    "5,000 headers": (_get(*(b"A%d: b" % number for number in range(5000))), 431),
    "101 headers": (_get(*(b"A%d: b" % number for number in range(100))), 431),
    "a header of 64 KiB": (_get(b"A: " + b"b" * 65_536), 431),
    "a target of 64 KiB": (_get(start=b"GET /api/" + b"x" * 65_536 + b" HTTP/1.1"), 414),
    "a request line without end": (b"GET /" + b"x" * 65_536, 414),
    "headers without end": (b"GET /api/x HTTP/1.1\r\n" + H + b"A: b\r\n" * 20_000, 431),
    "content-length 10^10": (_post(b"Content-Length: 10000000000"), 413),
    "content-length of 5,000 digits": (_post(b"Content-Length: " + b"9" * 5000), 413),
    "chunks over the limit": (_post(TE, body=b"fffffff\r\n"), 413),
}
F11 = {
    "unknown expectation": (_post(b"Expect: 200-ok", b"Content-Length: 5"), 417),
    "two expectations": (_post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5"), 400),
    "connection nominates host": (_get(b"Connection: host"), 400),
    "connection nominates authorization": (_get(b"Connection: close, Authorization", b"Authorization: Bearer x"), 400),
    "connection nominates x-forwarded-for": (_get(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 10.0.0.1"), 400),
    "connection nominates content-type": (
        _post(b"Connection: Content-Type", b"Content-Type: a/b", b"Content-Length: 5"),
        400,
    ),
}
REPEATS = {
    f"two {name.decode()}": _post(name + b": a", name + b": a", b"Content-Length: 5")
    for name in (b"Authorization", b"Content-Type", b"Content-Encoding", b"Idempotency-Key", b"X-Api-Key", b"api-key")
} | {"two kinds of credential": _get(b"Authorization: Bearer a", b"X-Api-Key: b")}
P8 = {
    f"content-encoding {value!r}": (_post(b"Content-Encoding: " + value, b"Content-Length: 5"), 415)
    for value in (
        b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"identity, gzip", b"Gzip", b"aes128gcm", b"",
    )
}  # fmt: skip

ALL: dict[str, tuple[bytes, frozenset[int]]] = {
    **{name: (raw, frozenset({400})) for name, raw in chain(F1.items(), F2.items(), F3.items(), F6.items())},
    **{name: (raw, frozenset({400})) for name, raw in chain(REPEATS.items(), F7.items())},
    **{name: (raw, frozenset({400, 413, 431})) for name, raw in F4.items()},
    **{name: (raw, frozenset({400, 421})) for name, raw in F7_HOSTS.items()},
    **{name: (raw, frozenset({status})) for name, (raw, status) in chain(F8.items(), F10.items(), F11.items())},
    **{name: (raw, frozenset({status})) for name, (raw, status) in P8.items()},
}

TARGETS = (
    "/api/../admin", "/api/./x", "/api/..", "/api/.", "/api/%2e%2e/admin", "/api/%2E/x", "/api/.%2e/x",
    "/api/%252e%252e/x", "/api/a%2fb", "/api/a%2Fb", "/api/a%5cb", "/api/a\\b", "/api//x", "//api/x", "/api/x//",
    "/api/..;/admin", "/api/x;a=b", "/api/x%3ba=b", "/api/%00", "/api/x%00.json", "/api/%0d%0aX", "/api/%7f",
    "/api/%c0%ae%c0%ae/x", "/api/%e0%80%af", "/api/%ff", "/api/%u002e", "/api/%", "/api/%2", "/api/%zz",
    "/api/%ef%bc%8e%ef%bc%8e/x", "/api/%ef%bc%8fx", "/api/x.", "/api/x./y", "/api/x%20", "/api/x%20/y",
    "/api/x%e2%80%8b", "/api/x%e2%80%ae", "/api/x%c2%ad", "/api/x%ef%bb%bf", "/api/%61dmin", "/api/%41", "/api/a%2db",
    "/api/a%5fb", "/api/%39", "/api/x#f", "/api/x?a#f", "/api/x?", "/api/x%3fa", "/api/x%23", "/api/x?a=%zz",
    "/api/x?a=%00", "/api/x?a=%1b", "/api/x?a=%ff", "/api/x?a;b", "/api/x?a\\b", "/api/x?a=<b>", '/api/x?a="b"',
    "/api/é", "/api/x?é", "/api/<x>", "/api/{x}", "/api/a|b", "/api/`", "/api/^", "/api/x%cc%88", "api/x", "?a=b",
    "/api/%e2%84%ab",
)  # fmt: skip
"""Targets of rows P1 and P2 that are refused."""

CLEAN_TARGETS = (
    "/api", "/api/", "/api/v1/charges/ch_1", "/api/a~b", "/api/a%7Eb", "/api/a%20b", "/api/a+b", "/api/a:b@c",
    "/api/a,b", "/api/a(b)'c'!*", "/api/x=y&z", "/api/$batch", "/api/%E3%81%82", "/api/%C3%A9", "/api/a.b",
    "/api/.well-known", "/api/...a", "/api/x?a=b&a=c", "/api/x?expand[]=data&expand%5B%5D=x",
    "/api/x?u=https%3A%2F%2Fe.example%2F%2e%2e%3Fa%23b", "/api/x?a=?b/c", "/api/x?a=%61",
    "/api/x?t=line%0D%0Aline%09", "/api/x?f={a}|b^", "/api/x?a=b+c%20d", "/api/x?%3B",
)  # fmt: skip
"""Targets that one may send, and that reach the gate byte for byte."""
