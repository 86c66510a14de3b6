"""Recorded loads: what Prometheus and CloudWatch answer, good and bad."""

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from moto.server import ThreadedMotoServer

from scaler.commands.recorded import Recording, Span, from_cloudwatch, from_prometheus, load, parse_range
from scaler.commands.trace import Trace, TraceError, parse

SPAN = Span(1_800_000_000, 1_800_000_180, 60)


def answer(*series: list[tuple[float, str]], **more: Any) -> bytes:
    result = [{"metric": {}, "values": values} for values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **more}).encode()


def test_one_series_is_the_trace_and_what_is_no_number_is_left_out() -> None:
    body = answer([(1_800_000_000, "2"), (1_800_000_060, "NaN"), (1_800_000_120, "0.5")])
    assert parse_range(body, "arrivals") == Trace((1_800_000_000, 1_800_000_120), {"arrivals": (2.0, 0.5)})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (answer(), "the query gives 0 series; make it one"),
        (answer([(1, "1")], [(1, "2")]), "the query gives 2 series; make it one"),
        (answer([(1, "NaN")]), "no samples that are numbers"),
        (answer([(1, "-3")]), "arrivals cannot be negative"),
        (answer([(1, "1")], warnings=["a store is away"]), "the answer may be partial: a store is away"),
        (b'{"status": "error", "error": "parse error"}', "the query failed: parse error"),
        (b"<html>", "not that of the HTTP API of Prometheus"),
        (b'{"status": "success", "data": {"resultType": "vector", "result": []}}', "not that of the HTTP API"),
    ],
)
def test_no_answer_that_is_not_whole_becomes_a_trace(body: bytes, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        parse_range(body, "arrivals")


async def test_prometheus_is_asked_with_the_login_of_its_url_and_its_errors_are_told() -> None:
    asked: list[tuple[str, dict[str, str]]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.headers.get("Authorization", ""), dict(request.query)))
        if request.query["query"] == "bad":
            return web.json_response({"status": "error", "error": "1:1: parse error"}, status=400)
        return web.Response(body=answer([(1_800_000_000, "1"), (1_800_000_060, "3")]))

    app = web.Application()
    app.router.add_get("/base/api/v1/query_range", handle)
    server = TestServer(app)
    await server.start_server()
    url = f"http://user:canary-secret@127.0.0.1:{server.port}/base"
    trace = await from_prometheus(url, "sum(rate(x[1m]))", "arrivals", SPAN)
    assert trace.columns == {"arrivals": (1.0, 3.0)}
    assert asked[0][0].startswith("Basic ")
    assert asked[0][1] == {"query": "sum(rate(x[1m]))", "start": "1800000000", "end": "1800000180", "step": "60"}
    with pytest.raises(TraceError, match="the server says '1:1: parse error'"):
        await from_prometheus(url, "bad", "arrivals", SPAN)
    await server.close()
    with pytest.raises(TraceError, match=r"Prometheus 127.0.0.1:[0-9]+: no connection") as error:
        await from_prometheus(url, "x", "arrivals", SPAN)
    assert "canary-secret" not in str(error.value)
    with pytest.raises(TraceError, match="--prometheus: must be http://HOST"):
        await from_prometheus("prometheus:9090", "x", "arrivals", SPAN)


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    yield boto3.client("cloudwatch", region_name="eu-west-1")
    server.stop()


def test_cloudwatch_tells_arrivals_and_a_minute_without_a_sample_had_none(cloudwatch: Any) -> None:
    minute = int(time.time()) // 60 * 60 - 600
    for offset, count in ((0, 120), (120, 30)):
        cloudwatch.put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "NumberOfMessagesSent",
                    "Dimensions": [{"Name": "QueueName", "Value": "orders"}],
                    "Timestamp": dt.datetime.fromtimestamp(minute + offset, dt.UTC),
                    "Value": count,
                }
            ],
        )
    trace = from_cloudwatch("orders", "eu-west-1", Span(minute - 60, minute + 300, 60))
    assert trace.columns["arrivals"] == (2.0, 0.0, 0.5)
    with pytest.raises(TraceError, match="no messages sent to other in eu-west-1"):
        from_cloudwatch("other", "eu-west-1", Span(minute - 60, minute + 300, 60))


def test_cloudwatch_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TraceError, match="CloudWatch in eu-west-1 cannot be asked: Could not connect"):
        from_cloudwatch("orders", "eu-west-1", SPAN)


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (Recording(), "give one of --trace FILE, --prometheus URL with --query"),
        (Recording(Path("a.csv"), cloudwatch_queue="x"), "give one of"),
        (Recording(prometheus="http://x"), "--prometheus needs --query"),
        (Recording(cloudwatch_queue="x"), "--cloudwatch-queue needs --region"),
        (Recording(Path("/nowhere.csv")), "/nowhere.csv: No such file"),
    ],
)
def test_a_recording_that_is_not_named_whole_is_refused(recording: Recording, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        load(recording)


def test_a_part_of_a_trace_holds_what_the_row_before_said() -> None:
    trace = parse("time,arrivals\n0,1\n10,2\n20,3\n30,4\n", "x")
    assert trace.part(5, 20) == Trace((5, 10, 20), {"arrivals": (1.0, 2.0, 3.0)})
    assert trace.part(12, 18) == Trace((12, 18), {"arrivals": (2.0, 2.0)})
    assert trace.part(0, 30) == trace
