"""A status page in a real Chromium, and all that the browser asked for or complained about."""

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
from scaler.observe.page.routes import REFRESH_SECONDS
from scaler.server.app import Server

CHROMIUM = shutil.which("chromium")

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
        page.on("console", lambda line: self.complain(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        try:
            await page.goto(self.url + path)
            yield page
        finally:
            await page.close()
            if options:
                await context.close()

    def complain(self, text: str) -> None:
        """Note an error of the console, unless htmx only tells that a click has ended a refresh under way."""
        if not text.startswith(("htmx:afterRequest", "htmx:sendAbort")):
            self.complaints.append(text)

    async def live(self, seconds: float) -> None:
        """Let KEDA poll two ScaledObjects for a while, one of them with changing work."""
        for turn in range(int(seconds / 30)):
            self.reader.answers["spot7"] = Work(turn % 9)
            for index in (7, 8):
                scaled_object = next(each for each in self.server.registry if each.name == f"orders-{index:04}")
                self.server.registry.note(scaled_object)
                answer = asyncio.ensure_future(self.server.answers.answer(scaled_object, 1.9))
                await self.clock.advance(2)
                await answer
            await self.clock.advance(26)

    async def judge_all(self) -> None:
        """Let KEDA ask for everything once."""
        answers = [
            asyncio.ensure_future(self.server.answers.answer(scaled_object, 1.9))
            for scaled_object in self.server.registry
        ]
        await self.clock.advance(2)
        for error in await asyncio.gather(*answers, return_exceptions=True):
            assert error is None or not isinstance(error, BaseException) or isinstance(error, ScalerError)


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Any]:
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
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
    from playwright.async_api import expect  # noqa: PLC0415 - where it is not installed, only these tests are skipped

    await expect(page.locator("tbody [role=rowheader]")).to_have_count(count)


async def shows(site: Site, page: Any, selector: str) -> None:
    """Let refreshes come until the page shows it: one that was under way when the value changed has the value before."""
    from playwright.async_api import TimeoutError as TookTooLong  # noqa: PLC0415 - as in `has_rows`

    for _ in range(20):
        await site.clock.advance(REFRESH_SECONDS)
        with suppress(TookTooLong):
            await page.wait_for_selector(selector, timeout=1_000)
            return
    pytest.fail(f"20 refreshes, and the page does not show {selector}")


async def violations(page: Any) -> list[str]:
    """Return what axe finds against WCAG 2.2 A and AA and its best practices, with the elements."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes'][:3]]}" for each in found["violations"]]


def others(site: Site) -> list[str]:
    return [url for url in site.requests if not url.startswith((site.url, "data:"))]
