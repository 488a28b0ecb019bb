"""The law without any of its economies: all policies, the whole schema, the whole context, one operation by itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from cedarpy import Entities, PolicySet, Schema, is_authorized, validate_policies

from policy import facts, schema
from policy.bundle import Bundle
from policy.call import Call, Recent
from policy.facts import FACTS, Moment, View
from policy.verdict import Allow, Approvals, Ask, Deny, Verdict
from tests.policy.enacted import NOW

Told = tuple[type[Verdict], frozenset[str]]
"""A verdict's kind, and the policies that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A bundle as Cedar alone would take it."""

    bundle: Bundle
    policies: PolicySet
    core: PolicySet
    schema: Schema

    def judge(self, call: Call, *, recent: Recent, approvals: Approvals) -> Told:
        """What Cedar says of the call."""
        moment = self._moment(call, recent, approvals)
        entities = json.loads(facts.callers(call)) + json.loads(facts.resource(call))
        handle = Entities.from_json_str(json.dumps(entities), self.schema)
        whole = View(facts=(*FACTS, *facts.inputs(moment.known)))
        asked = {
            "principal": facts.entity("Agent", call.principal.agent),
            "action": {"type": "Action", "id": call.operation.name},
            "resource": facts.entity("Resource", call.resource.id),
            "context": facts.context(whole, moment).decode(),
        }
        said = is_authorized(asked, self.policies, handle, self.schema)
        broken = {int(n) for error in said.diagnostics.errors for n in re.findall(r"`policy(\d+)`", error)}
        if broken:
            return Deny, frozenset(self.bundle.rules[n].id for n in broken)
        named = frozenset(said.diagnostics.id_annotations_by_reason.values())
        prohibitions = frozenset(name for name in named if not self.bundle.by_id[name].gate)
        if said.allowed:
            return Allow, named
        if prohibitions or not named:
            return Deny, prohibitions
        beneath = is_authorized(asked, self.core, handle, self.schema)
        return (
            (Ask, named.union(beneath.diagnostics.id_annotations_by_reason.values()))
            if beneath.allowed
            else (
                Deny,
                frozenset(),
            )
        )

    def _moment(self, call: Call, recent: Recent, approvals: Approvals) -> Moment:
        return Moment(
            call=call,
            known=self.bundle.operations[call.operation.name],
            now=NOW,
            recent=recent,
            approvals=approvals,
            labels=self.bundle.labels,
            quorums=self.bundle.quorums,
        )


def plain(bundle: Bundle) -> Plain:
    """The bundle without slices."""
    texts = [(rule.gate, rule.statement.text) for rule in bundle.rules]
    return Plain(
        bundle=bundle,
        policies=PolicySet.from_str("\n".join(text for _, text in texts)),
        core=PolicySet.from_str("\n".join(text for gate, text in texts if not gate)),
        schema=Schema.from_str(bundle.schema_text),
    )


def complaints(text: str, whole_schema: str) -> frozenset[str]:
    """What the type checker says of one policy, for every operation there is, without the operations' names."""
    said = validate_policies(text, Schema.from_str(whole_schema)).errors
    return frozenset(without_actions(re.sub(r"^for policy `policy\d+`[,:] ", "", error.error)) for error in said)


def without_actions(complaint: str) -> str:
    """A complaint, whichever operation it was made about."""
    return re.sub(r'Action::"[^"]*"', "", complaint)


def whole(bundle: Bundle) -> str:
    """The schema of every operation of a bundle."""
    return schema.whole(bundle.operations.values(), quorum=bundle.quorums, labels=bundle.labels)
