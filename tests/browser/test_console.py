"""The console in a real browser: what people see, click, type and hear."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from tests.fakes.approvers import approvers

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_MS = 30_000
"""A busy machine renders slowly; what is waited for is a condition, so patience costs nothing when all is well."""
expect.set_options(timeout=PATIENCE_MS)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
"""What Chromium itself says of an answer that is a refusal; the only line there may be."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"NO BROWSER: none of {', '.join(BROWSERS)} is installed, so the console is not tested")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory):
    async with approvers(tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def visit(chromium, office):
    """Opens pages in browsers of their own; at the end, nothing untoward was said on any console."""
    contexts, said = [], []

    async def open_page(**options):
        context = await chromium.new_context(
            base_url=office.url, **{"viewport": {"width": 1100, "height": 800}, **options}
        )
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert [text for text in said if not REFUSED.match(text)] == []


async def sign_in(page, person="Ann"):
    await page.goto("/")
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_role("button", name=person).click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


async def decide(page, button):
    await page.get_by_role("button", name=button).click()


@asynccontextmanager
async def scripted_agent(office):
    """The demo's agent, and the lines that it has printed; gone at the end."""
    environ = {
        **os.environ,
        "DEMO_GATE": office.demo.gate.agents_url,
        "DEMO_TOKEN": office.demo.agent_token,
        "DEMO_KEY": office.demo.agent_key,
    }
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.demo.agent", env=environ, stdout=asyncio.subprocess.PIPE
    )

    async def line_with(words):
        async with asyncio.timeout(30):
            async for line in agent.stdout:
                if words in line.decode():
                    return line.decode()
        raise AssertionError(f"the agent left without a word of {words!r}")

    yield line_with
    if agent.returncode is None:
        agent.kill()
    await agent.wait()


async def test_an_agent_asks_and_ann_decides(visit, office):
    """The demo's story: one refund approved and sent once, one rejected with words that reach the agent."""
    async with scripted_agent(office) as line_with:
        page = await sign_in(await visit())
        await page.get_by_role("link", name="Refund 250.00 EUR").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(
            "Refund 250.00 EUR of charge ch_1042, through stripe, prod"
        )
        await expect(page.locator("pre")).to_contain_text("charge=ch_1042&amount=25000")
        await decide(page, "Approve exactly this")
        assert "refunded: re_0001, 250.00 EUR" in await line_with("agent  < refunded")
        await expect(page.locator(".state")).to_have_text("executed")
        await expect(page.locator(".votes")).to_contain_text("Ann approved")

        await page.get_by_role("link", name="Held").click()
        # It comes by itself, without a reload.
        await page.get_by_role("link", name="Refund 2,500.00 EUR").click()
        await decide(page, "Reject")
        await expect(page.get_by_role("alert")).to_contain_text("Say why")
        await page.get_by_label("Reason").fill("too much for one parcel")
        await decide(page, "Reject")
        await expect(page.locator(".state")).to_have_text("rejected")
        assert "Ann rejected this call: too much for one parcel" in await line_with("rejected")
    refunds = [one.body for one in office.demo.upstreams.received if one.target == "/stripe/v1/refunds"]
    assert refunds == [b"charge=ch_1042&amount=25000"]


async def test_a_refund_that_needs_two_says_how_far_it_is(visit, office):
    call = await office.held(250_000)
    ann = await sign_in(await visit())
    await ann.goto(f"/holds/{call}")
    await expect(ann.locator(".brief")).to_contain_text("0 of 2 so far")
    await decide(ann, "Approve exactly this")
    await expect(ann.locator(".brief")).to_contain_text("1 of 2 so far")
    await expect(ann.locator(".state")).to_have_text("pending")
    ben = await sign_in(await visit(), "Ben")
    await expect(ben.locator(".card", has=ben.locator(f"[href='/holds/{call}']"))).to_contain_text("1 so far")
    await ben.goto(f"/holds/{call}")
    await decide(ben, "Approve exactly this")
    await expect(ben.locator(".state")).to_have_text(re.compile("approved|releasing|executed"))
    # Ann's page reads itself again.
    await expect(ann.locator(".votes")).to_contain_text("Ben approved")
    await expect(ann.get_by_role("button", name="Approve")).to_have_count(0)


async def test_the_owner_of_the_agent_is_refused(visit, office):
    call = await office.held()
    page = await sign_in(await visit(), "Olga")
    await page.goto(f"/holds/{call}")
    await decide(page, "Approve exactly this")
    await expect(page.get_by_role("alert")).to_contain_text("somebody else has to approve it")
    assert (await office.show(call))["state"] == "pending"


async def test_what_somebody_is_typing_is_not_taken_from_them(visit, office):
    call = await office.held()
    page = await sign_in(await visit())
    async with page.expect_response(lambda answer: answer.url.endswith("/live")):
        await page.goto(f"/holds/{call}")
    await page.get_by_label("Reason").fill("because it")
    await office.decide("ben", "reject", call, reason="no")
    await expect(page.locator("#news")).to_contain_text("moved on")
    await expect(page.get_by_label("Reason")).to_have_value("because it")
    await page.get_by_role("link", name="Show it as it is now").click()
    await expect(page.locator(".state")).to_have_text("rejected")


async def test_everything_works_without_scripts(visit, office):
    call = await office.held()
    page = await sign_in(await visit(java_script_enabled=False))
    await page.goto(f"/holds/{call}")
    await page.locator("#reason").fill("not today")
    await page.locator("button.reject").click()
    await page.wait_for_url(f"**/holds/{call}")
    assert (await office.show(call))["state"] == "rejected"


async def test_everything_works_from_the_keyboard(visit, office):
    call = await office.held()
    page = await sign_in(await visit())
    await page.goto("/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    card = page.locator(f"a[href='/holds/{call}']")
    await tab_to(page, card)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/holds/{call}")
    await tab_to(page, page.get_by_label("Reason"))
    await page.keyboard.type("checked with the customer")
    await tab_to(page, page.get_by_role("button", name="Approve exactly this"))
    await page.keyboard.press("Enter")
    await expect(page.locator(".votes")).to_contain_text("checked with the customer")


async def tab_to(page, wanted):
    for _ in range(80):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("node => node === document.activeElement"):
            outline = await wanted.evaluate("node => getComputedStyle(node).outlineStyle")
            assert outline != "none", "focus cannot be seen"
            return
    raise AssertionError("never reached by Tab")


async def test_enter_in_the_reason_field_does_not_approve(visit, office):
    call = await office.held()
    page = await sign_in(await visit())
    await page.goto(f"/holds/{call}")
    await page.get_by_label("Reason").fill("no, because")
    await page.keyboard.press("Enter")
    await page.keyboard.type("it is late")
    await expect(page.get_by_label("Reason")).to_have_value("no, because\nit is late")
    assert (await office.show(call))["state"] == "pending"


@pytest.mark.parametrize(("width", "height"), [(360, 640), (768, 1024), (1100, 500), (1400, 900)])
async def test_nothing_is_covered_or_cut_at_any_size(visit, office, width, height):
    call = await office.held(body="charge=ch_wide&amount=25000&metadata[a]=" + "w" * 3000)
    page = await sign_in(await visit(viewport={"width": width, "height": height}))
    for path in ("/", f"/holds/{call}"):
        await page.goto(path)
        overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, path
    for place in ("0", "document.body.scrollHeight / 2", "document.body.scrollHeight"):
        await page.evaluate(f"scrollTo(0, {place})")
        brief, form = [await page.locator(one).bounding_box() for one in (".brief", ".decide")]
        beside = form["x"] >= brief["x"] + brief["width"]
        below = form["y"] >= brief["y"] + brief["height"]
        assert beside or below
    for name in ("Approve exactly this", "Reject"):
        box = await page.get_by_role("button", name=name).bounding_box()
        assert min(box["width"], box["height"]) >= 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(visit, office, scheme):
    call, gone = await office.held(250_000, said={"Assentry-Reason": "lost"}), await office.held()
    await office.decide("ann", "reject", gone, reason="no")
    page = await visit(color_scheme=scheme)
    await page.goto("/")
    pages = [("/", await Axe().run(page))]
    await sign_in(page)
    for path in ("/", "/settled", f"/holds/{call}", f"/holds/{gone}", "/holds/none"):
        await page.goto(path)
        pages.append((path, await Axe().run(page)))
    await page.goto(f"/holds/{call}")
    await decide(page, "Reject")
    pages.append(("refused", await Axe().run(page)))
    found = [(path, axe.generate_report()) for path, axe in pages if axe.violations_count]
    assert found == []


async def test_deadlines_count_down_by_the_gates_clock(visit, office):
    call = await office.held()
    page = await visit()
    await page.clock.install(time="2020-01-01T00:00:00Z")
    await sign_in(page)
    await page.goto(f"/holds/{call}")
    await expect(page.locator("time")).to_have_text(re.compile(r"^(30 min 0|29 min 5\d) s left$"))
    await page.clock.fast_forward("29:00")
    await expect(page.locator("time")).to_have_text(re.compile(r"^(1 min 0|0 min 5\d) s left$"))
