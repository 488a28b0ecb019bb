"""`make bench`: every benchmark in turn, each in a process of its own so that none warms another's caches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run them all; the number of those that failed."""
    failed = 0
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        sys.stdout.write(f"\n== {path.stem.removeprefix('bench_')}\n")
        sys.stdout.flush()
        failed += subprocess.run([sys.executable, "-m", f"tests.bench.{path.stem}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
