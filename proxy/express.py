"""The fast path: the same steps as `proxy.gate` takes for a call that is allowed, in one go and without a task.

When it applies: the call came whole in one read, over a connection that waits for nothing else; its caller was proved
a moment ago and is at hand; the law is steady about its operation (no clock, no chance, no counters) and says Allow;
the upstream's credential is at hand.
Whatever else there is (a refusal, a hold, a stream, an outage, a first call, a body that comes in pieces) is not
taken, and goes the ordinary way from its first byte; nothing was recorded and nothing was sent.

Why it is the same: every question is put to the same function that the ordinary path asks, in the same order, and the
two records and the answer are made by the same functions. What is remembered is the whole outcome for the very same
bytes from the same address, and only where it can change with nothing but what is looked at each time: the
publication in force, the proof of the caller, the deny list, the credential (`_stands`). Where a call has to wait after
all, for a connection or for the rest of an answer, the gate and the door go on from that very step in a task.

tests/hostile/test_both_paths.py sends every call of the corpora down both paths.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import orjson

from config.settings import Limits
from policy.call import Call, CallId
from policy.reasons import Reason
from policy.verdict import Allow, Refused
from proxy.audit import record
from proxy.audit.ledger import Ledger
from proxy.doors.agreement import whole_and_alike
from proxy.doors.arrival import Answer, Relay
from proxy.doors.connection import Connection, Visit
from proxy.doors.entrance import Entrance, arrival
from proxy.doors.hygiene import Head, read_head
from proxy.doors.replies import has_body, passed_on
from proxy.doors.writing import announced_length, head
from proxy.errors import AssentryError, BrokeOff, Outage
from proxy.gate import Gate
from proxy.identity.admission import Admission, Known
from proxy.law import InForce, Law
from proxy.meters import Meters, Tally
from proxy.naming import name_call
from proxy.tasks import Tasks
from proxy.upstream import framing
from proxy.upstream.connection import Response
from proxy.upstream.credentials import Attached
from proxy.upstream.forward import answer_headers
from proxy.upstream.sender import Ready, Sender, answered

_log = logging.getLogger("assentry.express")

LONGEST_BYTES = 64 * 1024
"""Longest call taken here, head and body."""
LONGEST_ANSWER_BYTES = 64 * 1024
"""Longest answer written here, head and body: as much as asyncio buffers before it asks for a pause."""
REMEMBERED_BYTES = 4096
"""Longest call whose outcome is remembered, and some 10 KiB are kept for each."""
MOST_REMEMBERED = 2048
MOST_SEEN = 16_384
"""Hashes of calls that came once."""

_K = TypeVar("_K")
_V = TypeVar("_V")
MOST_FACES = 512
"""Heads of answers of one upstream that are kept as they are written: of most, only the date changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An encoded record with two blanks: the call's id, and one number."""

    before: bytes
    between: bytes
    after: bytes

    @classmethod
    def of(cls, json: bytes, call: CallId, *, name: str, number: float) -> Self | None:
        """The record with its blanks; None where they are not to be found for certain."""
        marks = call.encode(), b'"%b":%b' % (name.encode(), orjson.dumps(number))
        if [json.count(mark) for mark in marks] != [1, 1]:
            return None
        before, _, rest = json.partition(marks[0])
        between, found, after = rest.partition(marks[1])
        if not (found and after.startswith((b",", b"}"))):
            return None
        return cls(before=before, between=b'%b"%b":' % (between, name.encode()), after=after)

    def filled(self, call: bytes, number: float) -> bytes:
        """The record of this call."""
        return b"".join((self.before, call, self.between, orjson.dumps(number), self.after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """The head of an answer as it is written, around the call's id, and the record of its end."""

    before: bytes
    after: bytes
    length: int
    """Bytes of the body that belongs to it."""
    concluded: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Of one upstream's answers, to HEAD or to the other methods. None: such an answer takes more than writing."""

    attached: Attached
    kept: dict[framing.Head, Face | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An allowed call, ready to be recorded and sent, and what its being allowed rests on."""

    head: Head
    call: Call
    body: bytes
    json: bytes
    """The record of the intent."""
    form: Form | None
    """The same with blanks, where the next call of the same bytes comes to the same."""
    law: InForce
    known: Known
    ready: Ready
    faces: Faces
    tally: Tally


class Express:
    """Takes calls at once where that can be done, and leaves the others alone."""

    def __init__(
        self,
        gate: Gate,
        *,
        entrance: Entrance,
        tasks: Tasks,
        limits: Limits,
        new_call_id: Callable[[], CallId],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.gate = gate
        self.tasks = tasks
        self._admission: Admission = gate.admission
        self._law: Law = gate.law
        self._sender: Sender = gate.sender
        self._ledger: Ledger = gate.ledger
        self._meters: Meters = gate.meters
        self._entrance = entrance
        self._limits = limits
        self._new_call_id = new_call_id
        self._now = now
        self._remembered: dict[tuple[str, bytes], Prepared] = {}
        self._remembered_under = gate.law.current
        self._seen: set[int] = set()
        self._faces: dict[tuple[str, bool], Faces] = {}

    def take(self, data: bytes, client: Connection) -> bool:
        """Whether this call goes this way; what became of it is then told to `client`. If not, nothing has happened."""
        now = self._now()
        key = (client.address, data)
        prepared = self._remembered.get(key)
        if prepared is not None and prepared.form is not None and self._stands(prepared, now):
            call_id = self._new_call_id().encode()
            json = prepared.form.filled(call_id, now)
        else:
            prepared = self._prepare_or_not(data, client, now)
            if prepared is None:
                self._remembered.pop(key, None)
                return False
            call_id, json = prepared.call.id.encode(), prepared.json
            if prepared.form is not None:
                self._remember(key, prepared)
        if prepared.body and not client.has_room(len(prepared.body)):
            return False
        passage = Passage(self, prepared, call_id, now, client, data)
        try:
            self._ledger.post(json, at=now, settled=passage.recorded)
        except Outage:
            return False
        client.occupy()
        return True

    def _remember(self, key: tuple[str, bytes], prepared: Prepared) -> None:
        if prepared.law is not self._remembered_under:
            # Nothing of it stands any more, and it would keep the law of its time in memory.
            self._remembered.clear()
            self._remembered_under = prepared.law
        _keep(self._remembered, key, prepared, most=MOST_REMEMBERED)

    def _stands(self, prepared: Prepared, now: float) -> bool:
        return (
            prepared.law is self._law.current
            and self._admission.stands(prepared.known, now=now)
            and self._sender.stands(prepared.ready)
        )

    def _prepare_or_not(self, data: bytes, client: Connection, now: float) -> Prepared | None:
        try:
            return self._prepare(data, client, now)
        except AssentryError:
            return None  # A No: the ordinary path says it, and records it.
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is not to be taken here
            _log.error("a call is not taken at once: %s", type(exc).__name__)
            return None

    def _prepare(self, data: bytes, client: Connection, now: float) -> Prepared | None:
        read = self._read(data)
        if read is None or self._entrance.status_of(read) or self._entrance.metadata_path(read):
            return None
        self._entrance.check_host(read)
        asked = self._entrance.asked(read)
        if asked.route.upstream.connector == "mcp":
            return None  # Its messages are read, either way, by `proxy.mcp`.
        known = self._admission.at_hand(asked.bearer)
        if known is None:
            return None
        call_id, body = self._new_call_id(), data[len(data) - read.length :]
        peer = self._entrance.peer(client.address, read)
        arrived = arrival(asked, body, call_id=call_id, peer=peer, received_at=now)
        law = self._law.current
        body = arrived.body  # As it is judged: it may have come in a coding.
        call = name_call(arrived, known.believed.proof, law=law, sample=self.gate.sample(call_id))
        # A call that chance refuses here would be drawn again, under another id, on the ordinary path.
        # In parts it would have to be steady in each.
        if isinstance(call, Refused) or call.parts or not law.engine.steady(call.operation.name):
            return None
        verdict = self._law.judge_at_once(call, by=law)
        ready = self._sender.ready(call, body) if isinstance(verdict, Allow) else None
        if ready is None or not isinstance(verdict, Allow):
            return None
        json = self._ledger.encode(record.judged(call, verdict))
        repeats = self._came_before(data)
        return Prepared(
            head=read,
            call=call,
            body=body,
            json=json,
            form=Form.of(json, call_id, name="received_at", number=now) if repeats else None,
            law=law,
            known=known,
            ready=ready,
            faces=self._faces_of(ready),
            tally=self._meters.tally(call),
        )

    def _came_before(self, data: bytes) -> bool:
        # Most calls come once, and whatever is kept of those is kept for nothing.
        if len(data) > REMEMBERED_BYTES:
            return False
        mark = hash(data)
        if mark in self._seen:
            return True
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen.add(mark)
        return False

    def _read(self, data: bytes) -> Head | None:
        """The head of a call that is all there and nothing more, read alike by two readers."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or len(data) > LONGEST_BYTES:
            return None
        read = read_head(data[:end], limits=self._limits)
        if isinstance(read, Refused) or not read.keep_alive or read.expects_continue or read.chunked:
            return None
        if read.length > self._limits.body_bytes:
            return None
        return read if len(data) - end == read.length and whole_and_alike(data, read) else None

    def _faces_of(self, ready: Ready) -> Faces:
        key = (ready.upstream.name, ready.method == "HEAD")
        faces = self._faces.get(key)
        # INVARIANT: heads are kept with that credential blotted out which they were made under, so they go with it.
        if faces is None or faces.attached is not ready.attached:
            faces = self._faces[key] = Faces(attached=ready.attached)
        return faces

    def face(self, prepared: Prepared, call: bytes, said: framing.Head) -> Face | None:
        """How an answer with this head is written; None where that is more than writing."""
        kept = prepared.faces.kept
        if said in kept:
            return kept[said]
        face = self._face(prepared.ready, CallId(call.decode()), said)
        # A longer head is read anew each time, and so it is never the same object again.
        if sum(len(name) + len(value) for name, value in said.headers) <= framing.REMEMBERED_BYTES:
            _keep(kept, said, face, most=MOST_FACES)
        return face

    def _face(self, ready: Ready, call: CallId, said: framing.Head) -> Face | None:
        headers = passed_on(said.status, answer_headers(said, ready.attached), call=call)
        if headers is None or not has_body(said.status, method=ready.method):
            return None
        length = announced_length(headers)
        dated = any(name.lower() == "date" for name, _ in headers)
        before, found, after = head(said.status, headers, keep_alive=True).partition(call.encode())
        took_ms = 0.125
        ended = record.concluded(call, Reason.EXECUTED, upstream_status=said.status, latency_ms=took_ms)
        concluded = Form.of(self._ledger.encode(ended), call, name="latency_ms", number=took_ms)
        if length is None or not dated or not found or call.encode() in after or concluded is None:
            return None
        return Face(before=before, after=after, length=length, concluded=concluded)

    def conclude(self, json: bytes, prepared: Prepared, took_s: float) -> None:
        """The end of a call that was answered whole."""
        tally = prepared.tally
        tally.executed += 1
        tally.taken.add(took_s)
        try:
            self._ledger.post(json, at=self._now(), settled=None)
        except Outage as fault:
            # As on the ordinary path: what was sent was sent, and the queue of conclusions is full.
            _log.error("a conclusion is not on the ledger: %s", fault.reason)


class Passage:
    """One call on its way."""

    __slots__ = ("_client", "_data", "_express", "_id", "_now", "_prepared", "_started")

    def __init__(
        self, express: Express, prepared: Prepared, call: bytes, now: float, client: Connection, data: bytes
    ) -> None:
        self._express = express
        self._prepared = prepared
        self._id = call
        self._now = now
        self._client = client
        self._data = data
        self._started = 0.0

    def recorded(self, fault: Outage | None) -> None:
        """The intent is on the ledger: the call is sent. Or it is not, and the ordinary path says so."""
        if fault is not None:
            self._client.give_back(self._data)
            return
        prepared = self._prepared
        prepared.tally.permitted += 1
        self._started = time.monotonic()
        if not prepared.ready.begin(self.answered):
            # No connection is idle: the gate waits for one.
            self._go_on(self._express.gate.send(self._call(), prepared.body))

    def answered(self, said: Response | BrokeOff) -> None:
        """The upstream's answer goes to the agent; in a task, where there is more of it to come."""
        gate, started = self._express.gate, self._started
        if isinstance(said, BrokeOff):
            self._go_on(gate.failed(self._call(), said, started=started))
            return
        if not self._write(said):
            relay = gate.relay(self._call(), answered(said, self._prepared.ready.attached), started=started)
            self._go_on(_given(relay))

    def _write(self, said: Response) -> bool:
        client, prepared, whole = self._client, self._prepared, said.whole
        transport = client.transport
        if whole is None or transport is None or transport.is_closing() or not client.reusable:
            return False
        call = self._id
        face = self._express.face(prepared, call, said.head)
        if face is None or face.length != len(whole):
            return False
        written = b"".join((face.before, call, face.after, whole))
        if len(written) > LONGEST_ANSWER_BYTES or transport.get_write_buffer_size():
            return False  # The client may have to be waited for.
        transport.write(written)
        took_s = time.monotonic() - self._started
        self._express.conclude(face.concluded.filled(call, round(took_s * 1000, 3)), prepared, took_s)
        client.vacate()
        return True

    def _go_on(self, answering: Coroutine[Any, Any, Answer]) -> None:
        head, client = self._prepared.head, self._client
        visit = Visit(id=CallId(self._id.decode()), head=head, connection=client, peer=self._prepared.call.peer)
        self._express.tasks.spawn(client.complete(visit, answering), name="call")

    def _call(self) -> Call:
        call, call_id = self._prepared.call, CallId(self._id.decode())
        if call.id == call_id:
            return call
        return replace(call, id=call_id, received_at=self._now, sample=self._express.gate.sample(call_id))


async def _given(relay: Relay) -> Answer:
    return relay


def _keep(kept: dict[_K, _V], key: _K, value: _V, *, most: int) -> None:
    """The value under its key; the oldest goes where there would be too many."""
    if len(kept) >= most and key not in kept:
        kept.pop(next(iter(kept)))
    kept[key] = value
