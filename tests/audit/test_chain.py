from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.chain import GENESIS, Entry, Tip, grown, instant, leaf, node, read, root, string

# The test vectors of the certificate-transparency project for RFC 6962 trees.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def by_the_book(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, as written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node(by_the_book(leaves[:split]), by_the_book(leaves[split:]))


@pytest.mark.parametrize("size", ROOTS)
def test_the_roots_are_those_of_the_published_vectors(size: int) -> None:
    assert root(grown(Tip(), [leaf(data) for data in LEAVES[:size]])).hex() == ROOTS[size]


@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_a_tip_that_grows_in_two_steps_has_the_root_of_the_whole_list(data: list[bytes], cut: int) -> None:
    leaves = [leaf(part) for part in data]
    tip = grown(grown(Tip(), leaves[:cut]), leaves[cut:])
    assert root(tip) == by_the_book(leaves)
    assert tip.size == len(leaves)
    assert len(tip.edge) == tip.size.bit_count()


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=1), min_size=1, max_size=20),
    st.integers(0, 20),
)
def test_strung_lines_name_the_hash_of_the_line_before(facts: list[dict[str, int]], cut: int) -> None:
    entries = [
        Entry(json=orjson.dumps({"kind": "k"} | {f"x{name}": n for name, n in part.items()}), at=1.5) for part in facts
    ]
    first = string(Tip(), entries[:cut], chain="c")
    second = string(first.tip, entries[cut:], chain="c")
    last = GENESIS
    for seq, line in enumerate((*first.lines, *second.lines)):
        link = read(line.rstrip(b"\n"))
        assert (link.chain, link.seq, link.prev, link.kind) == ("c", seq, last, "k")
        last = leaf(line.rstrip(b"\n")).hex()
    assert second.tip == grown(Tip(), [leaf(line.rstrip(b"\n")) for line in (*first.lines, *second.lines)])


def plainly(tip: Tip, entries: list[Entry], chain: str) -> list[bytes]:
    """The lines as the documentation of the format has them, with nothing spared."""
    lines, last = [], tip.last
    for seq, entry in enumerate(entries, start=tip.size):
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = b'{"v":1,"chain":"%b","seq":%d,"prev":"%b","at":"%b",'
        line = head % (chain.encode(), seq, last.encode(), at.encode()) + entry.json.removeprefix(b"{")
        last = hashlib.sha256(b"\x00" + line).hexdigest()
        lines.append(line + b"\n")
    return lines


TIMES = (
    st.floats(0, 4e9)
    | st.integers(0, 4 * 10**12).map(lambda number: number / 1000)
    | st.just(1_999_999_999.9999998)
    | st.integers(0, 4_000).map(lambda number: 1_999_999_999 + number / 1_000_000)
    | st.integers(0, 400).map(lambda number: 1_999_999_999.0018 + number / 1_000_000)
)


@given(
    st.lists(st.tuples(st.dictionaries(st.text(max_size=5), st.text(max_size=9), min_size=1), TIMES), max_size=20),
    st.integers(0, 40),
    st.sampled_from(["c", "worker-1_a"]),
)
def test_lines_are_those_of_a_plain_reading_of_the_format(
    records: list[tuple[dict[str, str], float]], before: int, chain: str
) -> None:
    entries = [Entry(json=orjson.dumps(facts), at=at) for facts, at in records]
    tip = grown(Tip(), [leaf(b"%d" % number) for number in range(before)])
    strung = string(tip, entries, chain=chain)
    assert list(strung.lines) == plainly(tip, entries, chain)
    assert strung.payload == b"".join(strung.lines)
    leaves = [leaf(line.removesuffix(b"\n")) for line in strung.lines]
    assert strung.tip == grown(tip, leaves)
    assert root(strung.tip) == by_the_book([*(leaf(b"%d" % number) for number in range(before)), *leaves])


@given(TIMES)
def test_an_instant_is_the_text_that_datetime_makes(at: float) -> None:
    assert instant(at) == datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"v":2,"chain":"c","seq":0,"prev":"","kind":"k"}',
        b'{"v":1,"chain":"c","seq":true,"prev":"","kind":"k"}',
        b'{"v":1,"chain":"c","seq":-1,"prev":"","kind":"k"}',
        b'{"v":1,"chain":"c","seq":"0","prev":"","kind":"k"}',
        b'{"v":1,"chain":1,"seq":0,"prev":"","kind":"k"}',
        b'{"v":1,"chain":"c","seq":0,"prev":"","kind":"segment"}',
        b'{"v":1,"chain":"c","seq":0,"prev":"","kind":"segment","edge":["zz"]}',
        b"\xff",
    ],
)
def test_what_is_no_record_is_not_read_as_one(line: bytes) -> None:
    with pytest.raises(ValueError):
        read(line)


def test_times_are_utc_with_milliseconds() -> None:
    assert instant(1_700_000_000.0) == "2023-11-14T22:13:20.000Z"
    assert instant(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"
