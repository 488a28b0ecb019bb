"""Puts policies and catalogues in force: read, compiled, proved harmless, swapped as one.

When a publication is tried is `proxy.reload`'s decision; what is wrong with a policy is `policy.bundle`'s. A
publication that is refused changes nothing but the ledger, which says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from config.settings import Settings
from connectors.apis.errors import CatalogueRefused, Fault
from connectors.apis.naming import Namer
from policy.engine import Engine
from policy.errors import BundleRefused, Problem
from policy.reasons import Reason
from proxy import lawbook
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.errors import BrokenPromise, OperatorFault
from proxy.holds.counters import Counters
from proxy.law import InForce, Law


class Publication:
    """What is in force, and how to replace it."""

    def __init__(
        self,
        settings: Settings,
        *,
        counters: Counters,
        ledger: Ledger,
        is_changed: Callable[[str, str], bool],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._ledger = ledger
        self._is_changed = is_changed
        self._now = now
        self._law: Law | None = None

    @property
    def law(self) -> Law:
        """The law, once something is in force."""
        if self._law is None:
            raise BrokenPromise(Reason.INTERNAL, "Nothing is in force yet.")
        return self._law

    async def publish(self) -> str:
        """The digest of what is in force now. What is not good raises OperatorFault and changes nothing."""
        try:
            in_force = await asyncio.to_thread(self._compiled)
        except (BundleRefused, CatalogueRefused) as refused:
            await self._record_refusal(refused)
            what = "The policies are" if isinstance(refused, BundleRefused) else "A catalogue is"
            raise OperatorFault(Reason.POLICY_ERROR, f"{what} refused: {refused}") from refused
        digest = in_force.engine.bundle.digest
        await self._ledger.record(record.published(digest), Durability.SYNCED)
        if self._law is None:
            self._law = Law(in_force, counters=self._counters, now=self._now)
        else:
            self._law.current = in_force
        return digest

    async def _record_refusal(self, refused: BundleRefused | CatalogueRefused) -> None:
        standing = self._law.current.engine.bundle.digest if self._law else ""
        problems = [one if isinstance(one, Problem) else _problem(one) for one in refused.problems]
        await self._ledger.record(record.published(standing, problems), Durability.WRITTEN)

    def _compiled(self) -> InForce:
        limits = self._settings.limits
        catalogues = lawbook.read_catalogues(self._settings.upstreams)
        bundle = lawbook.compile_in_child(
            self._settings.policy,
            operations=lawbook.operations_of(catalogues),
            groups=self._settings.groups,
            labels=lawbook.labels_of(catalogues),
        )
        engine = Engine(bundle)
        lawbook.self_test(engine)
        return InForce(
            engine=engine,
            namers={
                one.upstream: Namer(one, scan_bytes=limits.scan_bytes, json_depth=limits.json_depth)
                for one in catalogues
            },
            environments={upstream.name: upstream.environment for upstream in self._settings.upstreams},
            published_at=self._now(),
            is_changed=self._is_changed,
        )


def _problem(fault: Fault) -> Problem:
    # Catalogues are data: a fault is found by its keys, not by a line.
    return Problem(file=fault.file, line=1, column=1, message=f"{fault.where}: {fault.message}".removeprefix(": "))
