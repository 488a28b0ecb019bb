"""What a reader of the figures has to know: what each variant does for a call, and how it is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.bench import variants
from tests.bench.product import OPERATIONS, POLICIES
from tests.bench.table import Table

_ASKED = "verified by the app, then remembered", "an aiohttp app is asked", "by the app, a line a call, unsynced"
WORK: Mapping[str, tuple[str, str, str]] = {
    variants.OURS: (
        "verified, then remembered",
        f"Cedar, {POLICIES} policies over a catalogue of {OPERATIONS}",
        "what was decided and what came of it, chained, written",
    ),
    variants.NGINX: ("passed on", "none", "none"),
    variants.NGINX_AUTH: _ASKED,
    variants.HAPROXY: ("verified each time", "by method and path", "none"),
    variants.ENVOY_JWT: ("verified, then remembered", "by method, path and subject", "none"),
    variants.ENVOY_AUTHZ: _ASKED,
    variants.CADDY: _ASKED,
    variants.GO: ("verified, then remembered", "by route and subject, remembered", "a line a call, unsynced"),
    variants.MITMPROXY: ("verified, then remembered", "by an add-on, as the app does", "a line a call, unsynced"),
}
METHOD = """\
The thing under test has one core to itself and one worker on it; the load and the upstream share the other. All keep
their connections to the upstream open, drop the bearer (nginx by itself does not) and write no access log. The call is
a GET with an RS256 bearer, answered with 1 KiB of JSON, over {connections} keep-alive connections, except where a table
says otherwise. Rounds of all variants are interleaved in random order, and each figure is the median of its rounds. CPU
is that of every process under test, the gate's store and an authorizer included. Rounds in which neighbours had a tenth
of the cores or more do not count where at least three others are left; with busy neighbours all the same, a ratio is of
calls in a second of CPU."""


def work_table(names: Iterable[str]) -> Table:
    """What these variants do for a call."""
    return Table(
        heading="What each does for a call",
        note="The gate does all it ever does, metrics and the counters of its policies included.",
        columns=("variant", "token", "decision", "record"),
        rows=[(name, *WORK[name]) for name in names if name in WORK],
    )
