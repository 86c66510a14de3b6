"""The HTTP application: the scaler's own metrics, health for probes, and the status page."""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client.exposition import choose_encoder

from scaler.observe.metrics import Metrics
from scaler.observe.page.routes import Page


def make_app(
    metrics: Metrics, ready: Callable[[], bool], middlewares: Sequence[Middleware] = (), page: Page | None = None
) -> web.Application:
    """Return the application with `/metrics`, `/healthz`, `/readyz` and, if there is one, the status page.

    Requests pass `middlewares` first. `ready` does not depend on any backend, because an outage of one must not take
    the scaler away from the others.
    """
    app = web.Application(middlewares=middlewares)

    scraping = asyncio.Lock()

    async def metrics_page(request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        async with scraping:
            with (
                metrics.looked()
            ):  # in a thread: with 10,000 ScaledObjects it takes 0.3 s, in which calls must be answered
                body = await asyncio.to_thread(encoder, metrics.registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(text="draining\n", status=503)

    app.router.add_get("/metrics", metrics_page)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    if page is not None:
        page.add_to(app)
    return app
