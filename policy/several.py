"""One verdict out of several: what is said of a call that asks for more than one thing at once.

Decides nothing but the order: a No to anything is a No to all of it, and whoever has to assent to a part has to assent
to the whole, because the whole is what is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from policy.annotations import join
from policy.verdict import Allow, Ask, Deny, Gate, Verdict


def strictest(verdicts: Sequence[Verdict], parts: Sequence[str]) -> Verdict:
    """The verdict on all at once. The first is on the whole, the others on `parts`, which are operations' names."""
    for position, said in enumerate(verdicts):
        if isinstance(said, Deny):
            return _of_part(said, parts[position - 1]) if position else said
    allowed = tuple(said for said in verdicts if not isinstance(said, Deny))
    asking = [said for said in allowed if isinstance(said, Ask)]
    policies = tuple(sorted({name for said in allowed for name in said.policies}))
    obligations = join(said.obligations for said in allowed)
    bundle = allowed[0].bundle
    if not asking:
        return Allow(bundle=bundle, policies=policies, obligations=obligations)
    gates: dict[str, Gate] = {gate.policy: gate for said in asking for gate in said.gates}
    return Ask(
        bundle=bundle,
        policies=policies,
        gates=tuple(gates[name] for name in sorted(gates)),
        obligations=obligations,
    )


def strictest_act(verdicts: Sequence[Allow | Deny]) -> Allow | Deny:
    """The verdict on an act about all of it: the first No, or the first Yes where there is none."""
    return next((said for said in verdicts if isinstance(said, Deny)), verdicts[0])


def _of_part(said: Deny, operation: str) -> Deny:
    told = f"What is refused is {operation}, one of several things that this call asks for; ask for it alone."
    return replace(said, explanations=(*said.explanations, told))
