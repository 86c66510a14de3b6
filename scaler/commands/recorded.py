"""Loads that others have recorded: a range query of Prometheus, or a queue's metrics in CloudWatch, as a trace."""

import asyncio
import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import aiohttp

from scaler.commands.trace import Trace, TraceError

MAX_SECONDS = 60.0
PERIOD_SECONDS = 60
"""CloudWatch keeps SQS's metrics by the minute."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, Unix seconds, one row every `step` seconds."""

    start: float
    end: float
    step: float


async def from_prometheus(url: str, query: str, column: str, span: Span) -> Trace:
    """Return the one series of `query` as `column`. Raises `TraceError` if there is none, or more than one."""
    params: dict[str, str | float] = {"query": query, "start": span.start, "end": span.end, "step": span.step}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=MAX_SECONDS)) as session,
            session.get(f"{url.rstrip('/')}/api/v1/query_range", params=params) as response,
        ):
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise TraceError(f"Prometheus cannot be asked: {type(error).__name__}") from None
    return parse_range(answer, column)


def parse_range(answer: Any, column: str) -> Trace:
    """Return the trace in Prometheus' answer; samples that are no number are left out, and the row before holds."""
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error", "no reason") if isinstance(answer, dict) else "no JSON object"
        raise TraceError(f"Prometheus answered with an error: {said}")
    series = answer["data"]["result"]
    if len(series) != 1:
        raise TraceError(f"the query gives {len(series)} series; make it one, with sum(…)")
    rows = [(float(time), float(value)) for time, value in series[0]["values"]]
    rows = [(time, value) for time, value in rows if math.isfinite(value) and value >= 0]
    if not rows:
        raise TraceError("the query gives no samples")
    times, values = zip(*rows, strict=True)
    return Trace(times, {column: values})


async def from_cloudwatch(queue: str, region: str, span: Span) -> Trace:
    """Return the messages sent to `queue`, per second, as `arrivals`. Raises `TraceError` if AWS tells none."""
    return await asyncio.to_thread(_from_cloudwatch, queue, region, span)


def _from_cloudwatch(queue: str, region: str, span: Span) -> Trace:
    import boto3  # noqa: PLC0415 - large, and only needed here
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

    metric = {"Namespace": "AWS/SQS", "MetricName": "NumberOfMessagesSent"}
    query = {
        "Id": "sent",
        "MetricStat": {
            "Metric": {**metric, "Dimensions": [{"Name": "QueueName", "Value": queue}]},
            "Period": PERIOD_SECONDS,
            "Stat": "Sum",
        },
    }
    try:
        client = boto3.client("cloudwatch", region_name=region)
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[query],
            StartTime=dt.datetime.fromtimestamp(span.start, dt.UTC),
            EndTime=dt.datetime.fromtimestamp(span.end, dt.UTC),
            ScanBy="TimestampAscending",
        )
        rows = [
            (time.timestamp(), value / PERIOD_SECONDS)
            for page in pages
            for result in page["MetricDataResults"]
            for time, value in zip(result["Timestamps"], result["Values"], strict=True)
        ]
    except (BotoCoreError, ClientError) as error:
        raise TraceError(f"CloudWatch cannot be asked: {error}") from None
    if not rows:
        raise TraceError(f"CloudWatch has no messages sent to {queue} in {region} in this time")
    known = dict(rows)
    first, last = rows[0][0], rows[-1][0]
    # A minute without a sample is one without messages: SQS reports nothing for a queue that sleeps.
    times = tuple(first + PERIOD_SECONDS * number for number in range(round((last - first) / PERIOD_SECONDS) + 1))
    return Trace(times, {"arrivals": tuple(known.get(time, 0.0) for time in times)})
