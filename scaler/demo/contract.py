"""What every source owes the contract tests: a backend in which all is well, and what may go wrong there."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from scaler.demo.proxy import Proxy
from scaler.demo.raw_http import RawServer, answer
from scaler.sources.backends import Backends

MISSING_KEY, REFUSED_RIGHT = "a missing key", "a refused right"
OWN_TROUBLES = (MISSING_KEY, REFUSED_RIGHT)
"""What no proxy can do: each source says how its backend leaves out a part of an answer, and how it refuses a right."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A backend with work for a trigger, so that neither its value nor its activity is that of an empty one.

    `metadata` is that of the trigger; `backends` is the configuration that it needs. The scaler reaches the backend only
    through `proxies`. `troubles` has a function for each of `OWN_TROUBLES`.
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
