"""Draws docs/images/*.png: the real status page in Chromium, over backends whose last hour is written here.

`python -m tools.screenshots` needs Chromium and playwright.
"""

import asyncio
import math
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

from playwright.async_api import async_playwright

from scaler.answers.scaledobject import ScaledObject
from scaler.clients.pages.exposition import Page
from scaler.core.clock import Clock, sleep
from scaler.core.domain import Found, Place, Reader, Report
from scaler.core.errors import Fault, MetadataError, ScalerError, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import SCRIPT
from scaler.server.app import Server
from scaler.settings import Settings
from scaler.sources.sqs.places import Counts, Queue

IMAGES = Path(__file__).parent.parent / "docs" / "images"
HOUR, POLL = 3_600, 30
OUTAGE = range(2_000, 2_600)
TEAMS = {
    "shop": ("orders", "invoices", "mails", "returns"),
    "media": ("thumbnails", "transcode"),
    "bank": ("cards", "ledger"),
}
CONTROLLERS = ("app_reconciliation_queue", "app_operation_processing_queue")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


class Course(Reader):
    """Answers with waves of work, one for each place; some queues end in a fault."""

    kinds: ClassVar[frozenset[str]] = frozenset({"sqs-queue", "pages"})

    def __init__(self, clock: Clock) -> None:
        """Follow `clock`."""
        self._clock = clock
        self.server: Server | None = None
        self.late = False

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Answer after a few milliseconds."""
        await asyncio.gather(*(self._read(place, report) for place in places))

    async def _read(self, place: Place, report: Report) -> None:
        phase = zlib.crc32(str(place).encode()) % 1_000 / 1_000 * math.tau
        now = self._clock.now() - 1_500  # so that the hour ends in the midst of work
        if self.server is not None:
            self.server.metrics.requests(place.backend, "read", 1)
        await sleep(self._clock, 0.012 + 0.008 * math.sin(now / 300 + phase))
        size = max(0, round(90 * math.sin(now / 700 + phase) + 25 * math.sin(now / 130 + phase) - 20))
        if isinstance(place, Queue):
            outcome = self._counts(place, size)
            report(place, Found(outcome, SCRIPT) if isinstance(outcome, Counts) else outcome)
        else:
            depths = {name: float(size // (1 + index)) for index, name in enumerate(CONTROLLERS)}
            sums = {"workqueue_depth": depths, "controller_runtime_active_workers": dict.fromkeys(CONTROLLERS, 1.0)}
            report(place, Found((Page("controller-0", sums),), SCRIPT))

    def _counts(self, place: Queue, size: int) -> Counts | Fault:
        if self.late and place.queue.endswith("/returns"):
            return Throttled(
                f"{place}: AWS throttles GetQueueAttributes (RequestThrottled); the scaler asks less often"
            )
        if place.queue.endswith(("/cards", "/ledger")):
            return Unavailable(f"{place}: no answer from sqs.eu-central-1.amazonaws.com within 5 s; is it reachable?")
        return Counts(size, min(size, 12), 0)


def find_all(server: Server) -> list[ScaledObject]:
    """Return everybody who asks."""
    asking = []
    for team, queues in TEAMS.items():
        region = "eu-central-1" if team == "bank" else "eu-west-1"
        for queue in queues:
            url = f"https://sqs.{region}.amazonaws.com/123456789012/{queue}"
            asking.append(server.registry.find(team, f"{queue}-worker", {"source": "sqs", "queueURL": url}))
    for name in CONTROLLERS:
        metadata = {
            "source": "workqueue",
            "metricsURL": "http://argocd-metrics.argocd.svc:8082/metrics",
            "queues": name,
        }
        asking.append(server.registry.find("argocd", name.replace("_", "-"), metadata))
    return asking


async def live_an_hour(server: Server, clock: ManualClock, course: Course) -> None:
    """Let KEDA poll for an hour."""
    for second in range(0, HOUR, POLL):
        course.late = second in OUTAGE or second >= HOUR - 2 * POLL
        with suppress(MetadataError):  # somebody has mistyped a key
            server.registry.find("media", "previews-worker", {"source": "sqs", "queueUrl": "previews"})
        answers = [
            asyncio.ensure_future(server.answers.answer(scaled_object, 1.9)) for scaled_object in find_all(server)
        ]
        await clock.advance(POLL)
        for error in await asyncio.gather(*answers, return_exceptions=True):
            if isinstance(error, BaseException) and not isinstance(error, ScalerError):
                raise error


async def draw() -> None:
    """Write the images."""
    clock = ManualClock()
    course = Course(clock)
    server = Server(Settings(listen="127.0.0.1:0", http="127.0.0.1:0"), clock, [course])
    course.server = server
    async with AsyncExitStack() as stack:
        await server.start()
        stack.push_async_callback(server.close)
        for scaled_object in find_all(server)[:3]:
            stack.enter_context(server.listeners.listening(scaled_object, lambda: None))
        await live_an_hour(server, clock, course)
        run = await stack.enter_async_context(async_playwright())
        profile = stack.enter_context(tempfile.TemporaryDirectory())
        browser = await run.chromium.launch_persistent_context(
            profile, executable_path=shutil.which("chromium"), args=FLAGS, headless=True
        )
        stack.push_async_callback(browser.close)
        wide, phone = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
        timeline = "/scaledobjects/shop/returns-worker"
        for name, path, size, theme in (
            ("status-page", "/", wide, "light"),
            ("status-page-dark", "/", wide, "dark"),
            ("status-page-phone", "/", phone, "light"),
            ("status-page-phone-dark", "/", phone, "dark"),
            ("status-page-scaledobject", timeline, wide, "light"),
            ("status-page-scaledobject-dark", timeline, wide, "dark"),
            ("status-page-scaledobject-phone", timeline, phone, "light"),
            ("status-page-scaledobject-phone-dark", timeline, phone, "dark"),
            ("status-page-backend", "/backends/sqs/own-account/eu-west-1", wide, "dark"),
        ):
            await _shoot(browser, f"http://127.0.0.1:{server.http_port}{path}", name, size, theme)


async def _shoot(browser: Any, url: str, name: str, size: dict[str, int], theme: str) -> None:
    page = await browser.new_page()
    await page.set_viewport_size(size)
    await page.emulate_media(color_scheme=theme)
    await page.goto(url)
    for chart in await page.locator(".chart, .timeline").all():
        await chart.locator("canvas").wait_for()
    if await page.locator(".timeline").count():  # point at the outage
        box = await page.locator(".timeline .u-over").first.bounding_box()
        await page.mouse.move(box["x"] + box["width"] * 0.62, box["y"] + box["height"] / 2)
    await page.screenshot(path=IMAGES / f"{name}.png", full_page=size["width"] > 500)
    await page.close()
    sys.stdout.write(f"wrote docs/images/{name}.png\n")


if __name__ == "__main__":
    IMAGES.mkdir(parents=True, exist_ok=True)
    asyncio.run(draw())
