"""TLS at a door: what is agreed on, which certificate is shown, and when another has taken its place.

Agents and people are known by their tokens; no client is asked for a certificate. A certificate that was replaced on
disk is shown from the next handshake on, without a restart. One that cannot be used changes nothing: what was shown
before is shown still, and the log says so.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from config.settings import Tls
from policy.reasons import Reason
from proxy.errors import OperatorFault

log = logging.getLogger("assentry.doors")

LOOK_S = 1.0
"""How often, at most, the files are looked at: two calls of `stat`, when somebody connects."""


def serving(files: Tls | None, *, now: Callable[[], float] = time.monotonic) -> ssl.SSLContext | None:
    """What a listener serves TLS with, for as long as it listens; None for none.

    Raises OperatorFault when the files cannot be used.
    """
    return _Shown(files, now=now).listening if files else None


class _Shown:
    """The certificate in force."""

    def __init__(self, files: Tls, *, now: Callable[[], float]) -> None:
        self._files = files
        self._now = now
        self._look_from = now() + LOOK_S
        # Taken before the files are read: a change in between is found at the next look.
        self._state = _state(files)
        self._current = self.listening = _context(files)
        self.listening.sni_callback = self._show

    def _show(self, handshake: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        # Called for every handshake, also for those that name no server.
        if self._now() >= self._look_from:
            self._look_from = self._now() + LOOK_S
            self._look()
        handshake.context = self._current

    def _look(self) -> None:
        state = _state(self._files)
        if state == self._state:
            return
        self._state = state
        try:
            self._current = _context(self._files)
        except OperatorFault as fault:
            log.error("the certificate in force stays: %s", fault.detail)  # noqa: TRY400 - the detail says it all
        else:
            log.info("the certificate '%s' was replaced, and is shown from now on", self._files.certificate)


def _context(files: Tls) -> ssl.SSLContext:
    for path in (files.certificate, files.key):
        _readable(path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # costs us more than the client that asks for it
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=_encrypted)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            detail = f"The key '{files.key}' does not match the certificate '{files.certificate}'."
        else:
            detail = f"'{files.certificate}' and '{files.key}' are not a certificate and its key in PEM form."
        raise OperatorFault(Reason.INTERNAL, detail) from exc
    return context


def _readable(path: Path) -> None:
    # OpenSSL says that there is no such file, but not which.
    try:
        path.open("rb").close()
    except OSError as exc:
        raise OperatorFault(Reason.INTERNAL, f"The file '{path}' cannot be read: {exc.strerror}.") from exc


def _encrypted() -> str:
    # Without this, OpenSSL asks on the terminal and waits.
    raise OperatorFault(Reason.INTERNAL, "The key is encrypted. Give one that is not, in a file that only we can read.")


def _state(files: Tls) -> tuple[tuple[int, int, int] | None, ...]:
    """What changes when one of the files does; None for one that is not there."""
    return tuple(_stamp(path) for path in (files.certificate, files.key))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
