"""What a document is named is what graphql-core's executor runs of it, field for field and argument for argument."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.apis.finders import BadBody
from tests.connectors.graphql.tracker import operations, posted, run

TEXTS = st.text('abc \\"\n#{}é', max_size=5)
IDS = st.sampled_from(["1", "x"]) | st.integers(0, 9)
VARIABLES = {
    "yes": ("Boolean!", st.just(True)),
    "no": ("Boolean = false", st.none() | st.booleans()),
    "on": ("Boolean! = true", st.booleans()),
    "text": ("String!", TEXTS),
    "id": ("ID!", IDS),
    "ids": ("[ID!]!", st.lists(IDS, max_size=2) | IDS),
    "many": ("Int = 7", st.integers(-5, 5)),
    "input": (
        "CreateIssue!",
        st.fixed_dictionaries({"repositoryId": IDS, "title": TEXTS}, optional={"body": st.none() | TEXTS}),
    ),
}
OPTIONAL = {"no", "on", "many"}


def quoted(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "é": "\\u00e9"}
    return '"' + "".join(escapes.get(letter, letter) for letter in text) + '"'


DEEP = "fragment Deep on Issue { id title }"

texts = st.just("$text") | TEXTS.map(quoted) | st.just('"""\n  block "quoted" # not a comment\n"""')
plain_ids = st.integers(0, 99).map(str) | st.just('"i_1"')
ids = st.just("$id") | plain_ids
lists = st.just("$ids") | st.lists(ids, max_size=2).map(lambda found: "[" + ", ".join(found) + "]") | plain_ids
numbers = st.just("$many") | st.integers(-9, 9).map(str)
inputs = st.just("$input") | st.builds("{{repositoryId: {}, title: {}, urgent: true}}".format, ids, texts)

QUERIES = st.one_of(
    st.sampled_from(["viewer", "viewer @traced", "__typename"]),
    st.builds("repository(owner: {}, first: {}) {{ name }}".format, texts, numbers),
    st.builds("repository(owner: {}) {{ issues {{ related {{ id }} }} }}".format, texts),
    st.builds("search(query: {}, kinds: [PULL]) {{ id }}".format, texts),
    st.builds("node(id: {}) {{ ...Deep }}".format, ids),
)
MUTATIONS = st.one_of(
    st.builds("deleteIssue(id: {}) {{ id }}".format, ids),
    st.builds("createIssue(input: {}) {{ ...Deep }}".format, inputs),
    st.builds("addLabels(issue: {}, labels: {}) {{ id }}".format, ids, lists),
    st.builds("transfer(issue: {}) {{ id }}".format, ids),
)
CONDITIONS = st.lists(
    st.builds(
        "@{}(if: {})".format,
        st.sampled_from(["skip", "include"]),
        st.sampled_from(["true", "false", "$yes", "$no", "$on"]),
    ),
    max_size=2,
    unique_by=lambda said: said.split("(")[0],
).map(" ".join)


@st.composite
def documents(draw):
    kind, fields = draw(st.sampled_from([("query", QUERIES), ("mutation", MUTATIONS)]))
    root = kind.title()
    count = 0

    def field() -> str:
        nonlocal count
        count += 1
        alias = draw(st.sampled_from([f"a{count}: ", f"a{count}: ", ""]))
        name, sep, rest = draw(fields).partition("(")
        if not sep:
            name, sep, rest = name.partition(" ")
        closing = rest.find(")") + 1 if sep == "(" else 0
        condition = draw(CONDITIONS)
        return (
            f"{alias}{name}{sep}{rest[:closing]} {condition} {rest[closing:]}"
            if sep == "("
            else (f"{alias}{name} {rest} {condition}")
        )

    def selection(depth: int) -> str:
        shape = draw(st.sampled_from(["field", "field", "inline", "spread"])) if depth else "field"
        if shape == "inline":
            on = draw(st.sampled_from(["", f"on {root}"]))
            return f"... {on} {draw(CONDITIONS)} {{ {selection(depth - 1)}, {selection(depth - 1)} }}"
        if shape == "spread":
            return f"...{draw(st.sampled_from(['One', 'Two']))} {draw(CONDITIONS)}"
        return field()

    body = "\n".join(selection(2) for _ in range(draw(st.integers(1, 4))))
    two = f"fragment Two on {root} {{ {selection(1) if draw(st.booleans()) else field()} }}".replace("...Two", "...One")
    one = f"fragment One on {root} {{ {field()} }}"
    declared = ", ".join(f"${name}: {kind_}" for name, (kind_, _) in VARIABLES.items())
    text = f"# {{ deleteIssue }}\n{kind} Name({declared}) {{\n{body}\n}}\n{one}\n{two}\n{DEEP}"
    chosen = {name for name in VARIABLES if name not in OPTIONAL or draw(st.booleans())}
    return text, {name: draw(values) for name, (_, values) in VARIABLES.items() if name in chosen}


def argument(value: object) -> object:
    """As the typed input has it."""
    return tuple(sorted(set(value))) if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(documents())
def test_the_operations_named_are_those_that_the_executor_runs(case):
    text, variables = case
    named = posted(text, variables)
    ran = run(text, variables)
    if isinstance(named, BadBody):
        # Fields that collide have one name in the answer: servers that validate refuse them, and so does the gate.
        # Fields that collide in the answer, and conditions that are null: servers that validate refuse them too.
        if "runs nothing" in named.detail:
            assert ran == []
        else:
            assert "same name" in named.detail or ("not true and not false" in named.detail and variables["no"] is None)
        return
    expected = [name for name, _ in ran]
    assert operations(named) == (expected or ["introspection"])
    inputs_read = [part.input for part in named.parts] or [named.input]
    for (_, given_), read in zip(ran, inputs_read, strict=False):
        # As everywhere: null is no value of any type, and whoever has to read it does not.
        nothing = {f"input_{name}" for name, value in given_.get("input", {}).items() if value is None}
        assert read.unreadable == nothing
        for name, value in given_.items():
            below = value.items() if isinstance(value, dict) else [(None, value)]
            for inner, deepest in below:
                attribute = name if inner is None else f"{name}_{inner}"
                if deepest is not None:
                    assert read.values[attribute] == argument(deepest)
