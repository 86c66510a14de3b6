"""The status page in a real Chromium: 2,000 ScaledObjects, keyboard, themes, a phone, and nobody else asked."""

from pathlib import Path
from typing import Any

import pytest

from scaler.demo.scripted import Work
from tests.browser.conftest import CHROMIUM, HOSTILE, Site, has_rows, others, rows, shows, violations

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian's package `chromium`)"),
]


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
        await shows(site, page, "tbody td strong:text-is('6')")
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
