"""The timeline, the counts that filter, faults that are told once, and the jump to a page, in a real Chromium."""

from typing import Any

import pytest

from scaler.core.errors import Unavailable
from tests.browser.conftest import CHROMIUM, Site, has_rows, violations

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian's package `chromium`)"),
]


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
    async with open_site(200) as site:
        async with site.page() as page:
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
        async with site.page() as page:
            trouble = page.locator(".troubles")
            await playwright.expect(trouble).to_contain_text("host1: no route")
            assert (await page.inner_text("main")).count("host1: no route") == 1
            await page.click("#trouble-1")
            await page.wait_for_selector("text=all backends")
            assert "backend=scripted%2Fhost1" in page.url
            assert await violations(page) == []
    assert site.complaints == []
