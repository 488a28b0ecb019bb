"""Turns an arrival into a `Call`: the named, typed, labelled value that everything after it speaks of.

Decides nothing about the call; the catalogue's namer says what it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from connectors.apis.finders import BadBody
from connectors.apis.mcp.finding import TOOL_CHANGED, Server
from connectors.apis.naming import Named, Namer
from policy.call import Call, Sensitivity
from policy.principal import Principal
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.doors.arrival import Arrival
from proxy.law import InForce


def name_call(arrival: Arrival, principal: Principal, *, law: InForce, sample: int) -> Call | Refused:
    """The call, or why its body cannot be read the way its operation requires."""
    namer = law.namers[arrival.upstream]
    upload = arrival.upload
    # The catalogue may have been replaced since the door asked.
    if upload is not None and not namer.passes_unread(arrival.target, arrival.headers):
        return Refused(reason=Reason.BODY_TOO_LARGE, detail="The body is larger than what is taken for this operation.")
    named = namer.name_call(arrival.target, arrival.headers, arrival.body)
    if isinstance(named, BadBody):
        return Refused(reason=named.reason, detail=named.detail)
    return Call(
        id=arrival.id,
        upstream=arrival.upstream,
        environment=law.environments[arrival.upstream],
        target=arrival.target,
        headers=arrival.headers,
        body_digest="" if upload else hashlib.sha256(arrival.body).hexdigest(),
        body_length=upload.length if upload else len(arrival.body),
        operation=named.operation,
        input=named.input,
        resource=named.resource,
        sensitivity=_sensitivity(named, namer, law),
        principal=principal,
        words=arrival.words,
        peer=arrival.peer,
        sample=sample,
        method_override=named.method_override,
        idempotency_key=arrival.idempotency_key,
        received_at=arrival.received_at,
        meaning=named.meaning,
        parts=named.parts,
    )


def name_again(call: Call, body: bytes, *, law: InForce) -> Call | Refused:
    """The same call named by the catalogue in force now, which may differ from the one it was held under."""
    namer = law.namers.get(call.upstream)
    named = namer.name_call(call.target, call.headers, body) if namer else None
    if namer is None or named is None or isinstance(named, BadBody):
        return Refused(reason=Reason.BODY_MALFORMED, detail="The call can no longer be read by the catalogue in force.")
    return replace(
        call,
        environment=law.environments[call.upstream],
        operation=named.operation,
        input=named.input,
        resource=named.resource,
        sensitivity=_sensitivity(named, namer, law),
        method_override=named.method_override,
        parts=named.parts,
    )


def _sensitivity(named: Named, namer: Namer, law: InForce) -> Sensitivity:
    """The labels of the call, and one more where it is to a tool that is not what the catalogue says."""
    server, operation, found = namer.find, named.operation.name, named.sensitivity
    pinned = server.pin_of(operation) if isinstance(server, Server) else None
    if pinned is None or not law.is_changed(operation, pinned):
        return found
    return replace(found, labels=found.labels | {TOOL_CHANGED})
