"""The journal over HTTP, and that it costs an RPC next to nothing."""

import math
import time
import timeit
from dataclasses import replace
from itertools import cycle
from typing import Any

import grpc.aio
import pytest

from scaler.core.domain import Metric
from scaler.demo.scripted import ScriptedReader, Work
from tests.observe.test_page import visit  # noqa: F401 - a fixture

WALL = 1_800_000_000.0


async def test_the_api_tells_what_the_docs_promise(visit: Any, reader: ScriptedReader) -> None:  # noqa: F811
    reader.answers["a"] = Work(12)
    async with visit() as site:
        await site.ask("orders")
        await site.ask("mails")
        said = await site.json("/api/journal?namespace=shop&name=orders")
        assert (said["since"], said["to"], said["omitted"]) == (WALL, said["now"], 0)
        assert said["from"] == said["now"] - 86_400
        (trigger,) = said["triggers"]
        assert (trigger["namespace"], trigger["name"], trigger["source"]) == ("shop", "orders", "scripted")
        assert trigger["specs"] == [{"name": "scripted", "target": 5}]
        assert (trigger["since"], trigger["lastAsked"], trigger["streams"]) == (WALL, WALL, 0)
        assert [event["kind"] for event in trigger["events"]] == ["active", "value"]
        assert trigger["events"][1]["values"] == [12]
        assert len((await site.json("/api/journal"))["triggers"]) == 2
        assert (await site.json("/api/journal?to=1700000000"))["triggers"][0]["events"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=1800000000&to=1800000001.5", 200),
        ("from=2027-01-15T08:00:00Z", 200),
        ("from=2027-01-15T08:00:00+09:00", 200),
        ("from=yesterday", 400),
        ("from=2027-01-15T08:00:00", 400),  # whose time?
        ("to=nan", 400),
        ("from=-1", 400),
        ("from=2&to=1", 400),
    ],
)
async def test_times_are_seconds_or_have_a_zone(visit: Any, query: str, status: int) -> None:  # noqa: F811
    async with visit() as site:
        assert (await site.get(f"/api/journal?{query}"))[0] == status


async def test_refused_metadata_is_told_over_rpc(serve: Any) -> None:
    async with serve() as client:
        with pytest.raises(grpc.aio.AioRpcError):
            await client.get_metric_spec(client.ref(target="none"))
        (refusal,) = client.server.journal.refusals.present(900)
        assert (refusal.name, refusal.code, refusal.count) == (client.ref().name, "INVALID_ARGUMENT", 1)


@pytest.mark.bench  # a ratio of times, which a busy machine distorts
async def test_an_rpc_pays_less_than_a_fiftieth_for_the_journal(serve: Any, reader: ScriptedReader) -> None:
    reader.answers["a"] = Work(3)
    async with serve() as client:
        request = client.ref()
        await client.value(request)
        (scaled_object,) = client.server.registry
        same = scaled_object.answer
        other = replace(same, told=replace(same.told, metrics=(Metric("scripted", 4.0),)))

        def noted(*answers: Any) -> float:
            """Return the seconds for noting one answer, at best."""
            turns = cycle(answers)

            def note() -> None:
                scaled_object.answer = next(turns)
                client.server.journal.noted(scaled_object)

            return min(timeit.repeat(note, number=2_000, repeat=5)) / 2_000

        unchanged, changed = noted(same), noted(same, other)
        scaled_object.answer = same
        rpc = math.inf
        for _ in range(300):
            began = time.perf_counter()
            await client.value(request)
            rpc = min(rpc, time.perf_counter() - began)
    assert unchanged < 0.02 * rpc
    # A value changes with a reading, and several calls are answered by one: GetMetrics, IsActive, the HPA's.
    assert changed < 2 * 0.02 * rpc
