"""The law in force on this replica: one engine and the namers of one publication, swapped as a whole.

Asks the law; decides nothing itself. Whoever needs both a name and a ruling takes `current` once, so that a reload in
between cannot mix two publications.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.apis.naming import Namer
from policy.call import Call, Recent
from policy.engine import Engine
from policy.verdict import Allow, Approvals, Verdict
from proxy.holds.counters import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One publication: a bundle and the catalogues it was compiled against."""

    engine: Engine
    namers: Mapping[str, Namer]
    """By upstream name."""
    environments: Mapping[str, str]
    """What policies see as `context.req.env`, by upstream name."""
    published_at: float
    is_changed: Callable[[str, str], bool] = lambda operation, pinned: False  # noqa: ARG005
    """Whether a tool, by its operation, was lately seen with another definition than the one pinned here."""


class Law:
    """Judges calls by what is in force now."""

    def __init__(self, in_force: InForce, *, counters: Counters, now: Callable[[], float]) -> None:
        self.current = in_force
        self._counters = counters
        self._now = now

    async def judge(
        self, call: Call, approvals: Approvals = Approvals(), *, by: InForce, spend: bool = True
    ) -> Verdict:
        """The ruling on a call `by` the publication that also named it.

        Where policies read how often, a call is judged as if it were counted; one that would be sent (`spend`) is then
        counted and judged again by what it was told, so that two calls at once cannot both be the last one allowed.

        Raises Outage when counting is needed and the store does not answer.
        """
        verdict = self.judge_at_once(call, approvals, by=by)
        if verdict is not None:
            return verdict
        engine = by.engine
        agent, operation, amount = call.principal.agent, call.operation.name, call.amount_minor
        recent = await self._counters.foretell(agent, operation, amount)
        verdict = engine.judge(call, now=self._now(), recent=recent, approvals=approvals)
        if not (spend and isinstance(verdict, Allow)):
            return verdict
        counted = await self._counters.add(agent, operation, amount)
        verdict = engine.judge(call, now=self._now(), recent=counted.recent, approvals=approvals)
        if not isinstance(verdict, Allow):
            await self._counters.take_back(counted)
        return verdict

    def judge_at_once(self, call: Call, approvals: Approvals = Approvals(), *, by: InForce) -> Verdict | None:
        """The same ruling where nothing has to be counted; None where it has.

        A call in parts is not counted: it is refused if a policy counts any of them.
        """
        if call.parts:
            return by.engine.judge(call, now=self._now(), recent=None, approvals=approvals)
        if by.engine.reads_recent(call.operation.name):
            return None
        return by.engine.judge(call, now=self._now(), recent=Recent(), approvals=approvals)
