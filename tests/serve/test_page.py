"""The page in a real browser: what it looks like, what it allows, what a press does."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright, expect

from flockiq.serve.app import application
from flockiq.shared.errors import HubUnavailable
from flockiq.shared.services import Services
from tests.conftest import CHROMIUM
from tests.serve.sample import HOSTILE, alert, alerts, company_id, fired, letter, letter_id, now_us

pytestmark = pytest.mark.browser

Scheme = Literal["light", "dark"]


@pytest.fixture
async def address(services: Services) -> AsyncIterator[str]:
    """Where the app is served, over real ports."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(application(lambda: services), log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        await launched.close()


class Watched:
    """A page that keeps every complaint of the browser: console, uncaught errors, failed requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _failed(self, request: object) -> None:
        # A poll in flight when the page is left is given up by the browser itself.
        if "ERR_ABORTED" not in str(getattr(request, "failure", "")):
            self.complaints.append(f"failed: {getattr(request, 'url', '')}")


async def opened(browser: Browser, scheme: Scheme = "light", width: int = 1280) -> Watched:
    """A watched page in a window of its own."""
    context = await browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 860})
    return Watched(await context.new_page())


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where what the page looks like is kept: where FLOCKIQ_SCREENSHOTS says, or with the test's files."""
    folder = Path(os.environ.get("FLOCKIQ_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.usefixtures("sample")
async def test_every_page_is_sound(address: str, browser: Browser, shots: Path, scheme: Scheme) -> None:
    """No complaint of the browser, none of axe-core, in light and dark; hostile text stays text."""
    pages = {
        "alerts": "/",
        "resolved": "/?show=resolved",
        "alert": f"/alerts/{alerts(0)[0].id}",
        "entities": "/entities",
        "entity": f"/entities/{company_id('318224907')}",
        "hostile": f"/entities/{company_id('660418823')}",
        "sources": "/sources",
        "letter": f"/dead-letters/{letter_id(letter(0))}",
    }
    watched = await opened(browser, scheme)
    for name, path in pages.items():
        await watched.page.goto(address + path)
        await expect(watched.page.get_by_role("heading", level=1)).to_have_count(1)
        await expect(watched.page.locator("time[data-age]").first).to_contain_text("ago")
        assert "taken" not in (await watched.page.title()).partition("<")[0]
        await watched.page.screenshot(path=shots / f"{name}-{scheme}.png", full_page=True)
        violations = (await Axe().run(watched.page)).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations] == [], name
    assert watched.complaints == []


async def test_pages_with_nothing_on_them_say_what_happens_next(address: str, browser: Browser, shots: Path) -> None:
    """A newcomer's first minute."""
    watched = await opened(browser)
    for path, says in (("/", "Nothing needs you"), ("/entities", "No entities yet"), ("/sources", "Not read yet")):
        await watched.page.goto(address + path)
        await expect(watched.page.get_by_text(says).first).to_be_visible()
        await watched.page.screenshot(path=shots / f"empty-{path.strip('/') or 'alerts'}.png", full_page=True)
    assert watched.complaints == []


@pytest.mark.usefixtures("sample")
async def test_a_press_acknowledges_and_another_resolves(address: str, browser: Browser, services: Services) -> None:
    """By keyboard and by mouse; the list shows it at once, the store has it."""
    watched = await opened(browser)
    page, name = watched.page, "Nordwind Logistik GmbH: credit limit cut"
    await page.goto(address)
    row = page.locator("li.alert", has_text=name)
    await row.get_by_role("button", name="Acknowledge").press("Enter")
    await expect(row.get_by_text("acknowledged")).to_be_visible()
    await expect(row.get_by_text("by operator")).to_be_visible()
    assert (await services.alerts.get("default", alerts(0)[0].id)).status == "acknowledged"
    await row.get_by_role("button", name="Resolve").click()
    await expect(row).to_have_count(0)
    assert (await services.alerts.get("default", alerts(0)[0].id)).status == "resolved"
    await page.get_by_role("link", name="Resolved").click()
    await page.get_by_role("link", name=name).click()
    await expect(page.locator(".timeline")).to_contain_text("Resolved by operator")
    assert watched.complaints == []


@pytest.mark.usefixtures("sample")
async def test_the_page_brings_itself_up_to_date(address: str, browser: Browser, services: Services) -> None:
    """A new alert appears without a press, and what has the focus keeps it."""
    watched = await opened(browser)
    page = watched.page
    await page.goto(address)
    focused = page.get_by_role("link", name="Kestrel Marine Supplies: CRM and ERP disagree")
    await focused.focus()
    new = alert("order-unusual", "anomaly", "critical", "o1", "Order 4711: 90,000 EUR where 9,000 is usual", now_us())
    await services.alerts.apply("default", [new, fired(new, now_us())])
    await expect(page.get_by_text("Order 4711")).to_be_visible(timeout=8000)
    await expect(focused).to_be_focused()
    assert watched.complaints == []


@pytest.mark.usefixtures("sample")
async def test_what_has_not_changed_is_left_alone(address: str, browser: Browser) -> None:
    """A poll that brings nothing new replaces nothing, so that a selection survives."""
    watched = await opened(browser)
    page = watched.page
    await page.goto(address)
    await page.evaluate("document.getElementById('alerts').dataset.mine = 'yes'")
    async with page.expect_response(lambda answer: "seen=" in answer.url and answer.status == 204):
        pass
    assert await page.evaluate("document.getElementById('alerts').dataset.mine") == "yes"


@pytest.mark.usefixtures("sample")
async def test_a_poll_dims_nothing(address: str, browser: Browser) -> None:
    """A slow answer must not make the buttons fade in and out; only a press shows that it is under way."""
    page = (await opened(browser)).page
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        asked.set()
        await answered.wait()
        await route.continue_()

    await page.goto(address)
    await page.route("**/*seen=*", hold)
    await asked.wait()
    button = page.get_by_role("button", name="Acknowledge").first
    assert await page.locator(".htmx-request").count() > 0
    assert await button.evaluate("button => getComputedStyle(button).opacity") == "1"
    answered.set()
    await page.unroute_all(behavior="wait")


@pytest.mark.usefixtures("sample")
async def test_a_lost_connection_is_said(address: str, browser: Browser) -> None:
    """What is shown stays, with a word that it may be old; and the word goes when it is back."""
    watched = await opened(browser)
    page = watched.page
    await page.goto(address)
    await page.context.set_offline(True)
    await expect(page.locator("#connection")).to_contain_text("No connection", timeout=8000)
    await expect(page.get_by_text("Nordwind Logistik GmbH: credit limit cut")).to_be_visible()
    await page.context.set_offline(False)
    await expect(page.locator("#connection")).to_be_empty(timeout=8000)


@pytest.mark.usefixtures("sample")
async def test_a_press_that_could_not_be_carried_out_says_so(
    address: str, browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person knows to press again; nothing looks done that is not."""

    async def away(*_: object) -> None:
        raise HubUnavailable("hub resolved does not answer")

    monkeypatch.setattr(services.events, "publish", away)
    page = (await opened(browser)).page
    await page.goto(address)
    await page.locator("li.alert", has_text="Kestrel").get_by_role("button", name="Acknowledge").click()
    await expect(page.locator("#connection")).to_have_text("That was not done; please press again")


@pytest.mark.usefixtures("sample")
async def test_it_fits_a_phone(address: str, browser: Browser, shots: Path) -> None:
    """Nothing makes the page wider than a narrow screen; wide tables scroll by themselves."""
    watched = await opened(browser, width=390)
    pages = {
        "alerts": "/",
        "entity": f"/entities/{company_id('318224907')}",
        "sources": "/sources",
        "letter": f"/dead-letters/{letter_id(letter(0))}",
    }
    for name, path in pages.items():
        await watched.page.goto(address + path)
        await watched.page.screenshot(path=shots / f"phone-{name}.png", full_page=True)
        width = await watched.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, name


@pytest.mark.usefixtures("sample")
async def test_without_scripts_everything_works(address: str) -> None:
    """Plain forms and links: a press is a request, and leads back."""
    async with httpx.AsyncClient(base_url=address, follow_redirects=True) as plain:
        name = alerts(0)[0].id
        shown = await plain.post(f"/alerts/{name}/acknowledge?then=alert", headers={"Origin": address})
        assert shown.url.path == f"/alerts/{name}"
        assert "by operator" in shown.text
        found = await plain.get("/entities", params={"q": HOSTILE})
        assert company_id("660418823") in found.text or "Nothing found" in found.text
