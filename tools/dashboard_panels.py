"""The panels of the Grafana dashboard, row by row."""

from dataclasses import dataclass, field
from typing import Any

_OURS = '{namespace=~"$namespace", scaledobject=~"$scaledobject"}'
_NAME = "{{namespace}}/{{scaledobject}}"
_P99 = "histogram_quantile(0.99, sum by (le, {0}) (rate({1}_bucket[$__rate_interval])))"
_MEDIAN = _P99.replace("0.99", "0.5")
_PROCESS = "* on (instance, job) group_left () queue_scaler_build_info"
"""Of all processes that Prometheus knows, ours."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its queries as expression and legend, `width` of 24 columns."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    defaults: dict[str, Any] = field(default_factory=dict)


def _stat(title: str, description: str, query: str, unit: str = "short", **steps: float) -> Panel:
    """Return a number that has each colour of `steps` from its value on; blue without any."""
    colours = [{"color": colour, "value": value or None} for colour, value in (steps or {"blue": 0}).items()]
    defaults = {"thresholds": {"mode": "absolute", "steps": colours}}
    return Panel(title, description, {query: ""}, unit, "stat", 4, 4, defaults)


ROWS: dict[str, tuple[Panel, ...]] = {
    "At a glance": (
        _stat("Replicas", "Of the scaler, as scraped.", "count(queue_scaler_build_info)", red=0, orange=1, green=2),
        _stat(
            "ScaledObjects",
            "That KEDA asked about lately.",
            "count(count by (namespace, scaledobject) (queue_scaler_failing))",
        ),
        _stat(
            "Active",
            "ScaledObjects with an active trigger.",
            "count(count by (namespace, scaledobject) (queue_scaler_active == 1)) or vector(0)",
        ),
        _stat(
            "Failing",
            "ScaledObjects of which KEDA gets an error for a trigger.",
            "count(count by (namespace, scaledobject) (queue_scaler_failing == 1)) or vector(0)",
            green=0,
            red=1,
        ),
        _stat(
            "Oldest reading",
            "Age of the oldest reading that is served.",
            "max(queue_scaler_oldest_reading_seconds)",
            "s",
            green=0,
            orange=60,
            red=180,
        ),
        _stat(
            "SQS, estimated",
            "US dollars a month at the rate of the last five minutes.",
            "sum(queue_scaler_estimated_sqs_dollars_per_month) or vector(0)",
            "currencyUSD",
        ),
    ),
    "ScaledObjects": (
        Panel(
            "Value and target",
            "What KEDA was told last, beside the target of one replica.",
            {
                f"max by (namespace, scaledobject, metric) (queue_scaler_metric_value{_OURS})": f"{_NAME} {{{{metric}}}}",
                f"max by (namespace, scaledobject, metric) (queue_scaler_metric_target{_OURS})": f"{_NAME} {{{{metric}}}} target",
            },
            width=12,
        ),
        Panel(
            "Replicas asked for",
            "Value divided by target: what the HPA makes of an AverageValue before its own rules.",
            {
                f"max by (namespace, scaledobject, metric) (queue_scaler_metric_value{_OURS} / queue_scaler_metric_target{_OURS})": f"{_NAME} {{{{metric}}}}"
            },
            width=12,
        ),
        Panel(
            "Activity",
            "Active keeps at least one replica.",
            {f"max by (namespace, scaledobject) (queue_scaler_active{_OURS})": _NAME},
            kind="state-timeline",
            width=24,
            defaults={
                "mappings": [
                    {
                        "type": "value",
                        "options": {
                            "0": {"text": "asleep", "color": "blue"},
                            "1": {"text": "active", "color": "green"},
                        },
                    }
                ]
            },
        ),
        Panel(
            "Errors",
            "1 while KEDA gets an error for a trigger.",
            {f"max by (namespace, scaledobject) (queue_scaler_failing{_OURS})": _NAME},
            width=8,
            defaults={"max": 1},
        ),
        Panel(
            "Held or settling",
            "1 while what KEDA is told is older or higher than what is read.",
            {
                f"max by (namespace, scaledobject) (queue_scaler_held{_OURS})": f"{_NAME} held",
                f"max by (namespace, scaledobject) (queue_scaler_settling{_OURS})": f"{_NAME} settling",
            },
            width=8,
            defaults={"max": 1},
        ),
        Panel(
            "Refused or doubtful",
            "1 while metadata is refused, or something makes an empty answer doubtful.",
            {
                f"max by (namespace, scaledobject) (queue_scaler_refused{_OURS})": f"{_NAME} refused",
                f"max by (namespace, scaledobject) (queue_scaler_doubtful{_OURS})": f"{_NAME} doubtful",
            },
            width=8,
            defaults={"max": 1},
        ),
    ),
    "Readings": (
        Panel(
            "Age of the oldest reading",
            "By kind of place, on the replica where it is oldest.",
            {"max by (kind) (queue_scaler_oldest_reading_seconds)": "{{kind}}"},
            "s",
        ),
        Panel(
            "Reads",
            "Reads a second, by outcome.",
            {
                "sum by (kind, outcome) (rate(queue_scaler_reads_total[$__rate_interval]))": "{{kind}} {{outcome}}",
            },
            "reqps",
        ),
        Panel(
            "Duration of reads",
            "99th percentile.",
            {_P99.format("kind", "queue_scaler_read_duration_seconds"): "{{kind}}"},
            "s",
        ),
        Panel(
            "Places failing",
            "Places whose last read was a fault, beside all that are kept fresh.",
            {
                "sum by (kind) (queue_scaler_places_failing)": "{{kind}} failing",
                "sum by (kind) (queue_scaler_places)": "{{kind}}",
            },
            width=12,
        ),
        Panel(
            "Places overdue",
            "Places that are late by more than three of their intervals.",
            {"max by (instance) (queue_scaler_places_overdue)": "{{instance}}"},
            width=12,
        ),
    ),
    "Backends": (
        Panel(
            "Upstream requests",
            "Requests sent a second.",
            {
                "sum by (backend, operation) (rate(queue_scaler_upstream_requests_total[$__rate_interval]))": "{{backend}} {{operation}}",
            },
            "reqps",
            width=12,
        ),
        Panel(
            "Rate allowed",
            "Of the limit; below 100 % after throttling.",
            {"min by (backend) (queue_scaler_backend_rate / queue_scaler_backend_limit)": "{{backend}}"},
            "percentunit",
            width=12,
            defaults={"max": 1},
        ),
        Panel(
            "Lateness",
            "How late reads are for want of rate.",
            {"max by (backend) (queue_scaler_backend_lag_seconds)": "{{backend}}"},
            "s",
            width=12,
        ),
        Panel(
            "Places",
            "Places that are kept fresh.",
            {"sum by (backend) (queue_scaler_backend_places)": "{{backend}}"},
            width=12,
        ),
        Panel(
            "SQS a month",
            "What SQS requests cost at the present rate, all replicas together.",
            {"sum by (backend) (queue_scaler_estimated_sqs_dollars_per_month)": "{{backend}}"},
            "currencyUSD",
            width=12,
        ),
        Panel(
            "Places read most",
            "Reads per hour, all replicas together; at SQS each is a request.",
            {"topk(10, sum by (backend, place) (queue_scaler_place_reads_per_hour))": "{{place}}"},
            width=12,
        ),
    ),
    "gRPC": (
        Panel(
            "Calls",
            "Calls a second.",
            {"sum by (rpc) (rate(queue_scaler_rpc_total[$__rate_interval]))": "{{rpc}}"},
            "reqps",
            width=12,
        ),
        Panel(
            "Calls that fail",
            "By status code.",
            {
                'sum by (rpc, code) (rate(queue_scaler_rpc_total{code!="OK"}[$__rate_interval]))': "{{rpc}} {{code}}",
            },
            "reqps",
            width=12,
        ),
        Panel(
            "Duration",
            "99th percentile and median.",
            {
                _P99.format("rpc", "queue_scaler_rpc_duration_seconds"): "{{rpc}} p99",
                _MEDIAN.format("rpc", "queue_scaler_rpc_duration_seconds"): "{{rpc}} p50",
            },
            "s",
            width=12,
        ),
        Panel("Streams", "Open streams of each replica.", {"queue_scaler_streams": "{{instance}}"}, width=12),
    ),
    "Processes": (
        Panel("CPU", "Cores.", {f"rate(process_cpu_seconds_total[$__rate_interval]) {_PROCESS}": "{{instance}}"}),
        Panel("Memory", "Resident.", {f"process_resident_memory_bytes {_PROCESS}": "{{instance}}"}, "bytes"),
        Panel("Open files", "And sockets.", {f"process_open_fds {_PROCESS}": "{{instance}}"}),
    ),
}
