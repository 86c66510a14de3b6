"""The status page in a real Chromium: 2,000 ScaledObjects, keyboard, themes, a phone, and nobody else asked."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scaler.core.errors import MetadataError, ScalerError, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Work
from scaler.server.app import Server

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian's package `chromium`)"),
]
playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
HOSTILE = "<img src=x onerror=alert(1)>"


@dataclass
class Site:
    """A server with 2,000 ScaledObjects, an open browser, and all that the browser asked for or complained about."""

    server: Server
    reader: ScriptedReader
    clock: ManualClock
    context: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.http_port}"

    @asynccontextmanager
    async def page(self, path: str = "/", **options: Any) -> AsyncIterator[Any]:
        context = await self.context.browser.new_context(**options) if options else self.context
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        try:
            await page.goto(self.url + path)
            yield page
        finally:
            await page.close()
            if options:
                await context.close()

    async def live(self, seconds: float) -> None:
        """Let KEDA poll two ScaledObjects for a while, one of them with changing work."""
        for turn in range(int(seconds / 30)):
            self.reader.answers["spot7"] = Work(turn % 9)
            for index in (7, 8):
                asker = next(each for each in self.server.registry if each.name == f"orders-{index:04}")
                self.server.registry.note(asker)
                answer = asyncio.ensure_future(self.server.answers.answer(asker, 1.9))
                await self.clock.advance(2)
                await answer
            await self.clock.advance(26)

    async def judge_all(self) -> None:
        """Let KEDA ask for everything once."""
        answers = [asyncio.ensure_future(self.server.answers.answer(asker, 1.9)) for asker in self.server.registry]
        await self.clock.advance(2)
        for error in await asyncio.gather(*answers, return_exceptions=True):
            assert error is None or not isinstance(error, BaseException) or isinstance(error, ScalerError)


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Any]:
    async with playwright.async_playwright() as run:
        context = await run.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=CHROMIUM, args=list(FLAGS), headless=True
        )
        yield context
        await context.close()


@pytest.fixture
def open_site(serve: Any, reader: ScriptedReader, clock: ManualClock, chromium: Any) -> Any:
    """Serve so many ScaledObjects, one of them with an error and one with a stale reading."""

    @asynccontextmanager
    async def opening(objects: int) -> AsyncIterator[Site]:
        for index in range(objects):
            reader.answers[f"spot{index}"] = Work(index % 7)
        reader.answers["spotless"] = Unavailable("spotless: connection refused; is the host right?")
        async with serve(page={}) as client:
            server = client.server
            server.registry.find("team-00", "broken", {"source": "scripted", "spots": "spotless"})
            for index in range(objects - 1):
                spots = f"spot{index}@host{index % 3}"
                name = f"orders-{index:04}"
                server.registry.find(
                    f"team-{index % 20:02}", name, {"source": "scripted", "spots": spots, "target": "2"}
                )
            with suppress(MetadataError):
                server.registry.find("team-00", "mistyped", {"source": "scripted", "spots": "a", "taget": "5"})
            site = Site(server, reader, clock, chromium)
            await site.judge_all()
            reader.answers["spot7"] = Unavailable(f"spot7: no route {HOSTILE}")  # its last reading is still served
            await clock.advance(11)
            yield site

    return opening


@pytest.fixture
async def site(open_site: Any) -> AsyncIterator[Site]:
    async with open_site(60) as opened:
        yield opened


async def rows(page: Any) -> list[str]:
    """Return the names in the table."""
    texts: list[str] = await page.locator("tbody [role=rowheader] a").all_inner_texts()
    return texts


async def has_rows(page: Any, count: int) -> None:
    """Wait until the table has so many."""
    await playwright.expect(page.locator("tbody [role=rowheader]")).to_have_count(count)


async def violations(page: Any) -> list[str]:
    """Return what axe finds against WCAG 2.2 A and AA and its best practices, with the elements."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}" for each in found["violations"]]


def others(site: Site) -> list[str]:
    return [url for url in site.requests if not url.startswith((site.url, "data:"))]


async def test_a_table_of_2000_is_searched_sorted_paged_and_refreshed(open_site: Any) -> None:
    async with open_site(2_000) as site, site.page() as page:
        assert len(await rows(page)) == 50
        assert "2,001 of 2,001 triggers" in (await page.inner_text("#summary")).replace("\n", " ")
        assert "1 error" in await page.inner_text("#summary")
        assert (await rows(page))[:3] == ["team-00/broken", "team-00/mistyped", "team-07/orders-0007"]  # trouble first

        # Sorting with the keyboard: the focus stays on the heading that was pressed.
        await page.focus("#sort-value")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("th[aria-sort=ascending] #sort-value")
        assert await page.evaluate("document.activeElement.id") == "sort-value"
        await page.keyboard.press("Enter")
        await page.wait_for_selector("th[aria-sort=descending] #sort-value")
        assert "sort=-value" in page.url
        assert await page.locator("tbody tr td strong").first.inner_text() == "6"

        # Searching as one types keeps the order, tells the number of hits once, and can be linked to.
        await page.fill("#q", "orders-001")
        await has_rows(page, 10)
        assert "q=orders-001" in page.url
        assert "sort=-value" in page.url
        await playwright.expect(page.locator("#announce")).to_contain_text("10 of 2,001")
        await page.fill("#q", "")
        await has_rows(page, 50)
        await page.get_by_role("link", name="Next").click()
        await page.wait_for_selector("#page[value='2']")

        # An error is found by its state and says why.
        await page.select_option("#state", "error")
        await has_rows(page, 1)
        assert await rows(page) == ["team-00/broken"]
        assert "UNAVAILABLE spotless: connection refused" in await page.inner_text(".problem")

        # A stale reading, with what a tenant wrote as text.
        await page.select_option("#state", "stale")
        await page.wait_for_selector("text=team-07/orders-0007")
        assert HOSTILE in await page.inner_text(".problem")
        assert await page.locator(".problem img").count() == 0

    assert others(site) == []
    assert site.complaints == []


async def test_events_bring_new_values_until_they_are_paused(site: Site) -> None:
    async with site.page() as page:
        # An event of the server brings the new value into the table, and the form stays as it is.
        site.reader.answers["spot7"] = Work(6)
        await page.fill("#q", "orders-0007")
        await has_rows(page, 1)
        await page.evaluate("document.getElementById('live').dataset.before = 'yes'")
        await site.clock.advance(31)
        await site.judge_all()
        await page.wait_for_selector("#live:not([data-before])")
        await page.wait_for_selector("tbody td strong:text-is('6')")
        assert await page.input_value("#q") == "orders-0007"
        assert await page.locator(".badge.stale").count() == 0

        # Paused, it stands still.
        await page.click("#live-toggle")
        assert await page.get_attribute("#live-toggle", "aria-pressed") == "false"
        before = len(site.requests)
        await site.clock.advance(5)
        await page.wait_for_timeout(300)
        assert len(site.requests) == before

        # Back leads to the query before, though the browser keeps none of what was shown.
        assert "orders" not in await page.evaluate("Object.values(localStorage).join()")
        assert await page.evaluate("Object.keys(sessionStorage).join()") == "htmx-current-path-for-history"
        await page.go_back()
        await has_rows(page, 50)
        assert await page.input_value("#q") == ""
    assert others(site) == []
    assert site.complaints == []


async def test_details_have_charts_in_both_themes_and_axe_finds_nothing(site: Site) -> None:
    await site.live(1_800)
    for scheme in ("light", "dark"):
        async with site.page("/", color_scheme=scheme) as page:
            background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert background == {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 28)"}[scheme]
            assert await page.locator("svg.spark").count() > 0
            assert await violations(page) == []
            for path, charts in (
                ("/scaledobjects/team-07/orders-0007", 1),
                ("/scaledobjects/team-00/mistyped", 1),
                ("/backends/scripted/host1", 2),
            ):
                await page.goto(site.url + path)
                await playwright.expect(page.locator("canvas")).to_have_count(charts)
                assert await violations(page) == [], path
    async with site.page("/", color_scheme="light") as page:
        await page.click("#theme-toggle")
        await page.click("#theme-toggle")
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
        await page.reload()
        assert await page.inner_text("#theme-toggle") == "Theme: dark"
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    assert others(site) == []
    assert site.complaints == []


async def test_a_timeline_tells_the_moment_and_what_the_value_asks_for(site: Site) -> None:
    await site.live(1_200)
    async with site.page("/scaledobjects/team-07/orders-0007") as page:
        await page.locator(".timeline canvas").wait_for()
        moment = page.locator(".moment")
        over = page.locator(".timeline .u-over")
        box = await over.bounding_box()
        await page.mouse.move(box["x"] + box["width"] - 40, box["y"] + 50)
        await playwright.expect(moment).to_contain_text("scripted")
        await playwright.expect(moment).to_contain_text("asks for")
        await page.mouse.move(box["x"] + 4, box["y"] + 50)
        await playwright.expect(moment).to_contain_text("nothing is known yet")
        await page.click("text=1 day")
        assert await page.get_attribute("button[data-span=day]", "aria-pressed") == "true"
        await page.focus(".timeline")
        await page.keyboard.press("ArrowLeft")
        await playwright.expect(moment).to_contain_text("asks for")
        assert "KEDA is told active" in await page.inner_text(".events")
    async with site.page("/scaledobjects/team-00/broken") as page:  # never told a value, and the chart says so
        await playwright.expect(page.locator(".nothing")).to_contain_text("No value is known")
    assert site.complaints == []


async def test_counts_filter_faults_are_told_once_and_the_pager_jumps(open_site: Any) -> None:
    async with open_site(200) as site, site.page() as page:
        await page.click("#count-error")
        await has_rows(page, 1)
        assert "state=error" in page.url
        await page.click("#count-error")
        await has_rows(page, 50)
        await page.fill("#page", "3")
        await page.click("#jump")
        await page.wait_for_selector("#page[value='3']")
        for index in range(200):
            if index % 3 == 1:
                site.reader.answers[f"spot{index}"] = Unavailable("host1: no route")
        await site.clock.advance(20)
        await page.goto(site.url)
        trouble = page.locator(".troubles")
        await playwright.expect(trouble).to_contain_text("host1: no route")
        assert (await page.inner_text("main")).count("host1: no route") == 1
        await page.click("#trouble-1")
        await page.wait_for_selector("text=all backends")
        assert "backend=scripted%2Fhost1" in page.url
        assert await violations(page) == []
    assert site.complaints == []


async def test_a_phone_shows_all_of_it_without_scrolling_sideways(site: Site) -> None:
    async with site.page("/", viewport={"width": 360, "height": 740}) as page:
        for path in (
            "/",
            "/scaledobjects/team-07/orders-0007",
            "/backends",
        ):
            await page.goto(site.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
            assert await violations(page) == [], path
        await page.goto(site.url)
        card = await page.inner_text("tbody tr:first-child")
        assert "orders-0000" in card or "broken" in card
        assert await page.locator("tbody tr:first-child td:visible").count() == 7


async def test_it_works_without_scripts(site: Site) -> None:
    async with site.page("/", java_script_enabled=False) as page:
        await page.fill("#q", "orders-0007")
        await page.click("text=Show")
        await page.wait_for_url("**/?*q=orders-0007*")
        assert await rows(page) == ["team-07/orders-0007"]
        await page.click("text=orders-0007")
        assert await page.inner_text("h1") == "orders-0007"


async def test_the_token_is_entered_once(chromium: Any, serve: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("open sesame")
    async with serve(page={"token_file": file}) as client:
        page = await chromium.new_page()
        address = f"http://127.0.0.1:{client.server.http_port}"
        await page.goto(address)
        await page.fill("#token", "open sesam")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=not the right one")
        assert await violations(page) == []
        await page.fill("#token", "open sesame")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=No ScaledObject has asked yet")
        assert "token" not in page.url
        assert await page.evaluate("document.cookie") == ""
        await page.goto(f"{address}/backends")
        assert await page.inner_text("h1") == "Backends"
