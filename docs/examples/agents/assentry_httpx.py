"""An httpx2 transport for agents that know there is a gate. Copy this file; it needs nothing but httpx2.

    client = httpx2.Client(transport=AssentryTransport(words={"Reason": "The customer was charged twice."}))

A held call is then no slow call: the gate answers at once that it is held (`Prefer: respond-async`, RFC 7240), and this
file asks how it stands until people have decided. What comes back is the upstream's response. A No is raised as
`AssentryRefused`, with the words of whoever said it. `patience_s` later, `AssentryPending` says where to ask on.

SDKs that take an `http_client` (openai, anthropic) raise errors of their own: give them `raise_refusals=False`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from typing import Any

import httpx2

CREDENTIALS = ("authorization", "x-api-key", "api-key")


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


class _Steps:
    """What to do next about one call, for a transport that waits and one that does not block alike."""

    def __init__(
        self,
        *,
        words: Mapping[str, str] | None = None,
        patience_s: float = 3600,
        answer: Callable[[str], str] | None = None,
        raise_refusals: bool = True,
    ) -> None:
        """`words`: sent as `Assentry-<name>`: Reason, Evidence, Confidence, Model, Session, Task; people see them.

        `answer` is given a reviewer's question and returns what to say.
        """
        self._words = {f"Assentry-{name}": text.encode("ascii", "replace") for name, text in (words or {}).items()}
        self._patience_s = patience_s
        self._answer = answer
        self._raise = raise_refusals

    def of(self, asked: httpx2.Request) -> Generator[httpx2.Request | float, Any, httpx2.Response]:
        """Yields what is to be sent, or seconds to rest; returns the response."""
        asked.headers["Prefer"] = "respond-async"
        asked.headers.update(self._words)
        until, status_url = time.monotonic() + self._patience_s, ""
        response = yield asked
        while True:
            if _is_pending(response):
                status_url = str(asked.url.join(response.headers["Location"]))
            elif (problem := _problem(response)) is None:
                return response
            elif problem.get("type", "").endswith("question") and self._answer:
                status_url = str(asked.url.join(problem["status_url"]))
                said = {"answer": self._answer(problem["question"])}
                yield self._request("POST", str(asked.url.join(problem["answer_url"])), asked, json=said)
            elif status_url and response.status_code == 401:
                raise AssentryPending(
                    status_url
                )  # The credential ran out while the call was held: ask on with a new one.
            elif not status_url or problem.get("next_action") != "retry":
                # A gate that cannot say how a call stands has not refused it.
                if self._raise:
                    raise AssentryRefused(problem)
                return response
            rest_s = float(response.headers.get("Retry-After", 1))
            if time.monotonic() + rest_s > until:
                raise AssentryPending(status_url)
            yield rest_s
            with suppress(httpx2.TransportError):
                response = yield self._request("GET", status_url, asked)

    def _request(self, method: str, url: str, asked: httpx2.Request, **content: Any) -> httpx2.Request:
        there = httpx2.URL(url)
        if (there.scheme, there.host, there.port) != (asked.url.scheme, asked.url.host, asked.url.port):
            raise AssentryPending(url)  # A credential goes to where it was meant for, and nowhere else.
        shown = {name: asked.headers[name] for name in CREDENTIALS if name in asked.headers}
        return httpx2.Request(method, there, headers=shown, extensions=asked.extensions, **content)


def _is_pending(response: httpx2.Response) -> bool:
    call = response.headers.get("Assentry-Call", "-")
    # An upstream may answer 202 for reasons of its own.
    return response.status_code == 202 and response.headers.get("Location", "").endswith(f"/v1/calls/{call}")


def _problem(response: httpx2.Response) -> Mapping[str, Any] | None:
    """What the gate itself says; None for a response of the upstream's, which does not know the id of the call."""
    if not _is_problem(response):
        return None
    said = response.json()
    return said if isinstance(said, dict) and said.get("call") == response.headers.get("Assentry-Call", "-") else None


def _is_problem(response: httpx2.Response) -> bool:
    return response.headers.get("Content-Type", "") == "application/problem+json"


class AssentryTransport(httpx2.BaseTransport):
    """For `httpx2.Client`. Options: see `_Steps`."""

    def __init__(
        self, inner: httpx2.BaseTransport | None = None, *, rest: Callable[[float], Any] = time.sleep, **options: Any
    ) -> None:
        self._inner = inner or httpx2.HTTPTransport()
        self._rest = rest
        self._steps = _Steps(**options)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        steps = self._steps.of(request)
        step = next(steps)
        while True:
            try:
                step = steps.send(self._take(step))
            except httpx2.TransportError as lost:
                step = steps.throw(lost)
            except StopIteration as end:
                return end.value

    def _take(self, step: httpx2.Request | float) -> httpx2.Response | None:
        if not isinstance(step, httpx2.Request):
            return self._rest(step)
        response = self._inner.handle_request(step)
        if _is_pending(response) or _is_problem(response):
            response.read()
        return response

    def close(self) -> None:
        self._inner.close()


class AsyncAssentryTransport(httpx2.AsyncBaseTransport):
    """For `httpx2.AsyncClient`. Options: see `_Steps`."""

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport | None = None,
        *,
        rest: Callable[[float], Any] = asyncio.sleep,
        **options: Any,
    ) -> None:
        self._inner = inner or httpx2.AsyncHTTPTransport()
        self._rest = rest
        self._steps = _Steps(**options)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        steps = self._steps.of(request)
        step = next(steps)
        while True:
            try:
                step = steps.send(await self._take(step))
            except httpx2.TransportError as lost:
                step = steps.throw(lost)
            except StopIteration as end:
                return end.value

    async def _take(self, step: httpx2.Request | float) -> httpx2.Response | None:
        if not isinstance(step, httpx2.Request):
            return await self._rest(step)
        response = await self._inner.handle_async_request(step)
        if _is_pending(response) or _is_problem(response):
            await response.aread()
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()
