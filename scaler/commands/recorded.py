"""Loads recorded loads: from a CSV file, a range query to Prometheus, or a queue's metrics in CloudWatch."""

import asyncio
import datetime as dt
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic_core import from_json

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, checked_url, deadline, fetch, without_credentials
from scaler.clients.http.names import Names
from scaler.clients.http.quoting import quoted, secrets_of
from scaler.clients.http.session import open_session
from scaler.commands.option_rules import listed
from scaler.commands.trace import Trace, TraceError, parse
from scaler.core.clock import SystemClock
from scaler.core.errors import Fault

MAX_SECONDS = 60.0
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_SAMPLES = 10_000
"""Prometheus refuses queries for more than 11,000 samples of a series."""
PERIOD_SECONDS = 60
"""CloudWatch keeps SQS's metrics by the minute for 15 days, then by five minutes."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The source of a load: a CSV file, a query to Prometheus, or a queue in CloudWatch; the last `hours`."""

    trace: Path | None = None
    prometheus: str | None = None
    query: str | None = None
    column: str = "value"
    cloudwatch_queue: str | None = None
    region: str | None = None
    hours: float = 24.0
    worker_options: tuple[str, ...] = ()
    """Options about workers on the command line, which need `arrivals`."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, Unix seconds, one row every `step` seconds."""

    start: float
    end: float
    step: float


def load(recording: Recording) -> Trace:
    """Load the trace of `recording`; raises `ScalerError` that says what is wrong."""
    trace = _loaded(recording)
    if recording.worker_options and "arrivals" not in trace.columns:
        raise TraceError(
            f"{listed(recording.worker_options, 'and')}: no effect without arrivals; the load has "
            f"{listed(trace.columns, 'and')}, so no workers are modelled"
        )
    return trace


def _loaded(recording: Recording) -> Trace:
    chosen = [recording.trace, recording.prometheus, recording.cloudwatch_queue]
    if sum(each is not None for each in chosen) != 1:
        raise TraceError(
            "give one of --trace FILE, --prometheus URL with --query, --cloudwatch-queue NAME with --region"
        )
    if recording.trace is not None:
        try:
            return parse(recording.trace.read_text(), str(recording.trace))
        except (OSError, UnicodeDecodeError) as error:
            raise TraceError(f"{recording.trace}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    now = math.floor(time.time() / PERIOD_SECONDS) * PERIOD_SECONDS
    step = max(PERIOD_SECONDS, math.ceil(recording.hours * 3600 / MAX_SAMPLES))
    span = Span(now - recording.hours * 3600, now, step)
    if recording.prometheus is not None:
        if not recording.query:
            raise TraceError("--prometheus needs --query, a PromQL expression that gives one series")
        return asyncio.run(from_prometheus(recording.prometheus, recording.query, recording.column, span))
    if not recording.region:
        raise TraceError("--cloudwatch-queue needs --region, the queue's AWS region")
    return from_cloudwatch(recording.cloudwatch_queue or "", recording.region, span)


async def from_prometheus(url: str, query: str, column: str, span: Span) -> Trace:
    """Return the one series of `query` as `column`. Raises `TraceError` if there is none, or more than one."""
    try:
        base, headers = without_credentials(checked_url(url))
    except ValueError as error:
        raise TraceError(f"--prometheus: must be {error}") from None
    params: dict[str, str | float] = {"query": query, "start": span.start, "end": span.end, "step": span.step}
    where = f"Prometheus {base.host_port_subcomponent}"
    request = Request(
        url=(base / "api/v1/query_range").with_query(params),
        where=where,
        max_bytes=MAX_ANSWER_BYTES,
        headers=headers,
        quotes=True,  # the answer says what is wrong with the query
    )
    received = bytearray()
    names = Names()
    session = open_session(Addresses(), names)
    try:
        async with deadline(SystemClock(), MAX_SECONDS, where):
            await fetch(session, request, received.extend)
    except Fault as fault:
        raise TraceError(f"the load cannot be read: {fault}") from None
    finally:
        await session.close()
        await names.close()
    return parse_range(bytes(received), column, where, secrets_of(headers))


class _Series(BaseModel):
    values: list[tuple[float, str]]


class _Matrix(BaseModel):
    type: Literal["matrix"] = Field(alias="resultType")
    result: list[_Series]


class _Answer(BaseModel):
    """The answer of the HTTP API (prometheus.io/docs/prometheus/latest/querying/api)."""

    status: Literal["success", "error"]
    data: _Matrix | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


def parse_range(body: bytes, column: str, where: str = "Prometheus", secrets: Iterable[str] = ()) -> Trace:
    """Return the trace in Prometheus' answer; a NaN sample is left out, so that the row before it continues.

    `secrets` are masked in the text of an error. Raises `TraceError`.
    """
    try:
        answer = _Answer.model_validate(from_json(body))
    except ValueError:
        raise TraceError(f"{where}: the answer is not that of the HTTP API of Prometheus") from None
    if answer.data is None:
        raise TraceError(f"{where}: the query failed: {quoted(answer.error.encode(), secrets) or 'no reason is given'}")
    if answer.warnings:
        raise TraceError(f"{where}: the answer may be partial: {quoted(' '.join(answer.warnings).encode(), secrets)}")
    if len(answer.data.result) != 1:
        raise TraceError(f"{where}: the query gives {len(answer.data.result)} series; make it one, with sum(…)")
    rows = [(at, _number(value)) for at, value in answer.data.result[0].values]
    rows = [(at, value) for at, value in rows if math.isfinite(value)]
    if not rows:
        raise TraceError(f"{where}: the query gives no samples that are numbers")
    if min(value for _, value in rows) < 0:
        raise TraceError(f"{where}: the query gives negative values, and {column} cannot be negative")
    times, values = zip(*rows, strict=True)
    return Trace(times, {column: values})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def from_cloudwatch(queue: str, region: str, span: Span) -> Trace:
    """Return the messages sent to `queue`, per second, as `arrivals`; raises `TraceError` if AWS has none."""
    import boto3  # noqa: PLC0415 - large, and needed only here
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

    period = PERIOD_SECONDS if span.end - span.start <= 15 * 86_400 else 300
    metric = {"Namespace": "AWS/SQS", "MetricName": "NumberOfMessagesSent"}
    dimensions = [{"Name": "QueueName", "Value": queue}]
    statistics = {"Metric": {**metric, "Dimensions": dimensions}, "Period": period, "Stat": "Sum"}
    try:
        client: Any = boto3.client("cloudwatch", region_name=region)  # types-boto3-lite has only sqs and sts
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[{"Id": "sent", "MetricStat": statistics}],
            StartTime=dt.datetime.fromtimestamp(span.start, dt.UTC),
            EndTime=dt.datetime.fromtimestamp(span.end, dt.UTC),
            ScanBy="TimestampAscending",
        )
        results = [result for page in pages for result in page["MetricDataResults"]]
        rows = [
            (at.timestamp(), value / period)
            for result in results
            for at, value in zip(result["Timestamps"], result["Values"], strict=True)
        ]
    except (BotoCoreError, ClientError) as error:
        raise TraceError(f"CloudWatch in {region} cannot be asked: {error}") from None
    failed = {result["StatusCode"] for result in results} - {"Complete", "PartialData"}
    if failed:
        raise TraceError(f"CloudWatch in {region} does not tell of {queue}: {', '.join(sorted(failed))}")
    if not rows:
        raise TraceError(
            f"CloudWatch knows of no messages sent to {queue} in {region} in this time; is it the queue's name, not its URL?"
        )
    known = dict(sorted(rows))
    first, last = min(known), max(known)
    # A period without a sample had no messages, because SQS reports nothing for an idle queue.
    times = tuple(first + period * index for index in range(round((last - first) / period) + 1))
    return Trace(times, {"arrivals": tuple(known.get(at, 0.0) for at in times)})
