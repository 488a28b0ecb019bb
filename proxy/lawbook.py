"""Policy files into a bundle, proved harmless before it is used.

Reads the shipped policies and those of the settings; what they mean is `policy.bundle`'s. Text that could end the
process is first compiled in a child, and at start the engine shows that it refuses what it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from config import settings as config
from connectors.apis import catalogue, shipped
from connectors.apis.catalogue import Catalogue
from connectors.apis.mcp.finding import TOOL_CHANGED
from policy import bundle as law
from policy.bundle import Bundle, Source
from policy.call import Call, CallId, Input, Resource, Target
from policy.engine import Engine
from policy.errors import BundleRefused, Problem
from policy.operation import Operation, OperationClass, unknown
from policy.principal import Identity, Principal
from policy.reasons import Reason
from policy.verdict import Allow, Ask, Deny, Verdict
from proxy.errors import BrokenPromise
from proxy.rehearsal import Text, rehearsed

SHIPPED = "assentry/base.cedar"
"""What the shipped policies are called in problems and explanations."""
REHEARSAL = Source(file="rehearsal", text='@id("rehearsal-grant") permit (principal is Agent, action, resource);')
"""Beside policies that only refuse and hold, so that their cases show what they let through."""
SHIPPED_FOR_MCP = "assentry/mcp.cedar"
"""The same for those that are there where an upstream is an MCP server."""


def compile_bundle(
    settings: config.Policy,
    *,
    operations: Sequence[Operation],
    groups: Mapping[str, config.Group],
    labels: Iterable[str],
) -> Bundle:
    """The bundle of the settings' policy files. Raises BundleRefused with every problem found.

    For text that nobody has compiled here before, `compile_in_child` comes first.
    """
    return _text(settings, operations=operations, groups=groups, labels=labels).compile()


def compile_in_child(
    settings: config.Policy,
    *,
    operations: Sequence[Operation],
    groups: Mapping[str, config.Group],
    labels: Iterable[str],
    beside: Sequence[Source] = (),
    limit_s: float = 60,
) -> Bundle:
    """The same bundle, compiled in a child process first, because policy text can end the process that compiles it.

    Blocks for as long as the compilation takes, `limit_s` at most: call it in a thread. Raises BundleRefused, also
    where the child did not survive or did not finish. `beside` is further text.
    """
    text = _text(settings, operations=operations, groups=groups, labels=labels)
    text = replace(text, sources=(*text.sources, *beside))
    return text.restore(rehearsed(text, limit_s=limit_s))


def read_catalogues(upstreams: Iterable[config.Upstream]) -> tuple[Catalogue, ...]:
    """The catalogue of each upstream, empty where neither a file nor its connector has one. Raises CatalogueRefused."""
    return tuple(
        catalogue.load(
            upstream.catalogue,
            upstream=upstream.name,
            connector=upstream.connector,
            settings={"service": upstream.aws.service} if upstream.aws else {},
        )
        for upstream in upstreams
    )


def operations_of(catalogues: Iterable[Catalogue]) -> tuple[Operation, ...]:
    """Every operation that a policy may name: the catalogues', and each upstream's unknown one."""
    return tuple(one for each in catalogues for one in (*each.operations, unknown(each.upstream, "*")))


def labels_of(catalogues: Iterable[Catalogue]) -> frozenset[str]:
    """Every label that a policy may name."""
    return frozenset(label for each in catalogues for label in each.labels)


def self_test(engine: Engine) -> None:
    """Returns if the engine refuses what it must. Raises BrokenPromise otherwise: then nothing may be served.

    Runs in a thread like those of the server, because on a small stack Cedar skips policies that match; the policies
    of `engine` are prepared there too, for the same reason.
    """
    with ThreadPoolExecutor(max_workers=1) as threads:
        failure = threads.submit(_failure, engine).result()
    if failure is not None:
        raise BrokenPromise(Reason.POLICY_ERROR, failure)


def _text(
    settings: config.Policy,
    *,
    operations: Sequence[Operation],
    groups: Mapping[str, config.Group],
    labels: Iterable[str],
) -> Text:
    return Text(
        sources=(*_of_connectors(settings, labels), *_sources(settings)),
        operations=tuple(operations),
        groups={name: group.quorum for name, group in groups.items()},
        labels=frozenset(labels),
    )


def _of_connectors(settings: config.Policy, labels: Iterable[str]) -> tuple[Source, ...]:
    """The shipped policies that only the calls of one connector need, where there may be such calls."""
    if not (settings.base and TOOL_CHANGED in labels):
        return ()
    text = files("connectors").joinpath("apis", "mcp", "base.cedar").read_text("utf-8")
    return (Source(file=SHIPPED_FOR_MCP, text=text),)


def _sources(settings: config.Policy) -> tuple[Source, ...]:
    """The shipped policies first, then the files in the order of the settings, those of a folder by name."""
    base = files("policy").joinpath("cedar", "base.cedar").read_text("utf-8")
    sources = [Source(file=SHIPPED, text=base)] if settings.base else []
    problems: list[Problem] = []
    for path in settings.files:
        if shipped.is_reference(path):
            sources += _built_in(path, problems)
            continue
        found = sorted(path.glob("*.cedar")) if path.is_dir() else [path]
        if not found:
            problems.append(_problem(str(path), "there is no *.cedar file in this folder"))
        for file in found:
            try:
                sources.append(Source(file=str(file), text=file.read_text("utf-8")))
            except OSError as unreadable:
                problems.append(_problem(str(file), f"cannot be read: {unreadable.strerror}"))
            except UnicodeDecodeError:
                problems.append(_problem(str(file), "is not UTF-8 text"))
    if problems:
        raise BundleRefused(tuple(problems))
    return tuple(sources)


def _built_in(path: Path, problems: list[Problem]) -> list[Source]:
    try:
        named = shipped.reference(path, having=shipped.POLICIES)
    except shipped.NoSuchConnector as unknown_name:
        problems.append(_problem(str(path), str(unknown_name)))
        return []
    return [Source(file=str(path), text=named.text(shipped.POLICIES))]


def _problem(file: str, message: str) -> Problem:
    return Problem(file=file, line=1, column=1, message=message)


_CANARY = """
@id("grant") permit (principal is Agent, action, resource);
@id("group") forbid (principal is Agent, action in Action::"destructive", resource);
@id("overflow") forbid (principal is Agent, action == Action::"self:overflow", resource)
when { context.req.bodyLength * 9223372036854775807 > 0 };
@id("gate") @hold("self") forbid (principal is Agent, action in Action::"money", resource)
unless { context.approvals.count >= 1 };
"""


def _failure(engine: Engine) -> str | None:
    """What the engine gets wrong, as a sentence; None if it gets everything right."""
    operations = {
        "self:plain": OperationClass.READ,
        "self:delete": OperationClass.DESTRUCTIVE,
        "self:overflow": OperationClass.READ,
        "self:pay": OperationClass.MONEY,
    }
    named = {name: _operation(name, kind) for name, kind in operations.items()}
    source = Source(file="self-test", text=_CANARY)
    try:
        canary = Engine(law.build([source], operations=[*named.values()], groups={}, labels=frozenset()))
    except BundleRefused:
        return "The policy engine failed its self-test: good policies are refused. Is the stack of threads too small?"
    expectations: tuple[tuple[str, Callable[[Verdict], bool], str], ...] = (
        ("self:plain", lambda said: isinstance(said, Allow), "a granted call is not allowed"),
        ("self:delete", lambda said: _denied(said, Reason.FORBIDDEN), "a prohibition on an action group does not act"),
        ("self:overflow", lambda said: _denied(said, Reason.POLICY_ERROR), "a policy that errors does not deny"),
        ("self:pay", lambda said: isinstance(said, Ask), "a gate does not ask"),
    )
    for name, right, failure in expectations:
        if not right(canary.judge(_call(named[name]), now=0)):
            return f"The policy engine failed its self-test: {failure}."
    engine.bundle.prepare()
    return None


def _denied(verdict: Verdict, reason: Reason) -> bool:
    return isinstance(verdict, Deny) and verdict.reason is reason


def _operation(name: str, kind: OperationClass) -> Operation:
    return Operation(name=name, upstream="self", method="GET", template="/", classes=frozenset({kind}))


def _call(operation: Operation) -> Call:
    return Call(
        id=CallId("call_self"),
        upstream="self",
        environment="test",
        target=Target(method="GET", path="/"),
        body_digest="",
        body_length=2,
        operation=operation,
        input=Input(),
        resource=Resource(kind="self", id="self/self/1"),
        principal=Principal(agent=Identity("self:agent"), expires_at=1),
        peer="127.0.0.1",
        sample=0,
        received_at=0,
    )
