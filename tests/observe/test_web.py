import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain
from prometheus_client.registry import Collector

Serve = Callable[..., Any]


@pytest.mark.parametrize(
    ("accept", "parse"), [("", plain), ("application/openmetrics-text;version=1.0.0", open_metrics)]
)
async def test_metrics_come_in_the_form_that_is_asked_for(serve: Serve, accept: str, parse: Callable[..., Any]) -> None:
    async with serve() as keda, aiohttp.ClientSession() as session:
        await keda.get_metrics(keda.ref())
        address = f"http://127.0.0.1:{keda.server.http_port}/metrics"
        async with session.get(address, headers={"Accept": accept}) as answer:
            names = {family.name for family in parse(await answer.text())}
    assert {"queue_scaler_rpc", "queue_scaler_metric_value", "process_resident_memory_bytes"} <= names


class Gate(Collector):
    """Keeps a scrape from its end until it is opened."""

    def __init__(self) -> None:
        self.reached, self.open, self.was_opened = threading.Event(), threading.Event(), False

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self.reached.set()
        self.was_opened = self.open.wait(10)
        return ()


async def test_calls_are_answered_while_metrics_are_written(serve: Serve) -> None:
    async with serve() as keda, aiohttp.ClientSession() as session:
        gate = Gate()
        keda.server.metrics.registry.register(gate)
        await keda.get_metric_spec(keda.ref())
        scraping = asyncio.ensure_future(session.get(f"http://127.0.0.1:{keda.server.http_port}/metrics"))
        await asyncio.to_thread(gate.reached.wait, 10)
        for _ in range(3):
            await keda.get_metric_spec(keda.ref())
        gate.open.set()
        async with await scraping as answer:
            page = await answer.text()
    assert gate.was_opened, "only when it was given up"
    assert page.count("\nqueue_scaler_failing{") == 1


async def test_metrics_are_whole_while_everything_comes_and_goes(serve: Serve) -> None:
    async with serve() as keda, aiohttp.ClientSession() as session:
        address = f"http://127.0.0.1:{keda.server.http_port}/metrics"

        async def scrape() -> None:
            for _ in range(5):
                async with session.get(address) as answer:
                    assert answer.status == 200
                    assert {"queue_scaler_rpc", "queue_scaler_places"} <= {
                        each.name for each in plain(await answer.text())
                    }

        scraping = asyncio.gather(*(scrape() for _ in range(3)))
        number = 0
        while not scraping.done():
            number += 1
            stream = keda.stub.StreamIsActive(keda.ref(f"s{number}"))
            await keda.get_metric_spec(keda.ref(f"t{number}"))
            stream.cancel()
        await scraping
    assert number > 5


async def test_what_is_not_there_is_not_found(serve: Serve) -> None:
    async with serve() as keda, aiohttp.ClientSession() as session:
        for path in ("/", "/api/scaledobjects", "/metrics/x"):
            async with session.get(f"http://127.0.0.1:{keda.server.http_port}{path}") as answer:
                assert answer.status == 404, "the page is switched off here"
