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


async def test_what_is_not_there_is_not_found(serve: Serve) -> None:
    async with serve() as keda, aiohttp.ClientSession() as session:
        for path in ("/", "/api/scaledobjects", "/metrics/x"):
            async with session.get(f"http://127.0.0.1:{keda.server.http_port}{path}") as answer:
                assert answer.status == 404, "the page is switched off here"
