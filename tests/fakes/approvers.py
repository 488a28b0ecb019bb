"""The approvers' side of a running gate: people in browsers and with tokens, and an agent whose calls are held.

    async with approvers(tmp_path) as office:
        call = await office.held(25_000)
        async with office.browser() as ann:
            await ann.sign_in("ann")
            page = await ann.get(f"/holds/{call}")
            await ann.decide("approve", page)

The gate, the issuer and the upstreams are those of the demo: people Ann and Ben (finance leads), Olga (finance lead,
operator, owner of the agent); Ann is an auditor. Refunds above 100.00 need one lead, above 1,000.00 two.
"""

from __future__ import annotations

import asyncio
import html
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson
from aiohttp import ClientSession, CookieJar

from proxy.demo.run import Demo, demo

T = TypeVar("T")

PATIENCE_S = 15.0
FORM = "application/x-www-form-urlencoded"
_INPUT = re.compile(r'<input type="?hidden"? name="(\w+)" value="([^"]*)">')
_HIDDEN = re.compile(r"<input type='hidden' name='(\w+)' value='([^']*)'>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a door answered."""

    status: int
    headers: Any
    """As aiohttp gives them: a mapping that knows repeated names."""
    body: bytes
    path: str

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def fields(self) -> dict[str, str]:
        """The hidden fields of its forms; the last form wins."""
        return {name: html.unescape(value) for name, value in _INPUT.findall(self.text)}


@dataclass(slots=True, kw_only=True)
class Browser:
    """A browser as far as cookies, origins and forms go."""

    office: Office
    session: ClientSession

    async def get(self, path: str, **headers: str) -> Page:
        """The answer to a navigation; redirects are not followed."""
        return await self._page("GET", path, {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", **headers})

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Page:
        """The answer to a form of the console; `headers` replace what a browser would send, empty ones are left out."""
        honest = {
            "Accept": "text/html",
            "Origin": self.office.url,
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": FORM,
        }
        sent = {name: value for name, value in {**honest, **_dashed(headers)}.items() if value}
        return await self._page("POST", path, sent, urlencode(fields).encode())

    async def sign_in(self, person: str, *, to: str = "/") -> Page:
        """The page where the sign-in ended: a redirect of ours with a session cookie."""
        asked = await self.get(f"/sign-in?{urlencode({'to': to})}")
        assert asked.status == 303, asked
        back = await self.choose(asked.headers["Location"], person)
        return await self.get(back)

    async def choose(self, there: str, person: str) -> str:
        """The path and query with which the issuer sends this browser back."""
        form = {**dict(parse_qsl(urlsplit(there).query)), "as": person}
        async with self.session.post(there.split("?", maxsplit=1)[0], data=form, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            parts = urlsplit(answer.headers["Location"])
            return f"{parts.path}?{parts.query}"

    async def decide(self, act: str, page: Page, *, reason: str = "", **headers: str) -> Page:
        """The answer to a decision on what that page shows."""
        return await self.post(f"{page.path.split('?')[0]}/{act}", {**page.fields, "reason": reason}, **headers)

    async def plant(self, name: str, value: str) -> None:
        """Put a cookie of the console into this browser, as if the console had set it."""
        async with self.session.get(f"{self.office.url}/static/mark.svg") as answer:
            cookie = SimpleCookie({name: value})
            cookie[name]["path"] = "/"
            self.session.cookie_jar.update_cookies(cookie, answer.url)

    def cookie(self, name: str) -> str:
        """The value of a cookie of the console."""
        return next(cookie.value for cookie in self.session.cookie_jar if cookie.key == name)

    async def _page(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Page:
        url = self.office.url + path
        async with self.session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
            return Page(status=answer.status, headers=answer.headers, body=await answer.read(), path=path)


@dataclass(slots=True, kw_only=True)
class Office:
    """A running gate seen from the approvers' side."""

    demo: Demo
    session: ClientSession
    _count: int = field(default=0)

    @property
    def url(self) -> str:
        """The approvers' door."""
        return self.demo.gate.approvers_url

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        """A browser without cookies."""
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            yield Browser(office=self, session=session)

    async def held(
        self, amount: int = 25_000, *, charge: str = "", body: str = "", said: Mapping[str, str] | None = None
    ) -> str:
        """The id of a refund that now waits for people. `said`: headers with the agent's own words."""
        self._count += 1
        form = body or urlencode({"charge": charge or f"ch_{self._count}", "amount": amount})
        headers = {
            # An agent of its own for each, or the cap on open holds would end the test.
            "Authorization": f"Bearer {self.demo.issuer.agent_token('billing-bot', sub=f'bot-{self._count}')}",
            "Content-Type": FORM,
            "Prefer": "respond-async",
            **(said or {}),
        }
        url = f"{self.demo.gate.agents_url}/stripe/v1/refunds"
        async with self.session.post(url, data=form.encode(), headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            return answer.headers["Assentry-Call"]

    async def api(
        self,
        person: str,
        method: str,
        path: str,
        document: object = None,
        *,
        body: bytes | None = None,
        **headers: str,
    ) -> Page:
        """What the API answers to a person's token; no person, no token."""
        sent = {"Authorization": f"Bearer {self.demo.issuer.person_token(person)}"} if person else {}
        content = orjson.dumps(document) if document is not None else body
        if content is not None:
            sent["Content-Type"] = "application/json"
        sent = {name: value for name, value in {**sent, **_dashed(headers)}.items() if value}
        asked = self.session.request(method, self.url + path, headers=sent, data=content, allow_redirects=False)
        async with asked as answer:
            return Page(status=answer.status, headers=answer.headers, body=await answer.read(), path=path)

    async def show(self, call: str, person: str = "ann") -> dict[str, Any]:
        """The brief of a held call."""
        page = await self.api(person, "GET", f"/v1/holds/{call}")
        assert page.status == 200, page
        return page.json

    async def decide(self, person: str, act: str, call: str, *, reason: str = "") -> Page:
        """The answer to a decision on what the API shows now."""
        seen = await self.show(call)
        decision = {"fingerprint": seen["fingerprint"], "shown": seen["shown"], "reason": reason}
        return await self.api(person, "POST", f"/v1/holds/{call}/{act}", decision)

    async def settled(self, call: str, *states: str) -> dict[str, Any]:
        """The brief once the hold is in one of these states."""

        async def there() -> dict[str, Any] | None:
            seen = await self.show(call)
            return seen if seen["state"] in states else None

        return await eventually(there)

    def sent(self, charge: str) -> int:
        """How often the payment API received a refund of this charge."""
        return sum(f"charge={charge}&".encode() in one.body + b"&" for one in self.demo.upstreams.received)


@asynccontextmanager
async def approvers(folder: Path) -> AsyncIterator[Office]:
    """An office with everything running."""
    # The origin is part of the settings, so the port has to be known before.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    ports = {"agents": 0, "approvers": port, "operators": 0, "issuer": 0, "upstreams": 0}
    async with demo(folder, ports=ports) as live, ClientSession() as session:
        yield Office(demo=live, session=session)


async def eventually(found: Callable[[], Awaitable[T | None]]) -> T:
    """What is looked for, as soon as it is there."""
    async with asyncio.timeout(PATIENCE_S):
        while (result := await found()) is None:  # noqa: ASYNC110 - what is waited for is on the other side of a socket
            await asyncio.sleep(0.01)
        return result


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
