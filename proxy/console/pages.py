"""Pages for people who decide: sign in, see what is held, open one, approve or reject it.

Shows what an attacker may have written, so: nothing inline, nothing from elsewhere, everything escaped. Decides
nothing; each form becomes a `Click` for the desk. GET never changes anything.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import quote, urlsplit

import jinja2
from aiohttp import web

from policy.call import CallId
from policy.electorate import Act
from policy.fingerprint import Fingerprint
from policy.principal import Person
from policy.reasons import Reason
from policy.verdict import Refused
from proxy.audit import record
from proxy.audit.ledger import Durability, Ledger
from proxy.desk import Click, Desk
from proxy.doors.replies import click_status
from proxy.errors import AssentryError, CallerFault, IdentityFault
from proxy.holds.wakeups import Wakeups
from proxy.identity.admission import Admission
from proxy.identity.login import Login
from proxy.identity.sessions import Session, Sessions, carries

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SIGN_IN_S = 600
_LIVE_S = 15
_STATIC = {"console.css": "text/css", "console.js": "text/javascript", "mark.svg": "image/svg+xml"}


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The pages and what they stand on."""

    desk: Desk
    admission: Admission
    ledger: Ledger
    login: Login
    sessions: Sessions
    wakeups: Wakeups
    public_url: str
    _templates: jinja2.Environment = field(
        default_factory=lambda: jinja2.Environment(
            loader=jinja2.PackageLoader("proxy.console"), autoescape=True, undefined=jinja2.StrictUndefined
        )
    )

    def mount(self, app: web.Application) -> None:
        """Add the pages to the approvers' door."""
        self._templates.filters["clock"] = _clock
        app.router.add_get("/", self._queue)
        app.router.add_get("/settled", self._settled)
        app.router.add_get("/holds/{id}", self._hold)
        app.router.add_post("/holds/{id}/{act}", self._decide)
        app.router.add_get("/live", self._live)
        app.router.add_get("/sign-in", self._sign_in)
        app.router.add_get("/signed-in", self._signed_in)
        app.router.add_post("/sign-out", self._sign_out)
        app.router.add_get("/static/{name}", self._static)

    # What is held.

    async def _queue(self, asked: web.Request) -> web.Response:
        session = await self._session(asked)
        if session is None:
            return self._page("welcome.html", status=200)
        person = await self.admission.known(session.person)
        briefs = await self.desk.listing(person)
        return self._page("queue.html", session=session, briefs=briefs, settled=False, now=time.time())

    async def _settled(self, asked: web.Request) -> web.Response:
        session = await self._signed(asked)
        person = await self.admission.known(session.person)
        briefs = await self.desk.listing(person, settled=True, limit=100)
        return self._page("queue.html", session=session, briefs=briefs, settled=True, now=time.time())

    async def _hold(self, asked: web.Request) -> web.Response:
        session = await self._signed(asked)
        return await self._show(session, CallId(asked.match_info["id"]))

    async def _show(self, session: Session, call: CallId, refused: Refused | None = None) -> web.Response:
        brief = await self.desk.show(await self.admission.known(session.person), call)
        if isinstance(brief, Refused):
            raise CallerFault(brief.reason, brief.detail)
        status = click_status(refused.reason) if refused else 200
        return self._page("hold.html", session=session, brief=brief, refused=refused, status=status, now=time.time())

    async def _decide(self, asked: web.Request) -> web.StreamResponse:
        session = await self._signed(asked)
        form = await self._form(asked, session)
        act = {"approve": Act.APPROVE, "reject": Act.REJECT, "withdraw": Act.WITHDRAW}.get(asked.match_info["act"])
        if act is None:
            raise CallerFault(Reason.NO_SUCH_HOLD, "There is nothing at this path.")
        call = CallId(asked.match_info["id"])
        click = Click(
            person=await self.admission.known(session.person),
            act=act,
            call=call,
            fingerprint=Fingerprint(form.get("fingerprint", "")),
            shown=form.get("shown", ""),
            reason=form.get("reason", "").strip()[:2000],
            channel="console",
        )
        result = await self.desk.take(click)
        if isinstance(result, Refused):
            return await self._show(session, call, result)
        raise web.HTTPSeeOther(f"/holds/{quote(call)}")

    async def _live(self, asked: web.Request) -> web.StreamResponse:
        """Say that something moved, so that an open page reads itself again; never what."""
        await self._signed(asked)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        with self.wakeups.watch() as wakeup:
            await stream.prepare(asked)
            while True:
                started = asyncio.get_running_loop().time()
                await wakeup.wait(_LIVE_S)
                quiet = asyncio.get_running_loop().time() - started >= _LIVE_S
                await stream.write(b": quiet\n\n" if quiet else b"event: moved\ndata: 1\n\n")

    # Who is there.

    async def _sign_in(self, asked: web.Request) -> web.Response:
        browser = secrets.token_urlsafe(32)
        back_to = asked.query.get("to", "/")
        # Only a path of ours: `//elsewhere` and `https:…` would send people away after they signed in.
        back_to = back_to if back_to.startswith("/") and not back_to.startswith(("//", "/\\")) else "/"
        there = await self.login.begin(browser=browser, back_to=back_to)
        answer = web.Response(status=303, headers={"Location": there})
        self._set_cookie(answer, self._cookie("signing-in"), browser, lifetime_s=_SIGN_IN_S)
        return answer

    async def _signed_in(self, asked: web.Request) -> web.Response:
        person, back_to = await self.login.finish(
            code=asked.query.get("code", ""),
            state=asked.query.get("state", ""),
            browser=asked.cookies.get(self._cookie("signing-in"), ""),
        )
        person = await self._admitted(person, asked)
        answer = web.Response(status=303, headers={"Location": back_to})
        name = await self.sessions.begin(person)
        self._set_cookie(answer, self._cookie("session"), name, lifetime_s=self.login.session_lifetime_s)
        answer.del_cookie(self._cookie("signing-in"), path="/")
        return answer

    async def _admitted(self, person: Person, asked: web.Request) -> Person:
        known = await self.admission.known(person)
        await self.ledger.record(record.signed_in(known, peer=asked.remote), Durability.WRITTEN)
        return person

    async def _sign_out(self, asked: web.Request) -> web.Response:
        session = await self._signed(asked)
        await self._form(asked, session)
        await self.sessions.end(asked.cookies.get(self._cookie("session"), ""))
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.del_cookie(self._cookie("session"), path="/")
        return answer

    async def _session(self, asked: web.Request) -> Session | None:
        return await self.sessions.find(asked.cookies.get(self._cookie("session"), ""))

    async def _signed(self, asked: web.Request) -> Session:
        session = await self._session(asked)
        if session is not None:
            return session
        if asked.method == "GET" and asked.headers.get("Sec-Fetch-Mode", "navigate") == "navigate":
            raise web.HTTPSeeOther(f"/sign-in?to={quote(asked.path)}")
        raise IdentityFault(Reason.IDENTITY_MISSING, "You are not signed in any more. Sign in and decide again.")

    async def _form(self, asked: web.Request, session: Session) -> dict[str, str]:
        origin = asked.headers.get("Origin", "")
        site = asked.headers.get("Sec-Fetch-Site", "same-origin")
        form = {name: value for name, value in (await asked.post()).items() if isinstance(value, str)}
        ours = origin == self._origin() and site == "same-origin" and carries(session, form.get("form_token", ""))
        if not ours:
            raise CallerFault(Reason.NOT_ENTITLED, "This form was not sent from a page of this console.")
        return form

    def _origin(self) -> str:
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    # Cookies and pages.

    @property
    def _secure(self) -> bool:
        return self.public_url.startswith("https:")

    def _cookie(self, name: str) -> str:
        # The prefix makes browsers insist on Secure, path / and this very host; plain http knows no such promise.
        return f"__Host-assentry-{name}" if self._secure else f"assentry-{name}"

    def _set_cookie(self, answer: web.Response, name: str, value: str, *, lifetime_s: int) -> None:
        answer.set_cookie(name, value, max_age=lifetime_s, path="/", secure=self._secure, httponly=True, samesite="Lax")

    def _page(
        self, template: str, *, status: int = 200, session: Session | None = None, **shown: object
    ) -> web.Response:
        text = self._templates.get_template(template).render(session=session, **shown)
        return web.Response(
            status=status, text=text, content_type="text/html", headers={"Content-Security-Policy": _POLICY}
        )

    async def _static(self, asked: web.Request) -> web.Response:
        name = asked.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        body = (files("proxy.console") / "static" / name).read_bytes()
        return web.Response(body=body, content_type=_STATIC[name], charset="utf-8")

    def failed(self, fault: AssentryError) -> web.Response:
        """A failure as a page."""
        return self._page("failed.html", status=click_status(fault.reason), fault=fault)
