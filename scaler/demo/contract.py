"""The part of every source in the contract tests: a working backend, and ways to break it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from scaler.demo.proxy import Proxy
from scaler.demo.raw_http import RawServer, answer
from scaler.sources.backends import Backends

MISSING_KEY, REFUSED_RIGHT = "a missing key", "a refused right"
OWN_TROUBLES = (MISSING_KEY, REFUSED_RIGHT)
"""Troubles that a proxy cannot make, so each source must: an answer with a missing part, and a refused right."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A backend with work for a trigger, so that its value and activity differ from those of an empty backend.

    `metadata` is that of the trigger, and `backends` the configuration that it needs. The scaler must reach the backend
    only through `proxies`. `troubles` has a function for each of `OWN_TROUBLES`.
    """

    metadata: Mapping[str, str]
    backends: Backends
    proxies: Sequence[Proxy]
    troubles: Mapping[str, Callable[[], Awaitable[None]]]


@asynccontextmanager
async def page_stage(metadata: Mapping[str, str], page: bytes, page_without_key: bytes) -> AsyncIterator[Stage]:
    """Serve a /metrics `page` to a trigger of `metadata`, whose `metricsURL` is added."""
    server = RawServer(answer(page, headers={"Content-Type": "text/plain; version=0.0.4"}))
    await server.start()
    proxy = Proxy(server.port)
    await proxy.start()

    async def leave_out() -> None:
        server.answer = answer(page_without_key)

    async def refuse() -> None:
        server.answer = answer(b"Forbidden", status=403)

    url = f"http://127.0.0.1:{proxy.port}/metrics"
    try:
        troubles = {MISSING_KEY: leave_out, REFUSED_RIGHT: refuse}
        yield Stage({**metadata, "metricsURL": url}, Backends(), [proxy], troubles)
    finally:
        await proxy.close()
        await server.close()
