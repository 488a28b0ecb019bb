"""Policy text in pieces: where they are cut, what is never shown to Cedar, and where a mistake is."""

from __future__ import annotations

from cedarpy import PolicySet
from hypothesis import given
from hypothesis import strategies as st

from policy import statements
from policy.statements import locate, split

PLAIN = "permit (principal, action, resource);"


def complain(text: str) -> str | None:
    try:
        PolicySet.from_str(text)
    except ValueError as wrong:
        return str(wrong)
    return None


def located(text: str) -> tuple[int, int]:
    (statement,), _ = split("p.cedar", text)
    problem = locate(statement, complain)
    return problem.line, problem.column


def test_statements_are_cut_at_semicolons_outside_of_brackets_and_strings() -> None:
    text = f'// a; comment;\n@id("a;b") {PLAIN}\n\n  {PLAIN} // end;'
    cut, problems = split("p.cedar", text)
    assert not problems
    assert [(one.line, one.column) for one in cut] == [(2, 1), (4, 3)]
    assert cut[0].text == f'@id("a;b") {PLAIN}'


def test_a_carriage_return_ends_a_comment_as_it_does_for_cedar() -> None:
    cut, _ = split("p.cedar", f"// nothing to see\r{PLAIN}")
    assert [one.text for one in cut] == [PLAIN]


@given(st.lists(st.sampled_from(['@id("x")', "\n", "// c;\n", " ", '// "\n']), max_size=8), st.integers(0, 5))
def test_cedar_counts_the_same_statements_as_we_do(noise: list[str], count: int) -> None:
    text = "".join("".join(one for one in noise if one != '@id("x")') + PLAIN for _ in range(count)) + "// end"
    assert len(split("p.cedar", text)[0]) == len(PolicySet.from_str(text)) == count


def test_ten_thousand_parentheses_are_refused_and_do_not_end_the_process() -> None:
    cut, problems = split("p.cedar", f"permit(principal,action,resource) when {{{'(' * 10_000}true{')' * 10_000}}};")
    assert not cut
    assert "levels of brackets" in problems[0].message


def test_every_way_to_grow_a_policy_without_end_is_refused() -> None:
    def when(condition: str) -> str:
        return f"permit(principal,action,resource) when {{{condition}}};"

    hostile = {
        "brackets": when("[" * 49 + "]" * 49),
        "ifs": when("if true then " * 49 + "true" + " else false" * 49),
        "ands": when(" && ".join(["true"] * 300)),
        "pluses": when("+".join(["1"] * 300) + " > 1"),
        "dots": when("context" + ".a" * 401),
        "indexes": when("context" + '["a"]' * 401),
        "words": when(f"[{','.join(['1'] * 3000)}].contains(1)"),
    }
    for name, text in hostile.items():
        assert split("p.cedar", text)[1], name


def test_the_limits_themselves_are_within_what_cedar_survives() -> None:
    depth = statements.MOST_DEPTH - 2
    text = f"permit(principal,action,resource) when {{{'(' * depth}true{')' * depth}}};"
    assert split("p.cedar", text)[1] == ()
    assert complain(text) is None


def test_text_that_reads_otherwise_than_it_runs_is_refused() -> None:
    _, problems = split("p.cedar", f"// \u202e nothing\n{PLAIN}")
    assert "U+202E" in problems[0].message
    assert (problems[0].line, problems[0].column) == (1, 4)


def test_text_beyond_the_size_limit_is_refused() -> None:
    assert split("p.cedar", "// " + "x" * statements.MOST_BYTES)[1]


def test_a_mistake_is_found_at_its_line_and_column() -> None:
    assert located("permit (principal, action, resource)\nwhen { context.a == };") == (2, 21)
    assert located("permit (principal, action resource);") == (1, 27)
    assert located("permit (principal, actio, resource);") == (1, 20)
    assert located("permit (principal, action, resource) when { foo(1) };") == (1, 45)
    assert located("permit (principal, action, resource) # what;") == (1, 38)
    assert located("permit (principal, action, resource)") == (1, 36)


@given(st.integers(0, 27), st.sampled_from(["}", ")", "==", "@", "::", "when", '"x"', "7"]))
def test_a_mistake_is_never_located_before_the_word_that_makes_it_one(place: int, stray: str) -> None:
    words = [
        "@id",
        "(",
        '"a"',
        ")",
        "permit",
        "(",
        "principal",
        ",",
        "action",
        ",",
        "resource",
        ")",
        "when",
        "{",
        "context",
        ".",
        "a",
        ">",
        "1",
        "&&",
        "true",
        "}",
        ";",
    ]
    broken = " ".join([*words[:place], stray, *words[place:]])
    cut, _ = split("p.cedar", broken)
    said = complain(broken)
    if said is None or "unexpected token" not in said or len(cut) != 1:
        return
    stray_at = sum(len(word) + 1 for word in words[:place])
    assert locate(cut[0], complain).column >= stray_at + 1
