"""What a gate asks for, read from its `unless`: the same text that lifts the gate is what people are shown.

Decides whether every way through the `unless` needs somebody's approval; a gate that could be lifted without one is
refused at publish. Whether a requirement is met is Cedar's to say, never this module's.
"""

from __future__ import annotations

from policy.expressions import Entity, Literal, Node, path, render
from policy.verdict import Alternative, Need

MOST_ALTERNATIVES = 64
"""More ways through one gate than this nobody reads, and `(a || b) && (c || d) && …` doubles them at each step."""

_COUNT = ("context", "approvals", "count")
_QUORUM = ("context", "approvals", "quorum")
_BY = ("context", "approvals", "by")
_MIRROR = {"<=": ">=", "<": ">", "==": "=="}


class NotARequirement(ValueError):
    """The `unless` does not say whose approval it needs. The text is for the author of the policy."""


def requirement(unless: Node) -> tuple[Alternative, ...]:
    """The ways to lift a gate, any one of which is enough, in the order of the text.

    Raises NotARequirement where a way needs no approval at all.
    """
    alternatives = _alternatives(unless)
    for one in alternatives:
        if not _needs_people(one):
            free = " && ".join(one.also) or "true"
            raise NotARequirement(
                f"this gate could be lifted without any approval, by `{free}`: every branch of `unless` has to ask for"
                " context.approvals.quorum, .count or .by"
            )
    return tuple(one.shown for one in alternatives)


class _Way:
    """An alternative in the making: its needs, its other conditions, and whether one of those names people."""

    __slots__ = ("also", "named", "needs")

    def __init__(self, needs: dict[str, int], also: tuple[str, ...] = (), *, named: bool = False) -> None:
        self.needs, self.also, self.named = needs, also, named

    def both(self, other: _Way) -> _Way:
        needs = {g: max(self.needs.get(g, 0), other.needs.get(g, 0)) for g in self.needs | other.needs}
        return _Way(needs, tuple(dict.fromkeys(self.also + other.also)), named=self.named or other.named)

    @property
    def shown(self) -> Alternative:
        needs = tuple(Need(group=group, people=people) for group, people in sorted(self.needs.items()))
        return Alternative(needs=needs, also=self.also)


def _needs_people(way: _Way) -> bool:
    return way.named or any(people >= 1 for people in way.needs.values())


def _alternatives(node: Node) -> list[_Way]:
    if node.op == "||":
        left, right = (_alternatives(part) for part in node.parts)
        ways = left + right
    elif node.op == "&&":
        left, right = (_alternatives(part) for part in node.parts)
        if len(left) * len(right) > MOST_ALTERNATIVES:
            raise NotARequirement(f"more than {MOST_ALTERNATIVES} ways to lift one gate")
        ways = [a.both(b) for a in left for b in right]
    else:
        ways = _quorum(node) or _people(node) or _count(node) or [_Way({}, (render(node),))]
    if len(ways) > MOST_ALTERNATIVES:
        raise NotARequirement(f"more than {MOST_ALTERNATIVES} ways to lift one gate")
    return ways


def _quorum(node: Node) -> list[_Way]:
    names = _members(node, _QUORUM, "Quorum")
    parted = [name.rpartition(":") for name in names]
    if not all(people.isdecimal() for _, _, people in parted):
        return []
    needs = [{group: int(people)} for group, _, people in parted]
    if node.op == "containsAny":
        return [_Way(need) for need in needs]
    whole = _Way({})
    for need in needs:
        whole = whole.both(_Way(need))
    return [whole] if needs else []


def _people(node: Node) -> list[_Way]:
    named = _members(node, _BY, "User")
    return [_Way({}, (render(node),), named=True)] if named else []


def _members(node: Node, attribute: tuple[str, ...], kind: str) -> list[str]:
    """Ids of the literal entities that `attribute` has to contain, one, all or any of them; empty if it is not that."""
    if node.op not in {"contains", "containsAll", "containsAny"} or path(node.parts[0]) != attribute:
        return []
    wanted = node.parts[1]
    literals = [part.literal for part in wanted.parts] if wanted.op == "Set" else [wanted.literal]
    entities = [one for one in literals if isinstance(one, Entity) and one.type == kind]
    return [one.id for one in entities] if len(entities) == len(literals) else []


def _count(node: Node) -> list[_Way]:
    compared = _compared(node)
    if compared is None:
        return []
    op, number = compared
    if op == ">=":
        return [_Way({"*": number})]
    if op == ">":
        return [_Way({"*": number + 1})]
    return [_Way({"*": number}, (render(node),))]


def _compared(node: Node) -> tuple[str, int] | None:
    """`count >= 2`, or `2 <= count` turned round; None where something else is compared, or with anything else."""
    if node.op not in {">=", ">", "==", "<=", "<"}:
        return None
    left, right = node.parts
    if path(left) == _COUNT and node.op in {">=", ">", "=="} and _whole(right.literal):
        return node.op, int(str(right.literal))
    if path(right) == _COUNT and node.op in _MIRROR and _whole(left.literal):
        return _MIRROR[node.op], int(str(left.literal))
    return None


def _whole(value: Literal | None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
