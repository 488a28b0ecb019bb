"""What every Python peer does for a call: verify the bearer (remembered), match the route, decide (remembered), log it.

The same work, by hand and with nothing to spare, that the gate does; whoever asks an authorizer would write this.
Configured by the environment: BENCH_PEM, BENCH_ISSUER, BENCH_AUDIENCE, BENCH_LOG.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from enum import Enum
from pathlib import Path

import jwt
import orjson

_PEM = Path(os.environ["BENCH_PEM"]).read_text()
_TRUST = {"algorithms": ["RS256"], "issuer": os.environ["BENCH_ISSUER"], "audience": os.environ["BENCH_AUDIENCE"]}
_DECISION_S = 30.0
_MOST_REMEMBERED = 65_536
_LOG_BYTES = 64 << 20

_EXACT = {("GET", "/api/v1/models"): "models.list"}
_KINDS = ("tickets", "mail", "crm", "deploys", "users", "repos")
_METHODS = ("GET", "POST", "DELETE")
_BELOW = "/api/v1/"
_TEMPLATES = {
    **{
        (method, kind): tuple(
            (re.compile(rf"{_BELOW}{kind}{rest}"), f"{kind}.{method.lower()}")
            for rest in ("/[^/]+", "/[^/]+/comments", "")
        )
        for kind in _KINDS
        for method in _METHODS
    },
    ("GET", "files"): ((re.compile(f"{_BELOW}files/[^/]+/content"), "files.get"),),
    ("PUT", "files"): ((re.compile(f"{_BELOW}files/[^/]+"), "files.put"),),
    ("POST", "refunds"): ((re.compile(f"{_BELOW}refunds"), "refunds.post"),),
}
"""By method and first segment, so that a call is compared with a few of them only."""


class Decision(Enum):
    """What becomes of a call."""

    ALLOW = 200
    UNKNOWN = 401
    DENY = 403
    HOLD = 0


_verified: dict[str, tuple[float, str]] = {}
_decided: dict[tuple[str, str], tuple[float, Decision]] = {}
_lines: deque[tuple[float, str, str, str, str, str]] = deque(maxlen=1_000_000)


def decide(method: str, target: str, authorization: str | None) -> tuple[Decision, str]:
    """The decision and the subject, put on the log."""
    subject = _subject(authorization)
    if subject is None:
        return Decision.UNKNOWN, ""
    action = _action(method, target.partition("?")[0])
    decision = _decision(subject, action)
    _lines.append((time.time(), subject, action, method, target, decision.name))
    return decision, subject


def write_log() -> None:
    """Appends what was decided since the last time to the log, which never grows beyond 64 MiB."""
    if not _lines:
        return
    path = Path(os.environ["BENCH_LOG"])
    with path.open("r+b" if path.exists() and path.stat().st_size < _LOG_BYTES else "wb") as log:
        log.seek(0, os.SEEK_END)
        log.write(b"".join([orjson.dumps(_lines.popleft()) + b"\n" for _ in range(len(_lines))]))


def _subject(authorization: str | None) -> str | None:
    if authorization is None or not authorization.startswith("Bearer "):
        return None
    bearer = authorization[7:]
    known = _verified.get(bearer)
    if known is not None and known[0] > time.time():
        return known[1]
    try:
        claims = jwt.decode(bearer, _PEM, options={"require": ["exp", "iss", "aud", "sub"]}, **_TRUST)
    except jwt.InvalidTokenError:
        return None
    if len(_verified) >= _MOST_REMEMBERED:
        _verified.pop(next(iter(_verified)))
    _verified[bearer] = (float(claims["exp"]), str(claims["sub"]))
    return str(claims["sub"])


def _action(method: str, path: str) -> str:
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact
    end = path.find("/", len(_BELOW))
    near = _TEMPLATES.get((method, path[len(_BELOW) : end if end > 0 else None]), ())
    return next((name for shape, name in near if shape.fullmatch(path)), "unknown")


def _decision(subject: str, action: str) -> Decision:
    known = _decided.get((subject, action))
    if known is not None and known[0] > time.monotonic():
        return known[1]
    decision = {"unknown": Decision.DENY, "refunds.post": Decision.HOLD}.get(action, Decision.ALLOW)
    _decided[subject, action] = (time.monotonic() + _DECISION_S, decision)
    return decision
