"""The metrics page of a controller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.demo.contract import MISSING_KEY, REFUSED_RIGHT, Stage
from scaler.demo.proxy import Proxy
from scaler.demo.raw_http import RawServer, answer
from scaler.sources.backends import Backends

PAGE = b"""# TYPE workqueue_depth gauge
workqueue_depth{name="orders",priority="0"} 4
workqueue_depth{name="orders",priority="1"} 3
# TYPE workqueue_adds_total counter
workqueue_adds_total{name="orders"} 90
# TYPE go_info gauge
go_info{version="go1.25"} 1
"""


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Show work in a queue."""
    server = RawServer(answer(PAGE, headers={"Content-Type": "text/plain; version=0.0.4"}))
    await server.start()
    proxy = Proxy(server.port)
    await proxy.start()

    async def leave_out() -> None:
        server.answer = answer(b'go_info{version="go1.25"} 1\n')

    async def refuse() -> None:
        server.answer = answer(b"Forbidden", status=403)

    try:
        yield Stage(
            {"metricsURL": f"http://127.0.0.1:{proxy.port}/metrics", "queues": "orders"},
            Backends(),
            [proxy],
            {MISSING_KEY: leave_out, REFUSED_RIGHT: refuse},
        )
    finally:
        await proxy.close()
        await server.close()
