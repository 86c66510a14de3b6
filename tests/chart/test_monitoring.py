"""Dashboard and alerts, against the metrics that a real server shows after real calls."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from scaler.core.clock import SystemClock
from scaler.core.domain import Found, Place, Reader, Report
from scaler.core.errors import Unavailable
from scaler.demo.scripted import SCRIPT
from scaler.observe.traffic import SHORTEST_RATE_SECONDS
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb import externalscaler_pb2_grpc
from scaler.server.app import Server
from scaler.settings import Settings
from scaler.sources.sqs.places import Counts, Queue
from scaler.sources.triggers import parse
from tests.docs.said import chart_texts, messages, page_texts
from tools.binaries import HELM_4

FILES = Path(__file__).parents[2] / "charts" / "keda-queue-scaler" / "files"
RULES = yaml.safe_load((FILES / "alerts.yaml").read_text())["rules"]
DASHBOARD = json.loads((FILES / "dashboard.json").read_text())
OF_THE_SCRAPE = {"instance", "job"}
"""Labels that Prometheus adds itself."""
Labels = dict[str, dict[str, set[str]]]  # of each series, the values of each label


class Queues(Reader):
    """Has three messages in every queue but `broken`."""

    kinds = frozenset({Queue.kind})
    count: Callable[[str, str, int], None]

    async def read(self, places: Sequence[Place], report: Report) -> None:
        for place in places:
            self.count(place.backend, "GetQueueAttributes", 1)
            broken = isinstance(place, Queue) and place.queue == "broken"
            report(
                place, Unavailable("cut off") if broken else Found(Counts(visible=3, in_flight=0, delayed=0), SCRIPT)
            )


def request(queue: str) -> pb.GetMetricsRequest:
    metadata = {"source": "sqs", "queueURL": queue, "awsRegion": "eu-west-1"}
    ref = pb.ScaledObjectRef(namespace="shop", name=queue, scalerMetadata=metadata)
    return pb.GetMetricsRequest(scaledObjectRef=ref, metricName=f"sqs-{queue}")


class Skipping(SystemClock):
    """The machine's clock, which a test may put forward."""

    ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
async def labels() -> Labels:
    reader, clock = Queues(), Skipping()
    server = Server(Settings(listen="127.0.0.1:0", http="127.0.0.1:0"), clock, readers=[reader])
    reader.count = server.metrics.requests
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = externalscaler_pb2_grpc.ExternalScalerStub(channel)
            await stub.GetMetrics(request("orders"))
            with pytest.raises(grpc.aio.AioRpcError, match="cut off"):
                await stub.GetMetrics(request("broken"))
            with pytest.raises(grpc.aio.AioRpcError, match="queueURL"):
                await stub.GetMetrics(request(""))
        clock.ahead = 2 * SHORTEST_RATE_SECONDS  # so that there is a bill
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.http_port}/metrics") as answer:
            page = await answer.text()
        clock.ahead = 0.0
    finally:
        await server.close()
    found: Labels = {}
    for family in text_string_to_metric_families(page):
        found[family.name] = {}  # also where there is nothing to tell yet
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                series.setdefault(name, set()).add(value)
    return found


def queries() -> Iterator[tuple[str, str, set[str]]]:
    """Yield every expression with where it is from and the labels that its texts speak of."""
    for rule in RULES:
        spoken = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        yield rule["alert"], rule["expr"], spoken
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in (
                ("__rate_interval", "5m"),
                ("namespace", ".*"),
                ("scaledobject", ".*"),
            ):
                expression = expression.replace(f"${name}", value)
            assert "$" not in expression
            yield panel["title"], expression, set(re.findall(r"{{(\w+)}}", target["legendFormat"]))


def selectors(node: Any) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(node, visit)
    return found


def aggregations(node: Any) -> list[promql_parser.AggregateExpr]:
    found: list[promql_parser.AggregateExpr] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.AggregateExpr):
            found.append(node)
        return True

    promql_parser.walk(node, visit)
    return found


def labels_left(node: Any, labels: Labels) -> set[str]:
    """Return the labels of the result of an expression."""
    if str(node).startswith("topk"):
        node = node.expr  # it keeps the labels of what it chooses among
    if isinstance(node, promql_parser.AggregateExpr):
        return set(node.modifier.labels) if node.modifier else set()
    if isinstance(node, promql_parser.BinaryExpr):
        return labels_left(node.lhs, labels)
    if isinstance(node, promql_parser.Call):
        return labels_left(node.args[-1], labels)
    if isinstance(node, promql_parser.MatrixSelector):
        return labels_left(node.vector_selector, labels)
    if isinstance(node, promql_parser.VectorSelector):
        return set(labels[node.name]) | OF_THE_SCRAPE
    return set()


async def test_every_query_speaks_of_what_a_real_server_shows(labels: Labels) -> None:
    overdue = {
        spec.name for spec in parse({"source": "argocd", "component": "application-controller"}, "argocd").specs()
    }
    seen = 0
    for where, text, spoken in queries():
        tree = promql_parser.parse(text)
        for selector in selectors(tree):
            seen += 1
            assert selector.name in labels, f"{where}: {selector.name} is no metric of the server"
            known = labels[selector.name]
            for matcher in selector.matchers.matchers:
                assert matcher.name in known, f"{where}: {selector.name} has no label {matcher.name}"
                if matcher.op == promql_parser.MatchOp.Equal:
                    assert matcher.value in known[matcher.name] | overdue, f"{where}: {matcher.value}"
                if matcher.op == promql_parser.MatchOp.Re and matcher.name == "backend":
                    assert any(re.fullmatch(matcher.value, value) for value in known["backend"]), where
        for aggregation in aggregations(tree):
            by = set(aggregation.modifier.labels) if aggregation.modifier else set()
            for selector in selectors(aggregation):
                assert by <= set(labels[selector.name]) | OF_THE_SCRAPE, f"{where}: {by} of {selector.name}"
        assert spoken <= labels_left(tree, labels), f"{where}: its text speaks of labels that the result has not"
    assert seen > 40


async def test_the_server_tells_of_both_triggers(labels: Labels) -> None:
    """That what is checked above is not empty: one queue was read, the other was not."""
    assert labels["queue_scaler_metric_value"]["scaledobject"] == {"orders"}
    assert labels["queue_scaler_failing"]["scaledobject"] == {"orders", "broken"}
    assert labels["queue_scaler_reads_total"]["outcome"] == {"ok", "unavailable"}


def test_the_chart_ships_rules_and_dashboard(chart: Any) -> None:
    metrics = {
        "prometheusRule": {
            "enabled": True,
            "disabledAlerts": ["KedaQueueScalerOverdueApplications"],
            "alertLabels": {"severity": "info", "team": "platform"},
            "extraRules": [{"alert": "Own", "expr": "vector(1)"}],
        },
        "dashboard": {"enabled": True, "namespace": "monitoring", "annotations": {"grafana_folder": "KEDA"}},
    }
    objects = chart.render({"metrics": metrics})
    *rules, own = objects.one("PrometheusRule")["spec"]["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [rule["alert"] for rule in RULES[:-1]]
    assert all(rule["labels"] == {"severity": "info", "team": "platform"} for rule in rules)
    assert own == {"alert": "Own", "expr": "vector(1)"}
    dashboard = objects.one("ConfigMap", "keda-queue-scaler-dashboard")
    assert json.loads(dashboard["data"]["keda-queue-scaler.json"]) == DASHBOARD
    assert dashboard["metadata"]["namespace"] == "monitoring"
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_every_alert_leads_to_a_chapter_of_the_troubleshooting_page() -> None:
    page = (FILES.parents[2] / "docs" / "troubleshooting.md").read_text()
    chapters = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    for rule in RULES:
        assert rule["annotations"]["runbook_url"].partition("docs/troubleshooting.md#")[2] in chapters, rule["alert"]


@pytest.mark.parametrize("monitor", ["serviceMonitor", "podMonitor"])
def test_a_monitor_scrapes_the_http_port_instead_of_annotations(chart: Any, monitor: str) -> None:
    objects = chart.render({"metrics": {monitor: {"enabled": True}}})
    spec = objects.one(monitor[0].upper() + monitor[1:])["spec"]
    (endpoint,) = spec["endpoints" if monitor == "serviceMonitor" else "podMetricsEndpoints"]
    ports = {port["name"] for port in objects.pod["containers"][0]["ports"]} & {
        port["name"] for port in objects.one("Service")["spec"]["ports"]
    }
    assert endpoint["port"] in ports
    assert endpoint["port"] == "http"
    assert endpoint["honorLabels"] is True
    assert spec["selector"]["matchLabels"] == objects.one("Deployment")["spec"]["selector"]["matchLabels"]
    annotations = objects.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert not any(name.startswith("prometheus.io/") for name in annotations)


def test_a_scrape_may_have_a_timeout(chart: Any) -> None:
    values = {"metrics": {"serviceMonitor": {"enabled": True, "scrapeTimeout": "10s"}}}
    (endpoint,) = chart.render(values).one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scrapeTimeout"] == "10s"


@pytest.mark.parametrize("mode", ["skipIfMissing", "failIfMissing"])
@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor", "PrometheusRule"])
def test_what_the_cluster_has_is_made_and_what_it_lacks_can_be_left_out(chart: Any, kind: str, mode: str) -> None:
    values = {"metrics": {kind[0].lower() + kind[1:]: {"enabled": True, "renderMode": mode}}}
    assert chart.render(values, HELM_4, f"--api-versions=monitoring.coreos.com/v1/{kind}").one(kind)
    if mode == "skipIfMissing":
        objects = chart.render(values)
        assert not objects.of(kind)
        annotations = objects.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/scrape"] == "true"  # something must scrape it
    else:
        assert f"the cluster has no {kind}" in chart.refusal(values)


def test_without_a_monitor_there_are_annotations(chart: Any) -> None:
    objects = chart.render({"ports": {"http": 8080}})
    annotations = objects.one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert {name: value for name, value in annotations.items() if name.startswith("prometheus.io/")} == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8080",
        "prometheus.io/path": "/metrics",
    }


async def test_every_metric_that_a_text_names_is_shown(labels: Labels) -> None:
    named = {
        name: said.where
        for said in (*messages(), *chart_texts(), *page_texts())
        for name in re.findall(r"\bqueue_scaler_\w+\w", said.text)
    }
    assert len(named) >= 10
    assert {
        name: where for name, where in named.items() if not {name, name.removesuffix("_total")} & labels.keys()
    } == {}
