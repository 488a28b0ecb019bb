# ruff: noqa: T201 - a benchmark prints its figures
"""How long naming takes: run as `python -m tests.bench.bench_matcher`; prints microseconds, best of five.

The published GitHub document is used where it is found beside the project; the rest needs nothing.
"""

from __future__ import annotations

import json
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from connectors.apis.catalogue import Catalogue, load
from connectors.apis.matcher import Matcher
from connectors.apis.naming import Namer
from policy.call import Target
from policy.operation import Operation

_GITHUB = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "openapi" / "github.json.gz"
_REFUND = Target(method="POST", path="/v1/refunds")


def main() -> None:
    """Prints every figure."""
    for count in (10, 10_000):
        print(f"match, {count:>6} operations      {_matching(count):8.2f} µs")
    if _GITHUB.exists():
        _github()
    namer = Namer(load(Path("builtin:stripe"), upstream="stripe"), scan_bytes=262_144, json_depth=64)
    form = "application/x-www-form-urlencoded"
    small = b'{"charge":"ch_3MmlLrLkdIwHu7ix","amount":25000,"reason":"requested_by_customer"}'
    encoded = b"charge=ch_3MmlLrLkdIwHu7ix&amount=25000&reason=requested_by_customer"
    look = Target(method="GET", path="/v1/refunds/re_3MmlLrLkdIwHu7ix")
    print(f"name, GET without a body     {_micros(lambda: namer.name(look, None, b'')):8.2f} µs")
    print(f"name, refund as JSON         {_micros(lambda: namer.name(_REFUND, 'application/json', small)):8.2f} µs")
    print(f"name, refund as a form       {_micros(lambda: namer.name(_REFUND, form, encoded)):8.2f} µs")
    for size in (10_000, 250_000):
        prose = json.dumps({"text": "The quick brown fox jumps over 12 lazy dogs a day: see. " * (size // 56)}).encode()
        cost = _micros(lambda body=prose: namer.name(_REFUND, "application/json", body), rounds=5)
        print(f"name, {len(prose):>7} bytes of prose {cost:8.0f} µs")


def _matching(count: int) -> float:
    operations = [_operation(f"/v1/kind{n % 100}/{{id}}/part{n}/{{sub}}") for n in range(count)]
    matcher = Matcher(operations)
    path = f"/v1/kind{(count - 1) % 100}/some-id/part{count - 1}/other-id"
    assert matcher.match("GET", path) is not None
    return _micros(lambda: matcher.match("GET", path))


def _operation(template: str) -> Operation:
    return Operation(name=f"x:{template}", upstream="x", method="GET", template=template)


def _github() -> None:
    begin = time.perf_counter()
    catalogue: Catalogue = load(_GITHUB, upstream="github")
    imported = time.perf_counter()
    matcher = Matcher(catalogue.operations)
    compiled = time.perf_counter()
    path = "/repos/acme/web/issues/42/comments"
    print(f"import, {len(catalogue.operations)} operations   {(imported - begin) * 1e6:8.0f} µs")
    print(f"compile, {len(catalogue.operations)} operations  {(compiled - imported) * 1e6:8.0f} µs")
    print(f"match,   {len(catalogue.operations)} operations  {_micros(lambda: matcher.match('POST', path)):8.2f} µs")


def _micros(work: Callable[[], object], *, rounds: int = 5_000) -> float:
    return min(timeit.repeat(work, number=rounds, repeat=5)) / rounds * 1e6


if __name__ == "__main__":
    main()
