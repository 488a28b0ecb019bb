"""What Prometheus sees. One registry per running system; names and labels are documented in docs/metrics.md.

Labels come from closed lists or from the catalogue, never from a caller, so that nobody can flood the registry.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from policy.call import Call
from policy.electorate import Act
from policy.hold import Hold, State
from policy.reasons import Reason
from policy.verdict import Allow, Ask, Deny, Verdict

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_DECISION_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 86400)


class Tally:
    """Allowed calls of one operation, counted by plain addition: what is told to Prometheus is told when it looks."""

    __slots__ = ("executed", "permitted", "taken")

    def __init__(self) -> None:
        self.permitted = 0
        """Calls allowed."""
        self.executed = 0
        """Calls answered whole."""
        self.taken = Taken()


class Taken:
    """How long exchanges took: a count for each bucket of `_LATENCY_S` and one beyond, and the sum in seconds."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(_LATENCY_S) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(_LATENCY_S, seconds)] += 1
        self.seconds += seconds


class Meters:
    """Counts what happens. Every method is cheap and never fails."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Exchanges(self))  # First of all: what was only tallied is counted when it is asked.
        self._calls = Counter(
            "assentry_calls", "Calls judged.", ("upstream", "operation", "verdict", "reason"), registry=self.registry
        )
        self._refused = Counter(
            "assentry_refused", "Calls refused before they were judged.", ("reason",), registry=self.registry
        )
        self._outcomes = Counter(
            "assentry_outcomes", "How sent calls ended.", ("upstream", "reason"), registry=self.registry
        )
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._taken: dict[str, Taken] = {}
        self._opened = Counter("assentry_holds_opened", "Calls held.", ("operation",), registry=self.registry)
        self._held_now = Gauge("assentry_held_now", "Calls waiting for a decision now.", registry=self.registry)
        self._settled = Counter(
            "assentry_holds_settled", "Holds that reached a decision or an end.", ("state",), registry=self.registry
        )
        self._decision = Histogram(
            "assentry_decision_seconds",
            "From the hold to its decision.",
            ("tier", "state"),
            buckets=_DECISION_S,
            registry=self.registry,
        )
        self._clicks = Counter(
            "assentry_clicks", "What people did, and why it did not count.", ("act", "refused"), registry=self.registry
        )
        self._policy_errors = Counter(
            "assentry_policy_errors", "Calls denied because a policy failed to evaluate.", registry=self.registry
        )
        self._ledger_queued = Gauge("assentry_ledger_queued", "Records waiting to be written.", registry=self.registry)
        self._sink_lag = Gauge(
            "assentry_sink_lag_records", "Records a sink has yet to take.", ("sink",), registry=self.registry
        )
        self._bundle = Gauge("assentry_bundle", "1 for the bundle in force.", ("digest",), registry=self.registry)
        self._reloads = Counter(
            "assentry_reloads", "Publications of policies and catalogues.", ("result",), registry=self.registry
        )
        self._issuer_alarms = Counter(
            "assentry_issuer_alarms",
            "Times keys of an issuer could not be fetched.",
            ("issuer",),
            registry=self.registry,
        )

    def judged(self, call: Call, verdict: Verdict) -> None:
        """A call got its verdict."""
        word, reason = _told(verdict)
        self._calls.labels(call.upstream, call.operation.name, word, reason.value).inc()
        if reason is Reason.POLICY_ERROR:
            self._policy_errors.inc()

    def refused(self, reason: Reason) -> None:
        """A call was refused before anyone judged it."""
        self._refused.labels(reason.value).inc()

    def concluded(self, call: Call, reason: Reason, took_ms: float) -> None:
        """A sent call came to its end."""
        self._outcomes.labels(call.upstream, reason.value).inc()
        self._taken.setdefault(call.upstream, Taken()).add(took_ms / 1000)

    def tally(self, call: Call) -> Tally:
        """Where to add up the allowed calls of this call's operation."""
        return self._tallies.setdefault((call.upstream, call.operation.name), Tally())

    def exchanges(self) -> Iterator[tuple[str, Taken]]:
        """How long exchanges took, by upstream. Counts what was tallied until now."""
        for (upstream, operation), tally in self._tallies.items():
            self._calls.labels(upstream, operation, "allow", Reason.PERMITTED.value).inc(tally.permitted)
            self._outcomes.labels(upstream, Reason.EXECUTED.value).inc(tally.executed)
            taken = self._taken.setdefault(upstream, Taken())
            taken.counts = [a + b for a, b in zip(taken.counts, tally.taken.counts, strict=True)]
            taken.seconds += tally.taken.seconds
            tally.permitted, tally.executed, tally.taken = 0, 0, Taken()
        yield from self._taken.items()

    def held(self, hold: Hold) -> None:
        """A call was held."""
        self._opened.labels(hold.call.operation.name).inc()

    def held_now(self, holds: int) -> None:
        """So many calls wait for a decision."""
        self._held_now.set(holds)

    def settled(self, hold: Hold, *, now: float) -> None:
        """A hold reached a decision or an end at `now`, in the store's time."""
        self._settled.labels(hold.state.value).inc()
        if hold.state in {State.APPROVED, State.REJECTED, State.EXPIRED, State.WITHDRAWN}:
            tier = hold.call.operation.tier.value
            self._decision.labels(tier, hold.state.value).observe(max(0.0, now - hold.opened_at))

    def clicked(self, act: Act, refused: Reason | None) -> None:
        """Someone clicked."""
        self._clicks.labels(act.value, refused.value if refused else "").inc()

    def ledger(self, *, queued: int, lag: dict[str, int]) -> None:
        """How far the ledger and its sinks are behind."""
        self._ledger_queued.set(queued)
        for sink, records in lag.items():
            self._sink_lag.labels(sink).set(records)

    def published(self, digest: str | None) -> None:
        """A publication is in force, or (None) was refused and the last good one stays."""
        self._reloads.labels("ok" if digest else "refused").inc()
        if digest:
            self._bundle.clear()
            self._bundle.labels(digest).set(1)

    def issuer_alarm(self, issuer: str) -> None:
        """The keys of an issuer could not be fetched."""
        self._issuer_alarms.labels(issuer).inc()

    def text(self) -> bytes:
        """Everything, in the Prometheus text format."""
        return generate_latest(self.registry)


class _Exchanges(Collector):
    """The histogram of exchanges, in Prometheus' own terms."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "assentry_exchange_seconds",
            "From the recorded intent to the end of the upstream's answer.",
            labels=("upstream",),
        )
        bounds = [*(str(float(bound)) for bound in _LATENCY_S), "+Inf"]
        for upstream, taken in self._meters.exchanges():
            family.add_metric((upstream,), list(zip(bounds, accumulate(taken.counts), strict=True)), taken.seconds)
        yield family


def _told(verdict: Verdict) -> tuple[str, Reason]:
    match verdict:
        case Allow():
            return "allow", Reason.PERMITTED
        case Ask():
            return "ask", Reason.NEEDS_APPROVAL
        case Deny():
            return "deny", verdict.reason
        case _:
            assert_never(verdict)
