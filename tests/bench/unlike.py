"""Calls that are not alike: what a repeated GET hides, for the gate and the peers that decide as it does.

Another path each time, of so many that no cache of one is of use; and another body each time, which the gate reads and
the peers do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.bench.load import Load
from tests.bench.rounds import Plan
from tests.bench.running import Live, Run
from tests.bench.site import TICKETS
from tests.bench.throughput import Throughput, throughput
from tests.bench.variants import ENVOY_JWT, GO, NGINX_AUTH, OURS

BESIDE = (OURS, GO, ENVOY_JWT, NGINX_AUTH)
PATHS = 10_000
BODY_BYTES = 300
ANOTHER_PATH, ANOTHER_BODY = "another path each", "another body each"

ByKind = Mapping[str, Mapping[str, Throughput]]


def unlike(run: Run, live: Sequence[Live], *, plan: Plan) -> ByKind:
    """By kind of calls and name."""
    chosen = [one for one in live if one.name in BESIDE]
    return {kind: throughput(replace(run, load=load), chosen, plan=plan) for kind, load in _loads(run.load).items()}


def _loads(load: Load) -> Mapping[str, Load]:
    return {
        ANOTHER_PATH: replace(load, target=f"{TICKETS}/{{n}}", distinct=PATHS),
        ANOTHER_BODY: replace(load, method="POST", target=TICKETS, body=_body()),
    }


def _body() -> str:
    ticket = {"priority": 3, "subject": "The invoice {n} was paid twice", "requester": "olga@example.test", "text": ""}
    missing = BODY_BYTES - len(json.dumps(ticket).replace("{n}", "00000000"))
    return json.dumps({**ticket, "text": "Please look into it. ".ljust(missing, "x")})
