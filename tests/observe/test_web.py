import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

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


async def test_calls_are_answered_while_metrics_are_written(serve: Serve) -> None:
    """Ten thousand ScaledObjects take a third of a second, in which the event loop goes on."""
    async with serve(limits={"max_scaled_objects": 20_000}) as keda, aiohttp.ClientSession() as session:
        for number in range(4_000):
            keda.server.objects.find("shop", f"orders-{number}", {"source": "scripted", "spots": "a"})
        scraping = asyncio.ensure_future(session.get(f"http://127.0.0.1:{keda.server.http_port}/metrics"))
        answered = 0
        while not scraping.done():
            await keda.get_metric_spec(keda.ref())
            answered += 1
        async with await scraping as answer:
            page = await answer.text()
    assert answered > 3, "not only before it began and when it was done"
    assert page.count("\nqueue_scaler_failing{") == 4_001


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
