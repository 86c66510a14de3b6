"""A Kubernetes API for tests: the double of the demo, and servers that do not behave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KINDS, KubernetesDouble
from scaler.demo.kubernetes_paths import discovery

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def double() -> AsyncIterator[KubernetesDouble]:
    running = KubernetesDouble()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait for what comes over a socket."""

    async def wait(true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)

    return wait


@pytest.fixture
def open_client() -> Callable[..., AbstractAsyncContextManager[Kubernetes]]:
    """Make a client of a URL, on a clock by hand if one is given, that leaves no alarm behind."""

    @asynccontextmanager
    async def opened(url: str, clock: ManualClock | None = None, **settings: Any) -> AsyncIterator[Kubernetes]:
        made = Kubernetes(KubernetesSettings(url=url, **settings), clock=clock)
        try:
            yield made
        finally:
            await made.close()
        assert clock is None or clock.pending == 0

    return opened


@pytest.fixture
def hang() -> Handler:
    """Say that all is well, and then nothing more."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    return answer


@pytest.fixture
def serve() -> Callable[[Handler], AbstractAsyncContextManager[str]]:
    """Run a server that knows the double's kinds and answers every other request with a handler."""

    @asynccontextmanager
    async def serving(handler: Handler) -> AsyncIterator[str]:
        async def answer(request: web.Request) -> web.StreamResponse:
            document = None if request.path == "/version" else discovery(request.path, KINDS)
            return await handler(request) if document is None else web.json_response(document)

        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    return serving
