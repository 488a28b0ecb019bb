"""Attacks on the people who decide, and on their clicks: forged, framed, planted, replayed, misled."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import pytest_asyncio

from policy.reasons import Reason
from tests.fakes.approvers import approvers

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECURITY = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory):
    async with approvers(tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def ann(office):
    async with office.browser() as browser:
        await browser.sign_in("ann")
        yield browser


async def untouched(office, call):
    seen = await office.show(call)
    assert (seen["state"], seen["votes"]) == ("pending", [])
    return True


# Forged forms (CSRF).


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "{url}.evil.example"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "http://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": "application/json"},
    ],
    ids=str,
)
async def test_a_form_from_elsewhere_decides_nothing(office, ann, headers):
    call = await office.held()
    page = await ann.get(f"/holds/{call}")
    forged = {name: value.format(url=office.url, port=office.url.rsplit(":", 1)[1]) for name, value in headers.items()}
    for act in ("approve", "reject", "withdraw"):
        refused = await ann.decide(act, page, reason="x", **forged)
        assert refused.status == 403
        assert "not sent from a page of this console" in refused.text
    assert await untouched(office, call)
    assert (await ann.decide("approve", page)).status == 303


@pytest.mark.parametrize("token", [None, "", "x", "é", "\x00" * 43])
async def test_a_form_without_its_token_decides_nothing(office, ann, token):
    call = await office.held()
    page = await ann.get(f"/holds/{call}")
    fields = {name: value for name, value in page.fields.items() if name != "form_token"}
    if token is not None:
        fields["form_token"] = token
    assert (await ann.post(f"/holds/{call}/approve", fields)).status == 403
    assert await untouched(office, call)


async def test_the_form_token_of_another_session_is_worth_nothing(office, ann):
    call = await office.held()
    async with office.browser() as ben:
        await ben.sign_in("ben")
        theirs = (await ben.get(f"/holds/{call}")).fields["form_token"]
    page = await ann.get(f"/holds/{call}")
    assert (await ann.post(f"/holds/{call}/approve", {**page.fields, "form_token": theirs})).status == 403
    assert await untouched(office, call)


async def test_nothing_is_decided_by_looking(office, ann):
    call = await office.held()
    page = await ann.get(f"/holds/{call}")
    query = "&".join(f"{name}={value}" for name, value in page.fields.items())
    for act in ("approve", "reject", "withdraw"):
        assert (await ann.get(f"/holds/{call}/{act}?{query}&reason=x")).status == 405
    assert (await ann.get("/sign-out")).status == 405
    assert (await ann.get("/")).status == 200
    assert await untouched(office, call)


@pytest.mark.parametrize("body", [b"\xff\xfe%zz&&==", b"a=1&" * 5000, b"form_token", b"--x\r\n\r\n--x--"])
async def test_a_broken_form_is_refused_and_not_a_breakdown(office, ann, body):
    call = await office.held()
    headers = {"Origin": office.url, "Content-Type": "application/x-www-form-urlencoded; charset=bogus"}
    url = f"{office.url}/holds/{call}/approve"
    async with ann.session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 403
    assert await untouched(office, call)


async def test_who_is_not_signed_in_decides_nothing(office):
    call = await office.held()
    seen = await office.show(call)
    async with office.browser() as nobody:
        page = await nobody.post(
            f"/holds/{call}/approve", {"fingerprint": seen["fingerprint"], "shown": seen["shown"], "form_token": ""}
        )
        assert page.status == 401
        looked = await nobody.get(f"/holds/{call}")
        assert (looked.status, looked.headers["Location"]) == (303, f"/sign-in?to=/holds/{call}")
        assert (await nobody.get("/live", **{"Sec-Fetch-Mode": "cors"})).status == 401
    assert await untouched(office, call)


# Frames, cookies, sign-in.


@pytest.mark.parametrize("path", ["/", "/settled", "/holds/{call}", "/holds/x", "/sign-in", "/nothing", "/live"])
async def test_no_page_can_be_framed_sniffed_or_kept(office, ann, path):
    path = path.format(call=await office.held())
    asked = ann.session.get(office.url + path, headers={"Accept": "text/html"}, allow_redirects=False)
    async with asked as answer:
        for name, value in SECURITY.items():
            assert answer.headers[name] == value, name
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy


async def test_pages_carry_nothing_inline(office, ann):
    call = await office.held()
    for path in ("/", "/settled", f"/holds/{call}", "/holds/x"):
        page = (await ann.get(path)).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|javascript:|<style|\sstyle=", page), path


async def test_cookies_are_for_this_host_and_no_script(office):
    async with office.browser() as browser:
        asked = await browser.get("/sign-in")
        back = await browser.choose(asked.headers["Location"], "ann")
        signed = await browser.get(back)
        cookies = [*asked.headers.getall("Set-Cookie"), *signed.headers.getall("Set-Cookie")]
        assert len(cookies) == 3
        for cookie in cookies:
            assert "HttpOnly" in cookie
            assert "SameSite=Lax" in cookie
            assert "Path=/" in cookie
            assert "Domain" not in cookie


@pytest.mark.parametrize(
    "to",
    [
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n//evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "///evil.example",
        "/.//evil.example",
        "javascript:alert(1)",
        "/holds/x\r\nSet-Cookie: a=b",
        "/holds/../../sign-out",
        "/sign-in?to=/",
        "/v1/me",
        "/holds/" + "x" * 65,
        "",
    ],
)
async def test_signing_in_leads_nowhere_but_to_our_own_pages(office, to):
    async with office.browser() as browser:
        signed = await browser.sign_in("ann", to=to)
    assert (signed.status, signed.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("to", ["/", "/settled", "/holds/call_01JTESTTESTTESTTESTTESTTES"])
async def test_signing_in_leads_back_to_the_page_that_was_asked_for(office, to):
    async with office.browser() as browser:
        assert (await browser.sign_in("ann", to=to)).headers["Location"] == to


async def test_a_session_that_was_planted_before_the_sign_in_is_not_the_one_after_it(office):
    async with office.browser() as victim, office.browser() as attacker:
        planted = "A" * 43
        await victim.plant("assentry-session", planted)
        await victim.sign_in("ann")
        assert victim.cookie("assentry-session") != planted
        await attacker.plant("assentry-session", planted)
        assert (await attacker.get("/settled")).status == 303


async def test_an_answer_of_the_issuer_works_in_the_browser_that_asked_only(office):
    """Login CSRF: nobody is signed in as somebody else by a link."""
    async with office.browser() as attacker, office.browser() as victim:
        asked = await attacker.get("/sign-in")
        back = await attacker.choose(asked.headers["Location"], "ben")
        assert (await victim.get(back)).status == 401
        await victim.get("/sign-in")
        assert (await victim.get(back)).status == 401
        assert (await victim.get("/settled")).status == 303


async def test_a_used_answer_signs_nobody_in_again(office):
    async with office.browser() as browser:
        asked = await browser.get("/sign-in")
        back = await browser.choose(asked.headers["Location"], "ann")
        assert (await browser.get(back)).status == 303
        assert (await browser.get(back)).status == 401


@pytest.mark.parametrize("query", ["", "?error=access_denied&state=x", "?code=a&state=%ff", "?code=&code=&state[]=1"])
async def test_an_answer_that_nobody_asked_for_signs_nobody_in(office, query):
    async with office.browser() as browser:
        page = await browser.get(f"/signed-in{query}")
        assert page.status == 401
        assert "Set-Cookie" not in page.headers


async def test_signing_out_ends_the_session_for_every_copy_of_the_cookie(office):
    async with office.browser() as browser, office.browser() as copy:
        await browser.sign_in("ann")
        await copy.plant("assentry-session", browser.cookie("assentry-session"))
        assert (await copy.get("/settled")).status == 200
        page = await browser.get("/")
        assert (await browser.post("/sign-out", page.fields)).status == 303
        assert (await copy.get("/settled")).status == 303


async def test_whoever_is_shut_out_is_out_with_the_session_they_have(office):
    call = await office.held()
    async with office.browser() as ben:
        await ben.sign_in("ben")
        page = await ben.get(f"/holds/{call}")
        await office.api("olga", "POST", "/v1/denials", {"kind": "subject", "value": "demo:ben"})
        try:
            assert (await ben.get("/")).status == 401
            assert (await ben.decide("approve", page)).status == 401
        finally:
            await office.api("olga", "DELETE", "/v1/denials/subject/demo:ben")
    assert await untouched(office, call)


# What an agent writes.

MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(1)</script>"
BIDI = "ch_\u202egnp.exe\u2066\u200b"


@pytest.mark.parametrize(
    "body",
    [
        f"charge={quote(MARKUP)}&amount=25000",
        f"charge=ch_x&amount=25000&metadata[{quote(MARKUP)}]={quote(MARKUP)}",
        f"charge=ch_x&amount=25000&reason={quote('</pre></article><form action=//evil.example>')}",
        f"charge={quote('{{ 7*7 }}{% raw %}')}&amount=25000",
    ],
    ids=["field", "key", "closing", "template"],
)
async def test_markup_in_a_call_is_text_on_every_page(office, ann, body):
    call = await office.held(body=body)
    pages = [(await ann.get(path)).text for path in (f"/holds/{call}", "/")]
    for page in pages:
        assert not re.search(r"<img src=x|<script>|</pre></article><form", page)
        assert page.count("<script") == 1
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", pages[0], re.DOTALL)[0] or "7*7" not in body
    shown = await office.api("ann", "GET", f"/v1/holds/{call}")
    assert shown.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("where", ["field", "words", "reason"])
async def test_what_cannot_be_seen_is_spelled_out(office, ann, where):
    said = {"Assentry-Reason": "fine \u202e enif".encode().decode("latin-1")} if where == "words" else None
    body = f"charge={quote(BIDI)}&amount=25000" if where == "field" else f"charge=ch_{where}_b&amount=25000"
    call = await office.held(body=body, said=said)
    if where == "reason":
        await office.decide("ann", "reject", call, reason="no \u202e on")
    page = (await ann.get(f"/holds/{call}")).text
    brief = (await office.api("ann", "GET", f"/v1/holds/{call}")).text
    for text in (page, brief):
        assert not re.search("[\u200b-\u200f\u202a-\u202e\u2066-\u2069]", text)
    if where in {"field", "reason"}:
        assert "⟨U+202E⟩" in page


async def test_an_agents_words_are_no_link_and_no_button(office, ann):
    said = {"Assentry-Reason": "approve at https://evil.example <a href=//evil.example>here</a>"}
    call = await office.held(said=said)
    page = (await ann.get(f"/holds/{call}")).text
    targets = re.findall(r'(?:href|action|formaction|src)="([^"]*)"', page)
    assert "approve at https://evil.example &lt;a href=" in page
    assert [target for target in targets if not re.match(r"#main$|/(?!/)", target)] == []


async def test_a_persons_name_is_text(office, ann):
    """The issuer may call people what it likes; the page of everybody else shows the name."""
    claims = {"sub": "eve", "aud": "assentry-people", "name": MARKUP, "groups": ["finance-leads"]}
    token = office.demo.issuer.agent_token("billing-bot", **claims)
    call = await office.held(250_000)
    seen = await office.show(call)
    decision = {"fingerprint": seen["fingerprint"], "shown": seen["shown"]}
    page = await office.api("", "POST", f"/v1/holds/{call}/approve", decision, Authorization=f"Bearer {token}")
    assert page.status == 200, page.body
    shown = (await ann.get(f"/holds/{call}")).text
    assert "<b>&lt;img src=x" in shown
    assert "<img src=x" not in shown


# Whose click counts.


@pytest.mark.parametrize("route", ["api", "console"])
async def test_who_answers_for_the_agent_approves_by_no_route(office, route):
    call = await office.held()
    if route == "api":
        assert (await office.decide("olga", "approve", call)).status == 403
    else:
        async with office.browser() as olga:
            await olga.sign_in("olga")
            page = await olga.decide("approve", await olga.get(f"/holds/{call}"))
            assert page.status == 403
            assert "somebody else has to approve it" in page.text
    assert await untouched(office, call)


async def test_who_handed_the_call_on_approves_it_by_no_route(office):
    """The agent acts for Ann: her own token, her session and the API are refused, Ben is not."""
    token = office.demo.issuer.agent_token("billing-bot", sub="ann", act={"sub": "billing-bot"})
    call = await office.held(said={"Authorization": f"Bearer {token}"})
    assert (await office.decide("ann", "approve", call)).json["reason"] == Reason.OWN_CALL
    async with office.browser() as ann:
        await ann.sign_in("ann")
        assert (await ann.decide("approve", await ann.get(f"/holds/{call}"))).status == 403
    assert await untouched(office, call)
    assert (await office.decide("ben", "approve", call)).status == 200


@pytest.mark.parametrize("credential", ["key", "token"])
async def test_an_agents_credential_opens_no_page(office, credential):
    shown = office.demo.agent_key if credential == "key" else office.demo.agent_token
    async with office.browser() as agent:
        await agent.plant("assentry-session", shown)
        page = await agent.get("/settled", Authorization=f"Bearer {shown}")
        assert (page.status, page.headers["Location"]) == (303, "/sign-in?to=/settled")


async def test_a_click_that_is_sent_again_is_refused(office, ann):
    call = await office.held(250_000)
    page = await ann.get(f"/holds/{call}")
    assert (await ann.decide("approve", page)).status == 303
    again = await ann.decide("approve", page)
    assert again.status == 409
    assert "already approved" in again.text
    assert len((await office.show(call))["votes"]) == 1


async def test_of_many_clicks_at_once_one_decides(office, ann):
    call = await office.held(charge="ch_race")
    page = await ann.get(f"/holds/{call}")
    async with office.browser() as ben:
        await ben.sign_in("ben")
        theirs = await ben.get(f"/holds/{call}")
        clicks = [ann.decide("approve", page) for _ in range(4)]
        clicks += [ben.decide("reject", theirs, reason="no") for _ in range(4)]
        answers = [page.status for page in await asyncio.gather(*clicks)]
    assert sorted(answers) == [303, *[409] * 7]
    assert len((await office.show(call))["votes"]) == 1
    await office.settled(call, "executed", "rejected")
    assert office.sent("ch_race") <= 1


async def test_the_fingerprint_of_another_call_approves_neither(office, ann):
    cheap, dear = await office.held(25_000), await office.held(90_000)
    page = await ann.get(f"/holds/{cheap}")
    refused = await ann.post(f"/holds/{dear}/approve", page.fields)
    assert refused.status == 409
    assert await untouched(office, cheap)
    assert await untouched(office, dear)


@pytest.mark.parametrize("shown", ["", "x" * 60_000, "<b>", "z" * 64])
async def test_what_a_browser_claims_to_have_shown_is_a_digest_or_nothing(office, ann, shown):
    call = await office.held()
    page = await ann.get(f"/holds/{call}")
    fields = {**page.fields, "shown": shown}
    assert (await ann.post(f"/holds/{call}/approve", fields)).status == 303
    ledger = b"".join(path.read_bytes() for path in (office.demo.folder / "state" / "ledger").rglob("*.jsonl"))
    clicked = next(line for line in ledger.splitlines() if b'"clicked"' in line and call.encode() in line)
    assert b'"shown":""' in clicked


async def test_part_of_a_call_is_not_approved_in_the_console_either(office, ann):
    call = await office.held(body="charge=ch_long3&amount=25000&metadata[a]=" + "x" * 70_000 + "&metadata[b]=hidden")
    page = await ann.get(f"/holds/{call}")
    assert "Show all of it" in page.text
    assert "/approve" not in page.text
    assert (await ann.decide("approve", page)).status == 409
    assert await untouched(office, call)
    whole = await ann.get(f"/holds/{call}?whole=1")
    assert "metadata[b]=hidden" in whole.text
    assert (await ann.decide("approve", whole)).status == 303


async def test_another_name_for_this_host_is_not_this_host(office, ann):
    """DNS rebinding: a page of evil.example whose name now leads here."""
    call = await office.held()
    page = await ann.get(f"/holds/{call}")
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert (await ann.get("/", Host="evil.example")).status == 421
    assert (await ann.decide("approve", page, **rebound)).status == 421
    assert await untouched(office, call)


async def test_a_link_of_the_issuer_carries_no_secret(office):
    async with office.browser() as browser:
        asked = await browser.get("/sign-in")
    sent = dict(parse_qsl(urlsplit(asked.headers["Location"]).query))
    assert "code_verifier" not in sent
    assert "client_secret" not in sent
    assert sent["redirect_uri"] == f"{office.url}/signed-in"
