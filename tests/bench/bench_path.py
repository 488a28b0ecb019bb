"""What the pure parts of an allowed call cost, step by step: run as `python -m tests.bench.bench_path [--profile]`.

No two calls are alike, another object or another body each time, so nothing that is remembered of the last call helps
with the next. CPU microseconds, the best of several rounds: on a shared machine the minimum is what the code costs and
the rest is the neighbours.
"""

from __future__ import annotations

import base64
import cProfile
import gc
import hashlib
import json
import pstats
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files

from config.settings import AgentsDoor, Group, Limits, Policy, Settings, Upstream
from connectors.apis.naming import Namer
from policy.call import Call, CallId, Target
from policy.engine import Engine
from policy.principal import Identity, Principal
from policy.verdict import Allow, Refused, Verdict
from proxy import lawbook
from proxy.audit import record
from proxy.audit.redact import Redactor
from proxy.doors.addresses import is_own_host, own_hosts, peer_address
from proxy.doors.arrival import Arrival, BearerText
from proxy.doors.bearer import read_bearer
from proxy.doors.hygiene import Head, read_head
from proxy.doors.patience import read_patience
from proxy.doors.words import read_words
from proxy.ids import new_call_id
from proxy.law import InForce
from proxy.naming import name_call
from proxy.upstream.credentials import Attached
from proxy.upstream.forward import outgoing, travelling
from proxy.upstream.routes import Route, Routes

NOW = 1_767_614_400.0
ROUNDS, TIMES = 7, 1_000
PRINCIPAL = Principal(
    agent=Identity("demo:billing-bot"),
    owner=Identity("demo:olga"),
    groups=frozenset({"billing-agents", "staff", "night"}),
    client="billing-bot",
    token_id="0194e5d2-8f5b-7c5e-9b1f-3a1b2c3d4e5f",
    expires_at=2_000_000_000,
)
TOKEN = ".".join(
    base64.urlsafe_b64encode(hashlib.shake_256(part).digest(size)).rstrip(b"=").decode()
    for part, size in ((b"head", 60), (b"claims", 400), (b"signature", 64))
)
"""As long as a token with a few claims and an ES256 signature: some 700 bytes."""
ATTACHED = Attached(headers=((b"authorization", b"Bearer sk_live_0123456789abcdefghijklmn"),))


@dataclass(slots=True)
class Trip:
    """One call on its way, and what each step made of it."""

    raw: bytes
    body: bytes
    id: CallId
    head: Head
    route: Route
    bearer: BearerText
    travels: tuple[tuple[str, str], ...]
    arrival: Arrival
    call: Call
    verdict: Verdict

    def __init__(self, raw: bytes, body: bytes) -> None:
        self.raw = raw
        self.body = body


Step = Callable[[Trip], object]


def lookups(first: int, count: int) -> Iterator[Trip]:
    """GETs by an SDK: a token and ten headers, about another charge each."""
    for number in range(first, first + count):
        head = (
            f"GET /stripe/v1/charges/ch_{identifier(number)} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
            f"Authorization: Bearer {TOKEN}\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
            "Connection: keep-alive\r\nUser-Agent: OpenAI/Python 3.52.0\r\nX-Stainless-Lang: python\r\n"
            "X-Stainless-Package-Version: 3.52.0\r\nX-Stainless-Read-Timeout: 600\r\n"
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n"
        )
        yield Trip(head.encode(), b"")


def refunds(first: int, count: int) -> Iterator[Trip]:
    """POSTs of some 300 bytes of JSON: another charge and another note each."""
    for number in range(first, first + count):
        note = (
            f"parcel {number} was lost on its way, the customer asked twice and was promised the money back by support"
        )
        asked = {"charge": f"ch_{identifier(number)}", "amount": number, "reason": "duplicate"}
        body = json.dumps({**asked, "metadata": {"note": note, "ticket": f"T-{number}", "by": "billing-bot", "try": 1}})
        body += " " * (300 - len(body))
        head = (
            f"POST /stripe/v1/refunds HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
            f"Authorization: Bearer {TOKEN}\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
            "Connection: keep-alive\r\nUser-Agent: Stripe/v1 PythonBindings/16.1.0\r\nStripe-Version: 2026-01-01\r\n"
            f"Idempotency-Key: {identifier(-number)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        yield Trip(head.encode(), body.encode())


def identifier(number: int) -> str:
    """24 letters and digits, as APIs like them."""
    return base64.b32encode(hashlib.sha256(b"%d" % number).digest()[:15]).decode()


class Path:
    """The demo's law and catalogues, and the steps of a call through them."""

    def __init__(self) -> None:
        with as_file(files("proxy.demo") / "files") as folder:
            upstreams = tuple(
                Upstream(
                    name=name,
                    url="http://127.0.0.1:9",
                    catalogue=folder / "catalogues" / f"{name}.yaml",
                )
                for name in ("stripe", "openai")
            )
            catalogues = lawbook.read_catalogues(upstreams)
            bundle = lawbook.compile_bundle(
                Policy(files=(folder / "policies",)),
                operations=lawbook.operations_of(catalogues),
                groups={name: Group(quorum=2) for name in ("finance-leads", "auditors", "operators")},
                labels=lawbook.labels_of(catalogues),
            )
        self.limits = Limits()
        self.routes = Routes(upstreams)
        self.hosts = own_hosts(Settings(agents=AgentsDoor(listen="127.0.0.1:8080"), upstreams=upstreams))
        self.redactor = Redactor(b"k" * 32)
        self.law = InForce(
            engine=Engine(bundle),
            namers={
                one.upstream: Namer(one, scan_bytes=self.limits.scan_bytes, json_depth=self.limits.json_depth)
                for one in catalogues
            },
            environments={upstream.name: upstream.environment for upstream in upstreams},
            published_at=NOW,
        )

    def steps(self) -> dict[str, Step]:
        """Every step by its name, in the order in which a call takes them."""
        return {
            "new_call_id": self.identify,
            "read_head": self.read,
            "is_own_host": lambda trip: is_own_host(trip.head.host, hosts=self.hosts),
            "Routes.find": self.find,
            "read_bearer": self.bear,
            "peer_address": lambda trip: peer_address("127.0.0.1", forwarded="", trusted=()),
            "travelling": self.cross,
            "read_words": lambda trip: read_words(trip.head.fields),
            "read_patience": lambda trip: read_patience(trip.head.fields, now=NOW),
            "Arrival": self.arrive,
            "name_call": self.name,
            "Engine.judge": self.judge,
            "Engine.judge, again": self.judge,
            "record and encode": self.write,
            "outgoing and wire": lambda trip: outgoing(
                trip.route.upstream, trip.call, trip.body, ATTACHED, traceparent=None
            ).wire(),
        }

    def identify(self, trip: Trip) -> None:
        """Gives the call its id."""
        trip.id = new_call_id()

    def read(self, trip: Trip) -> None:
        """Reads the head."""
        head = read_head(trip.raw, limits=self.limits)
        assert not isinstance(head, Refused), head
        trip.head = head

    def find(self, trip: Trip) -> None:
        """Finds the upstream."""
        route = self.routes.find(trip.head.host, trip.head.path)
        assert route is not None
        trip.route = route

    def bear(self, trip: Trip) -> None:
        """Reads the credential."""
        bearer = read_bearer(trip.head.fields)
        assert isinstance(bearer, str)
        trip.bearer = bearer

    def cross(self, trip: Trip) -> None:
        """Leaves behind the headers that do not travel."""
        trip.travels = travelling(trip.head.headers, trip.route.upstream)

    def arrive(self, trip: Trip) -> None:
        """Puts together what the door hands to the gate."""
        head, route = trip.head, trip.route
        trip.arrival = Arrival(
            id=trip.id,
            upstream=route.upstream.name,
            target=Target(method=head.method, path=route.path, query=head.query),
            headers=trip.travels,
            body=trip.body,
            bearer=trip.bearer,
            peer="127.0.0.1",
            received_at=NOW,
        )

    def name(self, trip: Trip) -> None:
        """Names the call."""
        call = name_call(trip.arrival, PRINCIPAL, law=self.law, sample=5_000)
        assert not isinstance(call, Refused), call
        trip.call = call

    def judge(self, trip: Trip) -> None:
        """Judges it."""
        trip.verdict = self.law.engine.judge(trip.call, now=NOW)

    def write(self, trip: Trip) -> None:
        """Writes its record."""
        self.redactor.encode(record.judged(trip.call, trip.verdict).members)


def measured(trips: Callable[[int, int], Iterator[Trip]]) -> dict[str, float]:
    """CPU microseconds of each step."""
    path = Path()
    best: dict[str, float] = {}
    for turn in range(ROUNDS):
        under_way = list(trips(turn * TIMES + 1, TIMES))
        # What else is alive is not for the collector to look through each time.
        gc.freeze()
        nothing = _cost_us(lambda trip: None, under_way)
        for name, step in path.steps().items():
            best[name] = min(best.get(name, float("inf")), _cost_us(step, under_way) - nothing)
        for trip in under_way:
            assert isinstance(trip.verdict, Allow), trip.verdict
    return best


def _cost_us(step: Step, trips: list[Trip]) -> float:
    began = time.process_time_ns()
    for trip in trips:
        step(trip)
    return (time.process_time_ns() - began) / len(trips) / 1000


def profile(trips: Callable[[int, int], Iterator[Trip]]) -> None:
    """Print where the time of the whole chain goes."""
    path = Path()
    steps = [step for name, step in path.steps().items() if name != "Engine.judge, again"]
    for trip in trips(1, 100):
        for step in steps:
            step(trip)
    under_way = list(trips(1_000, 3 * TIMES))
    with cProfile.Profile() as watched:
        for trip in under_way:
            for step in steps:
                step(trip)
    pstats.Stats(watched, stream=sys.stdout).sort_stats("tottime").print_stats(45)


def main(arguments: list[str]) -> None:
    """Print every figure."""
    cases = {"GET, another object each time": lookups, "POST of 300 bytes, another body each time": refunds}
    if "--profile" in arguments:
        for trips in cases.values():
            profile(trips)
        return
    columns = [measured(trips) for trips in cases.values()]
    print(f"µs of CPU, the demo's law; {' | '.join(cases)}\n")  # noqa: T201
    for name in columns[0]:
        print(f"{name:24s}" + "".join(f"{column[name]:8.2f}" for column in columns))  # noqa: T201
    whole = [sum(column.values()) - column["Engine.judge, again"] for column in columns]
    print(f"{'the path, never seen':24s}" + "".join(f"{figure:8.2f}" for figure in whole))  # noqa: T201
    judgements = [column["Engine.judge"] - column["Engine.judge, again"] for column in columns]
    again = [total - saved for total, saved in zip(whole, judgements, strict=True)]
    print(f"{'… with a known verdict':24s}" + "".join(f"{figure:8.2f}" for figure in again))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
