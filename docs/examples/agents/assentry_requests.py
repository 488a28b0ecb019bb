"""A requests adapter for agents that know there is a gate. Copy this file; it needs nothing but requests.

    session = requests.Session()
    session.mount("https://gate.example.com/", AssentryAdapter(words={"Reason": "The customer was charged twice."}))

A held call is then no slow call: the gate answers at once that it is held (`Prefer: respond-async`, RFC 7240), and this
file asks how it stands until people have decided. What comes back is the upstream's response. A No is raised as
`AssentryRefused`, with the words of whoever said it. `patience_s` later, `AssentryPending` says where to ask on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

CREDENTIALS = ("Authorization", "x-api-key", "api-key")


class AssentryRefused(Exception):
    """The call was not carried out, or nobody knows whether it was."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.reason: str = problem["reason"]
        """`rejected`, `forbidden`, `expired`, …: docs/reasons.md lists them all."""
        self.call: str = problem["call"]
        self.decided_by: str | None = problem.get("decided_by")
        self.next_action: str = problem.get("next_action", "none")
        """`none`, `retry`: the same call may come again, or `request`: asking anew asks people anew."""


class AssentryPending(Exception):
    """Nobody decided in time. The call is still held; `GET status_url` tells what becomes of it."""

    def __init__(self, status_url: str) -> None:
        super().__init__(f"Nobody has decided yet. Ask again at {status_url}.")
        self.status_url = status_url


class AssentryAdapter(HTTPAdapter):
    """Mounted at the gate's origin."""

    def __init__(
        self,
        *,
        words: Mapping[str, str] | None = None,
        patience_s: float = 3600,
        answer: Callable[[str], str] | None = None,
        raise_refusals: bool = True,
        rest: Callable[[float], Any] = time.sleep,
    ) -> None:
        """`words`: sent as `Assentry-<name>`: Reason, Evidence, Confidence, Model, Session, Task; people see them.

        `answer` is given a reviewer's question and returns what to say.
        """
        super().__init__()
        self._words = {f"Assentry-{name}": text.encode("ascii", "replace") for name, text in (words or {}).items()}
        self._patience_s = patience_s
        self._answer = answer
        self._raise = raise_refusals
        self._rest = rest

    def send(self, request: requests.PreparedRequest, *args: Any, **manner: Any) -> requests.Response:
        """The upstream's response, once there is one."""
        request.headers.update({"Prefer": "respond-async", **self._words})
        until, status_url = time.monotonic() + self._patience_s, ""
        response = super().send(request, *args, **manner)
        while True:
            if _is_pending(response):
                status_url = urljoin(str(request.url), response.headers["Location"])
                _ = response.content  # Read, so that the connection is free for the next.
            elif (problem := _problem(response)) is None:
                break
            elif problem.get("type", "").endswith("question") and self._answer:
                status_url = urljoin(str(request.url), problem["status_url"])
                said = {"answer": self._answer(problem["question"])}
                answer_url = urljoin(str(request.url), problem["answer_url"])
                _ = super().send(_beside(request, "POST", answer_url, json=said), *args, **manner).content
            elif status_url and response.status_code == 401:
                raise AssentryPending(
                    status_url
                )  # The credential ran out while the call was held: ask on with a new one.
            elif not status_url or problem.get("next_action") != "retry":
                # A gate that cannot say how a call stands has not refused it.
                if self._raise:
                    raise AssentryRefused(problem)
                break
            rest_s = float(response.headers.get("Retry-After", 1))
            if time.monotonic() + rest_s > until:
                raise AssentryPending(status_url)
            self._rest(rest_s)
            with suppress(requests.ConnectionError, requests.Timeout):
                response = super().send(_beside(request, "GET", status_url), *args, **manner)
        response.request, response.url = request, str(request.url)
        return response


def _beside(asked: requests.PreparedRequest, method: str, url: str, **content: Any) -> requests.PreparedRequest:
    if urlsplit(url)[:2] != urlsplit(str(asked.url))[:2]:
        raise AssentryPending(url)  # A credential goes to where it was meant for, and nowhere else.
    shown = {name: asked.headers[name] for name in CREDENTIALS if name in asked.headers}
    return requests.Request(method, url, headers=shown, **content).prepare()


def _is_pending(response: requests.Response) -> bool:
    call = response.headers.get("Assentry-Call", "-")
    # An upstream may answer 202 for reasons of its own.
    return response.status_code == 202 and response.headers.get("Location", "").endswith(f"/v1/calls/{call}")


def _problem(response: requests.Response) -> Mapping[str, Any] | None:
    """What the gate itself says; None for a response of the upstream's, which does not know the id of the call."""
    if response.headers.get("Content-Type", "") != "application/problem+json":
        return None
    said = response.json()
    return said if isinstance(said, dict) and said.get("call") == response.headers.get("Assentry-Call", "-") else None
