"""Sizes, names and the few constructs that this house does without."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.house.source import Function, Module, checks, rooms

LONGEST_FUNCTION = 60
LONGEST_MODULE = 400
USUAL_NESTING = 2
DEEPEST_NESTING = 4
REASON_FOR_LENGTH = re.compile(r"longer than 400 lines because \w+", re.IGNORECASE)
BANNED_PARTS = frozenset({"Manager", "Handler", "Service", "Helper", "Util", "Utils", "Base", "Common", "Impl"})
FORCED_NAMES: frozenset[str] = frozenset()
"""Class names that a framework forces on us."""
LOOSE_TASKS = frozenset({"create_task", "ensure_future"})


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{module.at(node, node.name)}: {node.end_lineno - node.lineno + 1} lines"
        for module in (*rooms(), *checks())
        for node in module.functions()
        if node.end_lineno and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_module_is_longer_than_400_lines_unless_it_says_why():
    long = [
        f"{module.name}: {module.lines} lines"
        for module in rooms()
        if module.lines > LONGEST_MODULE and not REASON_FOR_LENGTH.search(_opening(module))
    ]
    assert long == []


def test_functions_guard_and_return_early():
    depths = {module.at(node, node.name): _depth(node) for module in rooms() for node in module.functions()}
    assert [where for where, depth in depths.items() if depth > DEEPEST_NESTING] == []
    flat = sum(depth <= USUAL_NESTING for depth in depths.values())
    assert flat / len(depths) > 0.95, sorted(where for where, depth in depths.items() if depth > USUAL_NESTING)


def test_names_say_what_a_class_is_not_that_it_is_one():
    empty = [
        module.at(node, node.name)
        for module in (*rooms(), *checks())
        for node in module.of(ast.ClassDef)
        if isinstance(node, ast.ClassDef)
        and BANNED_PARTS & set(re.findall(r"[A-Z][a-z]*", node.name))
        and node.name not in FORCED_NAMES
    ]
    assert empty == []


def test_files_are_not_called_utils():
    words = {part.lower() for part in BANNED_PARTS}
    assert [module.name for module in rooms() if words & set(module.path.stem.lower().split("_"))] == []


def test_every_module_says_what_it_is_about():
    # A file of tests says it by its name and its sentences.
    support = [module for module in checks() if not module.path.name.startswith("test_")]
    silent = [module.name for module in (*rooms(), *support) if module.text.strip() and not _opening(module)]
    assert silent == []


def test_background_work_always_has_an_owner():
    loose = [
        module.at(node)
        for module in rooms()
        for node in module.of(ast.Call)
        if isinstance(node, ast.Call) and _is_loose_task(node.func)
    ]
    assert loose == []


def test_doubles_are_things_not_patches():
    patched = [
        module.at(node)
        for module in checks()
        for node in module.of(ast.Import, ast.ImportFrom)
        if "mock" in ast.unparse(node)
    ]
    assert patched == []


def test_logs_are_named_after_their_room():
    odd = [
        module.at(node, ast.unparse(node))
        for module in rooms()
        for node in module.of(ast.Call)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger" and not _ours(node)
    ]
    assert odd == []


def test_the_measures_measure():
    source = ast.parse(
        "def f():\n    if a:\n        pass\n    elif b:\n        for x in y:\n            while z: pass\n"
    )
    assert _depth(next(_functions(source))) == 3
    assert _is_loose_task(ast.parse("asyncio.create_task(x)", mode="eval").body.func)  # type: ignore[attr-defined]
    assert not _is_loose_task(ast.parse("group.create_task(x)", mode="eval").body.func)  # type: ignore[attr-defined]


def _opening(module: Module) -> str:
    return " ".join((ast.get_docstring(module.tree) or "").split())


def _depth(node: ast.AST) -> int:
    return max((_depth_of(child) for child in ast.iter_child_nodes(node)), default=0)


def _depth_of(node: ast.AST) -> int:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return 0  # measured by itself
    nests = isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.Try | ast.Match)
    return int(nests) + max((_depth_of(child) - _elif(node, child) for child in ast.iter_child_nodes(node)), default=0)


def _elif(node: ast.AST, child: ast.AST) -> int:
    return int(isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child])


def _is_loose_task(called: ast.expr) -> bool:
    if not isinstance(called, ast.Attribute) or called.attr not in LOOSE_TASKS:
        return False
    owner = ast.unparse(called.value)
    return owner == "asyncio" or "loop" in owner


def _ours(node: ast.Call) -> bool:
    return bool(node.args) and ast.literal_eval(node.args[0]).startswith("assentry")


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
