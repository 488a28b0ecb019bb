"""The approvers' API: one table of routes, each a few lines over the desk.

Decides nothing: the bearer is admitted by `proxy.identity`, what a person may do by the desk. The table is also what
the OpenAPI description is made from, so the two cannot differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from policy.call import CallId
from policy.electorate import Act
from policy.fingerprint import Fingerprint
from policy.principal import Person
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.desk import Click, Desk
from proxy.doors.arrival import BearerText
from proxy.doors.documents import (
    Decision,
    DenialDocument,
    DenialList,
    Document,
    HoldDocument,
    HoldList,
    Me,
    hold_document,
)
from proxy.doors.streams import pour
from proxy.errors import CallerFault
from proxy.identity.admission import Admission
from proxy.identity.denials import Denial, Kind, check_value

_Model = TypeVar("_Model", bound=BaseModel)
_CHANNEL = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoute:
    """One operation of the API."""

    id: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    handle: Callable[[web.Request, Person], Awaitable[web.StreamResponse]]
    takes: type[Document] | None = None
    gives: type[Document] | None = None
    """None: no content, or a stream."""
    stream: bool = False
    query: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Query parameters and their allowed values."""
    refuses: tuple[int, ...] = ()
    """Statuses beside those that any route may answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The handlers behind the table."""

    desk: Desk
    admission: Admission
    ledger: Ledger
    auditors: frozenset[str]
    operators: frozenset[str]
    recheck_s: float = 15
    """How often an open stream is asked again whether it may go on, and shows that it lives, seconds."""

    def routes(self) -> tuple[ApiRoute, ...]:
        """The whole API."""
        states = (("state", ("open", "settled")),)
        decided = {"takes": Decision, "gives": HoldDocument, "refuses": (404, 409)}
        return (
            ApiRoute(id="me", method="GET", path="/v1/me", summary="Who you are here", handle=self._me, gives=Me),
            ApiRoute(
                id="listHolds", method="GET", path="/v1/holds", summary="Held calls that you may see",
                handle=self._list, gives=HoldList, query=states,
            ),
            ApiRoute(
                id="showHold", method="GET", path="/v1/holds/{id}", summary="The brief of one held call",
                handle=self._show, gives=HoldDocument, query=(("whole", ("true", "false")),), refuses=(404,),
            ),
            *(
                ApiRoute(
                    id=f"{act.value}Hold", method="POST", path=f"/v1/holds/{{id}}/{act.value}",
                    summary=f"{act.value.capitalize()} a held call", handle=self._deciding(act), **decided,  # type: ignore[arg-type]
                )
                for act in (Act.APPROVE, Act.REJECT, Act.WITHDRAW)
            ),
            ApiRoute(
                id="followLedger", method="GET", path="/v1/ledger/stream", summary="The ledger as it grows",
                handle=self._follow, stream=True,
            ),
            ApiRoute(
                id="listDenials", method="GET", path="/v1/denials", summary="The deny list, for operators",
                handle=self._denials, gives=DenialList,
            ),
            ApiRoute(
                id="addDenial", method="POST", path="/v1/denials", summary="Shut out a subject, client or token",
                handle=self._deny, takes=DenialDocument, gives=DenialDocument,
            ),
            ApiRoute(
                id="removeDenial", method="DELETE", path="/v1/denials/{kind}/{value}", summary="Let in again",
                handle=self._undeny, refuses=(404,),
            ),
        )  # fmt: skip

    def handler(self, route: ApiRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The route's handler behind admission: no bearer of a person, no answer."""

        async def admitted(asked: web.Request) -> web.StreamResponse:
            person = await self.admission.person(_bearer(asked))
            unknown = asked.query.keys() - {name for name, _ in route.query}
            if unknown:
                raise CallerFault(Reason.MALFORMED, f"This path takes no parameter {min(unknown)[:40]!r}.")
            return await route.handle(asked, person)

        return admitted

    async def _me(self, _: web.Request, person: Person) -> web.Response:
        return _json(Me(identity=person.identity, name=person.name, groups=tuple(sorted(person.groups))))

    async def _list(self, asked: web.Request, person: Person) -> web.Response:
        settled = _chosen(asked, "state", ("open", "settled")) == "settled"
        briefs = await self.desk.listing(person, settled=settled)
        return _json(HoldList(holds=tuple(hold_document(brief) for brief in briefs)))

    async def _show(self, asked: web.Request, person: Person) -> web.Response:
        whole = _chosen(asked, "whole", ("false", "true")) == "true"
        return _json(hold_document(_taken(await self.desk.show(person, CallId(asked.match_info["id"]), whole=whole))))

    def _deciding(self, act: Act) -> Callable[[web.Request, Person], Awaitable[web.StreamResponse]]:
        async def decide(asked: web.Request, person: Person) -> web.Response:
            decision = await _read(asked, Decision)
            call = CallId(asked.match_info["id"])
            click = Click(
                person=person, act=act, call=call, fingerprint=Fingerprint(decision.fingerprint),
                shown=decision.shown, reason=decision.reason, channel=_CHANNEL,
            )  # fmt: skip
            after = _taken(await self.desk.take(click))
            return _json(hold_document(await self.desk.brief_of(after)))

        return decide

    async def _follow(self, asked: web.Request, person: Person) -> web.StreamResponse:
        self._entitled(person, self.auditors, "read the ledger")
        return await pour(asked, self._lines(asked))

    async def _lines(self, asked: web.Request) -> AsyncGenerator[bytes, None]:
        with self.ledger.follow() as records:
            while True:
                # A stream outlives the token it came with, and perhaps the person's place in the group.
                self._entitled(await self.admission.person(_bearer(asked)), self.auditors, "read the ledger")
                yield b": following\n\n"
                async for line in _until(records, within_s=self.recheck_s):
                    if line is None:
                        return
                    yield b"data: " + line.rstrip(b"\n") + b"\n\n"

    async def _denials(self, _: web.Request, person: Person) -> web.Response:
        self._entitled(person, self.operators, "see the deny list")
        entries = await self.admission.denials.listing()
        return _json(DenialList(denials=tuple(_denial_document(entry) for entry in entries)))

    async def _deny(self, asked: web.Request, person: Person) -> web.Response:
        self._entitled(person, self.operators, "change the deny list")
        wanted = await _read(asked, DenialDocument)
        entry = Denial(
            kind=Kind(wanted.kind), value=wanted.value, by=person.identity, reason=wanted.reason,
            at=int(datetime.now(UTC).timestamp()),
        )  # fmt: skip
        written = record.denial_changed(entry.field, denied=True, by=person, why=wanted.reason)
        await self.ledger.record(written, Durability.SYNCED)
        await self.admission.denials.add(entry)
        return _json(_denial_document(entry))

    async def _undeny(self, asked: web.Request, person: Person) -> web.Response:
        self._entitled(person, self.operators, "change the deny list")
        kind, value = asked.match_info["kind"], asked.match_info["value"]
        if kind not in {one.value for one in Kind}:
            raise CallerFault(Reason.NO_SUCH_HOLD, "There is no such kind of denial.")
        check_value(value)
        written = record.denial_changed(f"{kind}:{value}", denied=False, by=person, why="")
        await self.ledger.record(written, Durability.SYNCED)
        if not await self.admission.denials.remove(Kind(kind), value):
            raise CallerFault(Reason.NO_SUCH_HOLD, "It was not on the deny list.")
        return web.Response(status=204)

    def _entitled(self, person: Person, groups: frozenset[str], what: str) -> None:
        if not person.groups & groups:
            raise CallerFault(Reason.NOT_ENTITLED, f"You may not {what}; ask for a group that may.")


def _chosen(asked: web.Request, name: str, values: tuple[str, ...]) -> str:
    """The query parameter, the first of the values where it is absent. Raises CallerFault for any other, or for two."""
    given = asked.query.getall(name, [values[0]])
    if len(given) != 1 or given[0] not in values:
        raise CallerFault(Reason.MALFORMED, f"`{name}` is one of {', '.join(values)}.")
    return given[0]


async def _until(records: AsyncIterator[bytes], *, within_s: float) -> AsyncGenerator[bytes | None, None]:
    """The records that come within so many seconds; None, last, when there will be no more."""
    now = asyncio.get_running_loop().time
    ends = now() + within_s
    while now() < ends:
        try:
            async with asyncio.timeout_at(ends):
                line = await anext(records, None)
        except TimeoutError:
            return
        yield line


_Taken = TypeVar("_Taken")


def _taken(result: _Taken | Refused) -> _Taken:
    if isinstance(result, Refused):
        raise CallerFault(result.reason, result.detail)
    return result


def _bearer(asked: web.Request) -> BearerText | None:
    values = asked.headers.getall("Authorization", [])
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return BearerText(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


async def _read(asked: web.Request, model: type[_Model]) -> _Model:
    if asked.content_type != "application/json":
        raise CallerFault(Reason.ENCODING_NOT_ALLOWED, "Send application/json.")
    try:
        return model.model_validate_json(await asked.read())
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'body'}: {e['msg']}" for e in exc.errors()[:5])
        raise CallerFault(Reason.MALFORMED, f"The document is not a {model.__name__}: {wrong}.") from exc


def _json(document: BaseModel) -> web.Response:
    return web.Response(body=document.model_dump_json().encode(), content_type="application/json")


def _denial_document(entry: Denial) -> DenialDocument:
    return DenialDocument(
        kind=entry.kind.value, value=entry.value, reason=entry.reason, by=entry.by,
        at=datetime.fromtimestamp(entry.at, UTC),
    )  # fmt: skip
