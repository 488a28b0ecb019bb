"""A key that is made once and read ever after, in a file of its own.

Several processes may start at the same moment on an empty directory: the key is written aside and linked into place, so
that exactly one wins and all read the same, and a power cut leaves either no key or all of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def kept(path: Path, fresh: bytes, *, mode: int = 0o600) -> bytes:
    """What the file holds; `fresh`, put there, if there was none. Raises OSError."""
    if not path.exists():
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(fresh)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # Another process was quicker: its key is the key.
                path.hardlink_to(aside)
        finally:
            aside.unlink()
    return path.read_bytes()
