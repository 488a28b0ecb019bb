"""Policy text compiled in a process of its own first, because policy text can end the process that compiles it.

`rehearsed` runs the child and waits; the child is this same module, run by `-m` with the text on its standard input.
It imports the law and nothing else, checks types, makes every slice that a call could need, and answers with the
digest of the bundle or with everything that is wrong. The caller reads the text again, and leaves out what was proved.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from policy import bundle as law
from policy.bundle import Bundle, Source
from policy.errors import BundleRefused, Problem
from policy.operation import Operation

_KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Environment of the child: what Python needs to start. Secrets may stand in the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """All that a bundle is made of."""

    sources: tuple[Source, ...]
    operations: tuple[Operation, ...]
    groups: Mapping[str, int]
    """Largest quorum of each group."""
    labels: frozenset[str]

    def compile(self) -> Bundle:
        """The bundle. Raises BundleRefused; may end the process."""
        return law.build(self.sources, operations=self.operations, groups=self.groups, labels=self.labels)

    def restore(self, digest: str) -> Bundle:
        """The bundle that a rehearsal has found good. Raises BundleRefused if this is another text."""
        return law.restore(
            self.sources, operations=self.operations, groups=self.groups, labels=self.labels, digest=digest
        )


def rehearsed(text: Text, *, limit_s: float) -> str:
    """The digest of the bundle, which another process has compiled without harm. Blocks up to `limit_s`.

    Raises BundleRefused: with what is wrong with the text, or with what it did to the process.
    """
    parts = (text.sources, text.operations, dict(text.groups), text.labels)
    # Threads of the child get the stack that threads have here: on a smaller one Cedar does worse, on a larger better.
    work = (parts, threading.stack_size())
    try:
        child = subprocess.run(
            # -P: a folder named `policy` where somebody happens to stand is not the law.
            [sys.executable, "-P", "-m", "proxy.rehearsal"],
            input=pickle.dumps(work, pickle.HIGHEST_PROTOCOL),
            capture_output=True,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        raise _harmful(f"compiling the policies took longer than {limit_s:g} s") from slow
    except OSError as exc:
        raise _harmful(f"no process could be started to compile the policies: {exc.strerror}") from exc
    if child.returncode < 0:
        raise _harmful(f"compiling the policies ends the process (signal {-child.returncode}): too deeply nested?")
    if child.returncode > 0:
        last = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise _harmful(f"the policies cannot be compiled: {last}")
    return _digest(child.stdout)


def _digest(answer: bytes) -> str:
    """The child's answer: a digest, or a list of problems."""
    said = json.loads(answer)
    if isinstance(said, str):
        return said
    raise BundleRefused(tuple(Problem(**problem) for problem in said))


def _harmful(message: str) -> BundleRefused:
    return BundleRefused((Problem(file="policies", line=1, column=1, message=message),))


def _child() -> None:
    # A crash is expected here; its core file would only fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parts, stack_bytes = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    threading.stack_size(stack_bytes)
    sources, operations, groups, labels = parts
    text = Text(sources=sources, operations=operations, groups=groups, labels=labels)
    # In a thread, like those of the server.
    with ThreadPoolExecutor(max_workers=1) as threads:
        print(json.dumps(threads.submit(_proved, text).result()))  # noqa: T201 - read by our own parent


def _proved(text: Text) -> str | list[dict[str, object]]:
    try:
        bundle = text.compile()
    except BundleRefused as refused:
        return [asdict(problem) for problem in refused.problems]
    bundle.prove()
    return bundle.digest


if __name__ == "__main__":
    _child()
