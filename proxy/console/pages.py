"""Pages for people who decide: sign in, see what is held, open one, approve or reject it.

Shows what an attacker may have written, so: nothing inline, nothing from elsewhere, everything escaped. Decides
nothing; each form becomes a `Click` for the desk. GET never changes anything.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import parse_qsl, quote

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
from proxy.desk import MOST_LISTED, Click, Desk
from proxy.doors.approvers import origin
from proxy.doors.replies import click_status
from proxy.doors.streams import pour
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
_MOVED = b"event: moved\ndata: 1\n\n"
_LIVE_S = 15
_MOVED_S = 1.0
"""At most one news in so long: a page reads itself again for each."""
_BACK_TO = re.compile(r"/(?:settled|holds/[A-Za-z0-9_]{1,64})?")
"""Pages to come back to after signing in. A list: what browsers make of `//x` and `/<tab>/x` is endless."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_FIELDS = 20
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
        app.router.add_get("/live", self._live, allow_head=False)
        app.router.add_get("/sign-in", self._sign_in, allow_head=False)
        app.router.add_get("/signed-in", self._signed_in, allow_head=False)
        app.router.add_post("/sign-out", self._sign_out)
        app.router.add_get("/static/{name}", self._static)

    # What is held.

    async def _queue(self, asked: web.Request) -> web.Response:
        session = await self._session(asked)
        if session is None:
            return self._page("welcome.html", status=200)
        person = await self.admission.known(session.person)
        briefs = await self.desk.listing(person)
        return self._page("queue.html", session=session, briefs=briefs, settled=False, most=MOST_LISTED)

    async def _settled(self, asked: web.Request) -> web.Response:
        session = await self._signed(asked)
        person = await self.admission.known(session.person)
        briefs = await self.desk.listing(person, settled=True)
        return self._page("queue.html", session=session, briefs=briefs, settled=True, most=MOST_LISTED)

    async def _hold(self, asked: web.Request) -> web.Response:
        session = await self._signed(asked)
        whole = asked.query.get("whole") == "1"
        return await self._show(session, CallId(asked.match_info["id"]), whole=whole)

    async def _show(
        self, session: Session, call: CallId, *, whole: bool = False, refused: Refused | None = None
    ) -> web.Response:
        brief = await self.desk.show(await self.admission.known(session.person), call, whole=whole)
        if isinstance(brief, Refused):
            raise CallerFault(brief.reason, brief.detail)
        status = click_status(refused.reason) if refused else 200
        return self._page("hold.html", session=session, brief=brief, whole=whole, refused=refused, status=status)

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
            fingerprint=Fingerprint(_digest(form, "fingerprint")),
            shown=_digest(form, "shown"),
            reason=form.get("reason", "").strip()[:2000],
            channel="console",
        )
        result = await self.desk.take(click)
        if isinstance(result, Refused):
            return await self._show(session, call, refused=result)
        raise web.HTTPSeeOther(f"/holds/{quote(call)}")

    async def _live(self, asked: web.Request) -> web.StreamResponse:
        """Say that something moved, so that an open page reads itself again; never what."""
        await self._still_there(asked)
        return await pour(asked, self._moves(asked))

    async def _moves(self, asked: web.Request) -> AsyncGenerator[bytes, None]:
        with self.wakeups.watch() as wakeup:
            # What moved while the page was on its way has rung no bell: let it read itself once.
            yield _MOVED
            while True:
                started = asyncio.get_running_loop().time()
                await wakeup.wait(_LIVE_S)
                quiet = asyncio.get_running_loop().time() - started >= _LIVE_S
                await self._still_there(asked)
                yield b": quiet\n\n" if quiet else _MOVED
                await asyncio.sleep(_MOVED_S)

    # Who is there.

    async def _sign_in(self, asked: web.Request) -> web.Response:
        browser = secrets.token_urlsafe(32)
        wanted = asked.query.get("to", "/")
        back_to = wanted if _BACK_TO.fullmatch(wanted) else "/"
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
        self._drop_cookie(answer, self._cookie("signing-in"))
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
        self._drop_cookie(answer, self._cookie("session"))
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

    async def _still_there(self, asked: web.Request) -> None:
        """Returns for a session that has not ended, of a person who was not shut out meanwhile."""
        session = await self._session(asked)
        if session is None:
            raise IdentityFault(Reason.IDENTITY_MISSING, "You are not signed in any more.")
        await self.admission.known(session.person)

    async def _form(self, asked: web.Request, session: Session) -> dict[str, str]:
        ours = asked.headers.get("Origin", "") == origin(self.public_url)
        same = asked.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
        # Our own pages send this type only; other sites may send the others without being asked first.
        plain = asked.content_type == "application/x-www-form-urlencoded"
        form = _fields(await asked.read()) if ours and same and plain else {}
        if not carries(session, form.get("form_token", "")):
            raise CallerFault(Reason.NOT_ENTITLED, "This form was not sent from a page of this console.")
        return form

    # Cookies and pages.

    @property
    def _secure(self) -> bool:
        return self.public_url.startswith("https:")

    def _cookie(self, name: str) -> str:
        # The prefix makes browsers insist on Secure, path / and this very host; plain http knows no such promise.
        return f"__Host-assentry-{name}" if self._secure else f"assentry-{name}"

    def _set_cookie(self, answer: web.Response, name: str, value: str, *, lifetime_s: int) -> None:
        answer.set_cookie(name, value, max_age=lifetime_s, path="/", secure=self._secure, httponly=True, samesite="Lax")

    def _drop_cookie(self, answer: web.Response, name: str) -> None:
        # With the attributes it was set with: browsers refuse to touch a `__Host-` cookie without Secure.
        answer.del_cookie(name, path="/", secure=self._secure, httponly=True, samesite="Lax")

    def _page(
        self, template: str, *, status: int = 200, session: Session | None = None, **shown: object
    ) -> web.Response:
        text = self._templates.get_template(template).render(session=session, now=time.time(), **shown)
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
        again = isinstance(fault, IdentityFault)
        return self._page("failed.html", status=click_status(fault.reason), fault=fault, again=again)


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}


def _digest(form: dict[str, str], name: str) -> str:
    """The hex digest of that name; empty for anything else, which is then what nobody was shown."""
    value = form.get(name, "")
    return value if _DIGEST.fullmatch(value) else ""
