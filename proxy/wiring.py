"""Settings into a running system: the only place where adapters are made, and the owner of every background task.

Order of start: what everything needs first (store, ledger), then the law, then who may come in, then the doors. Order
of stop: no new calls, then what is being sent, then clocks and watchers, then the ledger, then the store. Longer than
400 lines because everything is made here: each new part is a few lines more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b

from config.load import Loaded, load
from config.settings import Settings, SignIn
from policy.call import CallId
from policy.reasons import Reason
from proxy.audit.keys import veiling_key
from proxy.audit.ledger import Ledger
from proxy.audit.redact import Redactor
from proxy.audit.sinks import sinks_of
from proxy.console.pages import Console
from proxy.desk import Desk
from proxy.doors.addresses import base_url
from proxy.doors.agents import AgentsDoor
from proxy.doors.api import Api
from proxy.doors.approvers import ApproversDoor
from proxy.doors.entrance import Asked, Entrance, target
from proxy.doors.operators import OperatorsDoor
from proxy.doors.tls import serving
from proxy.errors import OperatorFault, Outage
from proxy.express import Express
from proxy.gate import Gate
from proxy.holds.connection import StoreConnection, connect
from proxy.holds.counters import Counters
from proxy.holds.departure import Departure
from proxy.holds.embedded import EmbeddedValkey
from proxy.holds.endings import Endings
from proxy.holds.expiry import Expiry
from proxy.holds.opening import Opening
from proxy.holds.release import Release
from proxy.holds.sealing import Sealer, sealer
from proxy.holds.store import HoldStore
from proxy.holds.waiting import Waiting
from proxy.holds.wakeups import Wakeups
from proxy.identity.admission import Admission
from proxy.identity.agent_keys import AgentKeys
from proxy.identity.denials import Denials
from proxy.identity.issuers import KeySource
from proxy.identity.login import Login
from proxy.identity.people import People
from proxy.identity.sessions import Sessions
from proxy.identity.tokens import TokenVerifier
from proxy.ids import call_ids
from proxy.law import Law
from proxy.mcp.drift import Drift
from proxy.mcp.front import in_front, speaks_mcp
from proxy.meters import Meters
from proxy.publication import Publication
from proxy.reload import Reload, watch
from proxy.tasks import Tasks
from proxy.upstream.credentials import Credentials
from proxy.upstream.routes import Routes
from proxy.upstream.sender import Sender

_GAUGES_S = 1.0
_CLICK_S = 1.0
"""Time to finish a click when stopping; longer than that only streams of news last, and browsers ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running system, for whoever started it."""

    settings: Settings
    agents_url: str
    approvers_url: str
    operators_url: str
    agent_keys: AgentKeys
    reload: Reload
    store: HoldStore
    ledger: Ledger


@asynccontextmanager
async def running(loaded: Loaded) -> AsyncIterator[Running]:
    """The system of these settings, serving until the block ends.

    Raises OperatorFault when it cannot start, and Outage when the store cannot be reached.
    """
    async with asyncio.TaskGroup() as group, AsyncExitStack() as closing:
        assembly = _Assembly(loaded, group, closing)
        await assembly.keep()
        await assembly.publish()
        await assembly.admit()
        assembly.send()
        await assembly.open_doors()
        yield assembly.running()


class _Assembly:
    """Parts in the order in which they are made; each step may use what the steps before it made."""

    connection: StoreConnection
    sealer: Sealer
    store: HoldStore
    wakeups: Wakeups
    counters: Counters
    drift: Drift
    ledger: Ledger
    law: Law
    reload: Reload
    issuers: KeySource
    tokens: TokenVerifier
    agent_keys: AgentKeys
    denials: Denials
    people: People
    admission: Admission
    sender: Sender
    release: Release
    departure: Departure
    desk: Desk
    waiting: Waiting
    gate: Gate
    agents: AgentsDoor
    approvers: ApproversDoor
    operators: OperatorsDoor

    def __init__(self, loaded: Loaded, group: asyncio.TaskGroup, closing: AsyncExitStack) -> None:
        self._loaded = loaded
        self.settings = loaded.settings
        self._group = group
        self._closing = closing
        self.meters = Meters()
        self.tasks = Tasks(group)
        self.ledger_directory = self.settings.ledger.directory or self.settings.data / "ledger"

    async def keep(self) -> None:
        """The store and the ledger, on which everything rests."""
        url = self.settings.store.url or await self._embedded()
        self.connection = connect(self.settings.store, url=url)
        self._closing.push_async_callback(self.connection.close)
        await self.connection.check()
        self.sealer = sealer(self.settings.store, data=self.settings.data)
        self.wakeups, self.counters = Wakeups(self.connection), Counters(self.connection)
        self.store = HoldStore(self.connection, sealer=self.sealer, holds=self.settings.holds, moved=self.wakeups.kept)
        self._closing.push_async_callback(self.store.close)
        await self.store.rebuild_indexes()
        self.ledger = self._ledger()
        self._closing.push_async_callback(self.ledger.close)
        self._group.create_task(self.ledger.run(), name="ledger")
        self._loop("indexes", self.store.run())
        self._loop("wakeups", self.wakeups.run())
        self._loop("gauges", self._gauges())

    async def _embedded(self) -> str:
        server = EmbeddedValkey(self.settings.data)
        url = await server.start()
        self._closing.push_async_callback(server.stop)
        self._group.create_task(server.run(), name="embedded store")
        return url

    def _ledger(self) -> Ledger:
        try:
            self.ledger_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            sinks = sinks_of(self.settings)
            return Ledger(self.settings.ledger, directory=self.ledger_directory, worker=_worker(), sinks=sinks)
        except OSError as exc:
            detail = f"The ledger cannot be kept in {str(self.ledger_directory)!r}: {exc.strerror}."
            raise OperatorFault(Reason.LEDGER_UNAVAILABLE, detail) from exc

    async def publish(self) -> None:
        """The law, and the watcher that replaces it."""
        self.drift = Drift(self.connection, ledger=self.ledger)
        if speaks_mcp(self.settings):
            await self.drift.refresh()
            self._loop("changed tools", self.drift.run())
        publication = Publication(
            self.settings, counters=self.counters, ledger=self.ledger, is_changed=self.drift.is_changed
        )
        file = self._loaded.file
        self.reload = Reload(
            publication.publish,
            running=self._loaded,
            reread=lambda: load(file, environ=os.environ),
            watch=watch(self.settings),
            now=time.time,
            published=self.meters.published,
        )
        await self.reload.first()
        self.law = publication.law
        self._loop("reload", self.reload.run())

    async def admit(self) -> None:
        """Who may come in."""
        settings = self.settings
        self.issuers = KeySource(settings.issuers, alarm=lambda issuer, _: self.meters.issuer_alarm(issuer))
        self._closing.push_async_callback(self.issuers.close)
        self.tokens = TokenVerifier(settings.issuers, self.issuers)
        self.agent_keys = AgentKeys(self.connection, sealer=self.sealer)
        self.denials = Denials(self.connection)
        await self.denials.refresh()
        self.people = People(
            self.connection,
            sealer=self.sealer,
            groups=settings.groups,
            max_age_s=settings.person_max_age_s,
            denials=self.denials,
        )
        self.admission = Admission(tokens=self.tokens, keys=self.agent_keys, denials=self.denials, people=self.people)
        self._loop("issuers", self.issuers.run())
        self._loop("denials", self.denials.run())

    def send(self) -> None:
        """The two stories, and the clocks between them."""
        holds = self.settings.holds
        upstreams = {upstream.name: upstream for upstream in self.settings.upstreams}
        credentials = Credentials()
        self.sender = Sender(upstreams, credentials=credentials)
        self._closing.push_async_callback(self.sender.close)
        self._closing.push_async_callback(credentials.close)
        endings = Endings(store=self.store, ledger=self.ledger, meters=self.meters, tasks=self.tasks)
        self.release = Release(
            replica=f"{_worker()}-{secrets.token_hex(4)}",
            store=self.store,
            wakeups=self.wakeups,
            law=self.law,
            people=self.people,
            denials=self.denials,
            keys=self.agent_keys,
            ledger=self.ledger,
            sender=self.sender,
            endings=endings,
            meters=self.meters,
            tasks=self.tasks,
            exchange_limit_s=max((upstream.total_timeout_s for upstream in upstreams.values()), default=0),
            keep_response_bytes=holds.keep_response_bytes,
        )
        self.desk = Desk(
            law=self.law,
            store=self.store,
            release=self.release,
            people=self.people,
            ledger=self.ledger,
            meters=self.meters,
            redact=Redactor(self.sealer.veiling_key).redact,
        )
        self.departure = Departure(
            store=self.store, ledger=self.ledger, meters=self.meters, otherwise=holds.on_client_gone
        )
        expiry = Expiry(
            store=self.store,
            release=self.release,
            departure=self.departure,
            ledger=self.ledger,
            meters=self.meters,
            detached_after_s=holds.detached_after_s,
        )
        self._loop("expiry", expiry.run())

    async def open_doors(self) -> None:
        """The gate and its three doors."""
        holds = self.settings.holds
        key = veiling_key(self.ledger_directory)
        self.waiting = Waiting(store=self.store, wakeups=self.wakeups, departure=self.departure, settings=self.settings)
        self.gate = Gate(
            admission=self.admission,
            law=self.law,
            ledger=self.ledger,
            sender=self.sender,
            opening=Opening(store=self.store, ledger=self.ledger, meters=self.meters, settings=holds),
            waiting=self.waiting,
            release=self.release,
            store=self.store,
            meters=self.meters,
            status_url=self._status_url,
            sample=lambda call: int.from_bytes(blake2b(call.encode(), key=key, digest_size=8).digest()) % 10_000,
            always_async=holds.respond_async,
        )
        routes, new_call_id = Routes(self.settings.upstreams), call_ids()
        express = self._express(routes, new_call_id)
        front = in_front(self.gate, self.settings, drift=self.drift, key=self.sealer.veiling_key, tasks=self.tasks)
        self.agents = AgentsDoor(
            front,
            self.settings,
            routes=routes,
            new_call_id=new_call_id,
            at_once=express,
            passes_unread=self._passes_unread,
        )
        self.approvers = self._approvers()
        self.operators = self._operators()
        self._closing.push_async_callback(self._close_doors)
        settings = self.settings
        await _opened(self.operators, f"{settings.operators.listen} (operators.listen)")
        await _opened(self.approvers, f"{settings.approvers.listen} (approvers.listen)")
        await _opened(self.agents, f"{settings.agents.listen} (agents.listen)")

    def _passes_unread(self, asked: Asked) -> bool:
        upstream = asked.route.upstream
        if upstream.connector == "mcp" or asked.signed is not None:
            return False  # Its messages are read, and a signature covers all of it.
        return self.law.current.namers[upstream.name].passes_unread(target(asked), asked.head.headers)

    def _express(self, routes: Routes, new_call_id: Callable[[], CallId]) -> Express | None:
        if not self.settings.agents.fast_path:
            return None
        return Express(
            self.gate,
            entrance=Entrance(self.settings, routes=routes),
            tasks=self.tasks,
            limits=self.settings.limits,
            new_call_id=new_call_id,
        )

    def _status_url(self, call: CallId) -> str:
        agents = self.settings.agents
        base = agents.public_url or base_url(self.agents.address, tls=agents.tls)
        return f"{base.rstrip('/')}/v1/calls/{call}"

    def _approvers(self) -> ApproversDoor:
        settings = self.settings.approvers
        api = Api(
            desk=self.desk,
            admission=self.admission,
            ledger=self.ledger,
            auditors=frozenset(settings.auditors),
            operators=frozenset(settings.operators),
        )
        pages = self._console(settings.sign_in) if settings.sign_in else None
        host, port = _address(settings.listen)
        tls = serving(settings.tls)
        return ApproversDoor(host=host, port=port, public_url=settings.public_url, api=api, pages=pages, tls=tls)

    def _console(self, sign_in: SignIn) -> Console:
        public_url = self.settings.approvers.public_url.rstrip("/")
        return Console(
            desk=self.desk,
            admission=self.admission,
            ledger=self.ledger,
            login=Login(
                sign_in,
                redirect_uri=f"{public_url}/signed-in",
                keys=self.issuers,
                tokens=self.tokens,
                connection=self.connection,
                sealer=self.sealer,
            ),
            sessions=Sessions(self.connection, sealer=self.sealer, lifetime_s=sign_in.session_lifetime_s),
            wakeups=self.wakeups,
            public_url=public_url,
        )

    def _operators(self) -> OperatorsDoor:
        settings = self.settings.operators
        host, port = _address(settings.listen)
        checks = {"store": self.connection.ping, "ledger": self._ledger_ready}
        tls = serving(settings.tls)
        return OperatorsDoor(host=host, port=port, meters=self.meters, checks=checks, facts=self._facts, tls=tls)

    async def _ledger_ready(self) -> None:
        if not self.ledger.ready:
            raise Outage(Reason.LEDGER_UNAVAILABLE, "Records cannot be written.")

    def _facts(self) -> dict[str, str]:
        standing = self.reload.standing
        failure = standing.failure if standing else None
        return {
            "bundle": standing.digest if standing else "",
            "reload_failure": failure.what if failure else "",
            "restart_needed": ", ".join(standing.restart_needed) if standing else "",
        }

    def running(self) -> Running:
        """What whoever started the system may use of it."""
        return Running(
            settings=self.settings,
            agents_url=base_url(self.agents.address, tls=self.settings.agents.tls),
            approvers_url=base_url(self.approvers.address, tls=self.settings.approvers.tls),
            operators_url=base_url(self.operators.address, tls=self.settings.operators.tls),
            agent_keys=self.agent_keys,
            reload=self.reload,
            store=self.store,
            ledger=self.ledger,
        )

    async def _close_doors(self) -> None:
        limit_s = self.settings.limits.shutdown_s
        self.operators.stopping = True
        self.waiting.stop()
        await self.agents.stop(within_s=limit_s)
        await self.approvers.stop(within_s=_CLICK_S)
        await self.tasks.finish(within_s=limit_s)
        await self.operators.stop()

    def _loop(self, name: str, work: Coroutine[None, None, None]) -> None:
        # A loop that ends by an error ends the whole process: what it did, nobody would do any more.
        task = self._group.create_task(work, name=name)
        self._closing.callback(task.cancel)

    async def _gauges(self) -> None:
        while True:
            self.meters.ledger(queued=self.ledger.queued, lag=dict(self.ledger.sink_lag))
            await asyncio.sleep(_GAUGES_S)


def _worker() -> str:
    """Name of this worker's chain: the host's, so that a restart goes on with the chain it left."""
    return re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:48] or "gate"


async def _opened(door: OperatorsDoor | ApproversDoor | AgentsDoor, where: str) -> None:
    try:
        await door.start()
    except OSError as exc:
        why = "something else listens there" if exc.errno == errno.EADDRINUSE else exc.strerror or "it cannot be bound"
        raise OperatorFault(Reason.INTERNAL, f"Cannot listen on {where}: {why}.") from exc


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
