"""Policy text compiled in a process of its own first, because policy text can end the process that compiles it.

`survived` runs the child and waits; the child is this same module, run by `-m` with the text on its standard input.
It imports the law and nothing else, so that a publication costs little. What is wrong with a text that can be
compiled is not said here: the caller compiles it again and sees for itself.
"""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from policy import bundle as law
from policy.attempt import Act
from policy.bundle import Bundle, Source
from policy.errors import BundleRefused
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


def survived(text: Text, *, limit_s: float) -> str | None:
    """What compiling the text does to a process, as a sentence; None when it does no harm. Blocks up to `limit_s`."""
    parts = (text.sources, text.operations, dict(text.groups), text.labels)
    # Threads of the child get the stack that threads have here: on a smaller one Cedar does worse, on a larger better.
    work = (parts, threading.stack_size())
    try:
        child = subprocess.run(
            # -P: a folder named `policy` where somebody happens to stand is not the law.
            [sys.executable, "-P", "-m", "proxy.rehearsal"],
            input=pickle.dumps(work),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"compiling the policies took longer than {limit_s:g} s"
    except OSError as exc:
        return f"no process could be started to compile the policies: {exc.strerror}"
    if child.returncode < 0:
        return f"compiling the policies ends the process (signal {-child.returncode}): too deeply nested?"
    if child.returncode > 0:
        last = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"the policies cannot be compiled: {last}"
    return None


def prepare(bundle: Bundle) -> None:
    """Every slice of the bundle is made, so that no call waits for it."""
    for name in bundle.operations:
        bundle.slice(name)
    for act in Act:
        bundle.review(act)


def _child() -> None:
    # A crash is expected here; its core file would only fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parts, stack_bytes = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own parent
    threading.stack_size(stack_bytes)
    sources, operations, groups, labels = parts
    text = Text(sources=sources, operations=operations, groups=groups, labels=labels)
    # In a thread, like those of the server.
    with ThreadPoolExecutor(max_workers=1) as threads:
        try:
            threads.submit(lambda: prepare(text.compile())).result()
        except BundleRefused:
            return


if __name__ == "__main__":
    _child()
