"""The metrics page of a repo-server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.demo.contract import MISSING_KEY, REFUSED_RIGHT, Stage
from scaler.demo.proxy import Proxy
from scaler.demo.raw_http import RawServer, answer
from scaler.sources.backends import Backends

PAGE = b'argocd_repo_pending_request_total{repo="x"} 9\ngo_info{version="go1.25"} 1\n'


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Show pending requests."""
    server = RawServer(answer(PAGE, headers={"Content-Type": "text/plain; version=0.0.4"}))
    await server.start()
    proxy = Proxy(server.port)
    await proxy.start()

    async def leave_out() -> None:
        server.answer = answer(b"<html></html>\n")

    async def refuse() -> None:
        server.answer = answer(b"Unauthorized", status=401)

    try:
        yield Stage(
            {"component": "repo-server", "metricsURL": f"http://127.0.0.1:{proxy.port}/metrics"},
            Backends(),
            [proxy],
            {MISSING_KEY: leave_out, REFUSED_RIGHT: refuse},
        )
    finally:
        await proxy.close()
        await server.close()
